"""What prepare does, as others do it in one process: `python peers.py NAME PACKAGES TARGET`.

Each reads data/raw.csv, ranks the rows of each class by a hash of what they hold, and writes the
lowest fifth and the others as Parquet. None looks for repeated rows, or has a hash that is the same
in every version of the library, as prepare does.
"""

import sys

name, packages, target = sys.argv[1:]
sys.path.append(packages)
RAW, OUT = "data/raw.csv", {False: "peer_train.parquet", True: "peer_test.parquet"}


def with_pandas() -> None:
    import pandas as pd

    table = pd.read_csv(RAW, engine="pyarrow")
    hashes = pd.util.hash_pandas_object(table, index=False)
    test = hashes.groupby(table[target]).rank(pct=True) <= 0.2
    for side, path in OUT.items():
        table[test == side].to_parquet(path, index=False)


def with_polars() -> None:
    import polars as pl  # type: ignore[import-not-found]

    table = pl.read_csv(RAW)
    table = table.with_columns(at=table.hash_rows(seed=42))
    rank = pl.col("at").rank("ordinal").over(target) / pl.len().over(target)
    table = table.with_columns(at=rank <= 0.2)
    for side, path in OUT.items():
        rows = table.filter(pl.col("at") == side).drop("at")
        rows.write_parquet(path, compression="snappy")


def with_duckdb() -> None:
    import duckdb  # type: ignore[import-not-found]

    one = duckdb.connect()
    one.sql(f"create table raw as select * from read_csv('{RAW}')")  # noqa: S608
    one.sql(
        "create table ranked as select *, percent_rank() over "  # noqa: S608
        f'(partition by "{target}" order by hash(raw)) <= 0.2 as test from raw'
    )
    for side, path in OUT.items():
        kept = f"select * exclude (test) from ranked where test = {side}"  # noqa: S608
        one.sql(f"copy ({kept}) to '{path}' (format parquet)")


{"pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb}[name]()
