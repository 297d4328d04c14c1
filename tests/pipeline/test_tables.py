from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from src.shared import raw, tables
from src.shared.errors import UserError
from tests.projects import as_split, fruit, write_table


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "raw.csv"


@pytest.mark.parametrize("name", ["raw.csv", "raw.parquet"])
def test_csv_and_parquet_give_the_same_table(tmp_path, name):
    table = fruit().assign(organic=lambda frame: frame["organic"].where(frame.index > 3))
    table["organic"] = table["organic"].astype("boolean")
    write_table(tmp_path / name, table)
    found = raw.read_raw(tmp_path / name)
    assert [str(kind) for kind in found.schema.types] == [
        "double",  # a number with missing values
        "int64",
        "bool",  # with missing values
        "string",
        "timestamp[us]",
        "string",
    ]
    assert [field.nullable for field in found.schema] == [True, False, True, True, False, False]
    pd.testing.assert_frame_equal(tables.to_frame(found), table, check_dtype=False)


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("1\n2\n", "int64", [1, 2]),
        ("1\n\n2", "int64", [1, 2]),  # an empty line is no row
        ("1\nNA\n", "int64", [1, None]),
        ("true\nfalse\n", "bool", [True, False]),
        ("true\nnull\n", "bool", [True, None]),
        ("yes\nno\n", "string", ["yes", "no"]),
        ("a\nNA\n", "string", ["a", None]),
        ("2024-02-29\n2024-03-01\n", "timestamp[us]", None),
        ("2024-02-29 10:00\nNA\n", "timestamp[us]", None),
        ("NA\nNA\n", "double", [None, None]),
    ],
)
def test_types_of_csv_columns(csv, text, kind, values):
    csv.write_text("x\n" + text)
    found = raw.read_raw(csv)["x"]
    assert str(found.type) == kind
    if values is not None:
        assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1, None], pa.int8()), "int64"),
        (pa.array([1, 2], pa.uint16()), "int64"),
        (pa.array([1.5, 2.0], pa.float32()), "double"),
        (pa.array(["1.5", "2.0"]).cast(pa.decimal128(5, 2)), "double"),
        (pa.array([None, None], pa.null()), "double"),
        (pa.array(["a", "b"]).dictionary_encode(), "string"),
        (pa.array([1, 2]).dictionary_encode(), "int64"),
        (pa.array(["a", None], pa.large_string()), "string"),
        (pa.array(["a", None], pa.string_view()), "string"),
        (pa.array([b"a", None], pa.binary_view()), "string"),
        (pa.array([1, 2], pa.date32()), "timestamp[us]"),
        (pa.array([1, 2], pa.timestamp("ns", "Europe/Rome")), "timestamp[us]"),
    ],
)
def test_types_of_parquet_columns(tmp_path, array, kind):
    path = tmp_path / "raw.parquet"
    pa.parquet.write_table(pa.table({"x": array}), path)
    found = raw.read_raw(path)["x"]
    assert str(found.type) == kind
    assert found.null_count == array.null_count


@pytest.mark.parametrize(
    ("last", "kind"),
    [("0.5", "double"), ("NA", "int64"), ("text", "string")],
)
def test_type_comes_from_the_whole_file_not_its_first_block(csv, last, kind):
    csv.write_text("x,y\n" + "123456,1\n" * 150_000 + f"{last},1\n")
    assert csv.stat().st_size > 2**20
    found = raw.read_raw(csv)["x"]
    assert str(found.type) == kind
    assert len(found) == 150_001


def test_dropped_columns_are_not_read(csv):
    csv.write_text("a,b,c\n1,2,3\n")
    assert raw.read_raw(csv, ["b", "a"]).column_names == ["c"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,b,a,b\n1,2,3,4\n", "column names stand twice: a, b"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields, the header has 2: 3"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the header has 2: 3,4,5"),
        (
            "gr\xf6\xdfe,b\n1,2\n".encode("latin-1"),
            "header is not UTF-8 text; it seems to be cp1252, where it holds 'größe,b'",
        ),
        (
            "a,b\n1,gr\xfcn\n".encode("latin-1"),
            "column 'b' is not UTF-8 text; it seems to be cp1252, where",
        ),
        (b"a,b\n1,x\n" * 200_000 + b"1,\xfc\n", "column 'b' is not UTF-8 text"),
    ],
)
def test_csv_that_cannot_be_read_is_refused(csv, content, expected):
    csv.write_bytes(content)
    with pytest.raises(UserError) as caught:
        raw.read_raw(csv)
    assert str(caught.value).startswith(f"{csv.as_posix()}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_ragged_line_is_named_however_many_threads_read(csv, threads):
    """With one thread PyArrow words it otherwise."""
    before = pa.cpu_count()
    csv.write_text("a,b\n1,2\n3\n")
    try:
        pa.set_cpu_count(threads)
        with pytest.raises(UserError, match="line 3 has 1 fields, the header has 2: 3"):
            raw.read_raw(csv)
    finally:
        pa.set_cpu_count(before)


def parquet_of(path: Path) -> bytes:
    write_table(path, fruit())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda whole: whole[: len(whole) // 2], "cannot be read: "),
        (lambda whole: whole[:3], "cannot be read: "),
        (lambda whole: whole[:200] + bytes(100) + whole[300:], "cannot be read: "),
        (lambda whole: b"size,seeds\n1,2\n", "cannot be read: "),
        (lambda whole: b"", "the file is empty"),
    ],
)
def test_parquet_that_cannot_be_read_is_refused(tmp_path, damage, expected):
    path = tmp_path / "raw.parquet"
    path.write_bytes(damage(parquet_of(path)))
    with pytest.raises(UserError) as caught:
        raw.read_raw(path)
    assert str(caught.value).startswith(f"{path.as_posix()}: {expected}")
    assert "\n" not in str(caught.value)


def test_parquet_columns_that_no_model_takes_are_refused(tmp_path):
    path = tmp_path / "raw.parquet"
    pa.parquet.write_table(pa.table({"tags": [["a"], ["b"]]}), path)
    with pytest.raises(UserError, match="column 'tags' has the type list"):
        raw.read_raw(path)
    # The remedy that the message names:
    pa.parquet.write_table(pa.table({"tags": [["a"], ["b"]], "x": [1, 2]}), path)
    assert raw.read_raw(path, ["tags"]).column_names == ["x"]


def test_parquet_column_names_that_stand_twice_are_refused(tmp_path):
    path = tmp_path / "raw.parquet"
    pa.parquet.write_table(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]), path)
    with pytest.raises(UserError, match="a"):
        raw.read_raw(path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("sise", "did you mean 'size'?"), ("zzz", "it has: size, seeds, organic")],
)
def test_column_to_drop_must_be_there(csv, name, hint):
    write_table(csv, fruit(5))
    with pytest.raises(UserError) as caught:
        raw.read_raw(csv, [name])
    assert f"no column '{name}' (data.drop in params.yaml); {hint}" in str(caught.value)


def test_absent_file_is_refused(csv):
    with pytest.raises(UserError, match="not found; run `dvc pull`"):
        raw.read_raw(csv)


@pytest.mark.parametrize("content", [None, b"", b"PAR1"])
def test_damaged_split_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)  # where no dvc.lock is
    path = tmp_path / "train.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"missing or damaged; run `dvc repro`"):
        tables.read_split(path)


def test_markers_of_missing_text(csv):
    csv.write_text('x\n""\nnan\nNone\n')
    assert raw.read_raw(csv)["x"].to_pylist() == [None, None, "None"]


def test_quote_that_is_not_closed_is_refused(csv):
    """Or the rest of the file would be one field, and its rows gone."""
    rows = [f'{row},"text {row}"' for row in range(500)]
    rows[400] = '400,"text'
    csv.write_text("\n".join(["x,y", *rows]))
    with pytest.raises(UserError, match="a quoted field is not closed"):
        raw.read_raw(csv)


def test_fields_of_several_lines_are_read_from_large_files_too(csv):
    csv.write_text("x,y\n" + "".join(f'{row},"a\nb, {row:0200}"\n' for row in range(10_000)))
    assert csv.stat().st_size > 2_000_000
    found = raw.read_raw(csv)
    assert len(found) == 10_000
    assert found["y"][9_999].as_py() == f"a\nb, {9_999:0200}"


def test_index_that_pandas_wrote_is_told_or_dropped(tmp_path):
    frame = fruit()
    frame[frame["organic"]].to_parquet(tmp_path / "raw.parquet")
    assert raw.find_raw(tmp_path / "raw.parquet").index == {"__index_level_0__"}
    frame.to_csv(tmp_path / "raw.csv")
    assert raw.read_raw(tmp_path / "raw.csv", ["", "size", "size"]).column_names == list(frame)[1:]


def test_split_read_by_column_and_by_batch_is_the_split_read_whole(tmp_path, monkeypatch):
    """The types of a part are those of the whole, though none of its values is missing."""
    table = fruit(50).assign(**{"size.of": 1, "flag": None, "count": None})
    table.loc[0, ["flag", "count"]] = True, 2**53 + 1
    table = table.astype({"flag": "boolean", "count": "Int64"})
    monkeypatch.chdir(tmp_path)
    split = as_split(table)
    whole = tables.read_split(split.path)
    monkeypatch.setattr(tables, "ROWS", 7)
    assert len(split) == 50
    for name in split.names:
        pd.testing.assert_series_equal(split[name], whole[name])
    assert list(split.columns("ripe", "size")) == ["ripe", "size"]
    batches = list(split.batches("ripe", "count", "flag", "colour"))
    assert [len(batch) for batch in batches] == [7] * 7 + [1]
    assert all((batch.dtypes == batches[0].dtypes).all() for batch in batches)
    found = pd.concat(batches, ignore_index=True)
    pd.testing.assert_frame_equal(found, whole[["ripe", "count", "flag", "colour"]])
    assert list(split.none()) == split.names
    assert (split.none().dtypes == whole.dtypes).all()
