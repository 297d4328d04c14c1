"""`make predict`: scores are those of evaluate, and what cannot be scored is told row by row."""

import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from src import predict
from src.shared import batches, errors, sidecar, tables
from src.shared.model import EncodedClassifier, answers
from src.shared.paths import MODEL, PREDICTIONS, SIDECAR, TEST
from tests.dvc_runs import call, commit, git, repro
from tests.projects import Result, settings_of, write_settings, write_table


class Strange(BaseEstimator):  # type: ignore[misc]
    """Stands for an estimator of another package."""


@pytest.fixture
def scored(trained, monkeypatch, capsys):
    """Score a file of the trained project; give how it ended."""

    def run(source: str, output: str = "out/scores.parquet", **variables: str) -> Result:
        for name, value in {"INPUT": source, "OUTPUT": output, **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            errors.run(predict.main, status=2)
        return Result(int(end.value.code or 0), *capsys.readouterr())

    return run


def write_rows(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    write_table(Path(name), rows)
    return rows


def rows_of_test() -> pd.DataFrame:
    return tables.read_split(TEST)


@pytest.mark.parametrize("block", [1 << 23, 700])
@pytest.mark.parametrize("name", ["in/rows.csv", "in/rows.parquet"])
def test_scores_are_those_of_evaluate(scored, monkeypatch, name, block):
    monkeypatch.setattr(batches, "BLOCK", block)
    monkeypatch.setattr(batches, "ROWS", block // 100)
    write_rows(name, rows_of_test())
    done = scored(name)
    assert (done.status, done.err) == (0, "")
    scores, told = pd.read_parquet("out/scores.parquet"), pd.read_parquet(PREDICTIONS)
    assert done.out.startswith(f"{len(told)} rows scored")
    assert scores["row"].tolist() == list(range(1, len(told) + 1))
    columns = [one for one in map(str, told) if one.startswith(("predicted", "probability_"))]
    assert len(columns) == 3
    pd.testing.assert_frame_equal(scores[columns], told[columns], check_dtype=False, rtol=1e-12)
    assert [path.name for path in Path("out").iterdir()] == ["scores.parquet"]


@pytest.mark.parametrize("name", ["in/rows.csv", "in/rows.parquet"])
def test_the_bar_is_as_far_as_the_rows_that_were_scored(trained, monkeypatch, name):
    """Not as far as the file was read: that is done long before."""
    monkeypatch.setattr(batches, "BLOCK", 300)
    monkeypatch.setattr(batches, "ROWS", 7)
    write_rows(name, rows_of_test())
    found, known = batches.find(name), sidecar.read(SIDECAR)
    parts = [(len(batch.rows), batch.size) for batch in batches.read(found, known)]
    rows, sizes = np.cumsum(parts, axis=0).T
    assert len(rows) > 4
    assert np.abs(rows / rows[-1] - sizes / found.sizes[0]).max() < 1 / len(rows)


def test_batches_are_scored_at_a_time_and_come_in_their_order():
    begun = [threading.Event() for _ in range(4)]

    def answer(number):
        begun[number].set()
        assert begun[min(number + 1, 3)].wait(20)  # the later one begins before this one ends
        return -number

    assert list(batches.answered(range(4), answer, at_once=2)) == [
        (0, 0),
        (1, -1),
        (2, -2),
        (3, -3),
    ]


@pytest.mark.parametrize(
    ("estimator", "alone"),
    [
        (LogisticRegression(), False),
        (GridSearchCV(LogisticRegression(), {}), False),
        (GridSearchCV(Strange(), {}), True),
        (EncodedClassifier(LogisticRegression()), True),
    ],
)
def test_only_what_is_scikit_learns_is_asked_from_several_threads(monkeypatch, estimator, alone):
    monkeypatch.setattr(predict, "cpu_count", lambda: 4)
    assert predict.at_once(make_pipeline(estimator)) == (1 if alone else 4)


def test_rows_that_cannot_be_scored_are_told_with_their_reason(scored):
    rows = rows_of_test().head(6).drop(columns="ripe")
    lines = rows.to_csv(index=False).splitlines()
    first, _, others = lines[2].split(",", 2)
    lines[2] = f"{first},many,{others}"
    lines[4] += ",1,2"
    lines[5] = f"1e305,{lines[5].partition(',')[2]}"
    Path("rows.csv").write_text("\n".join(lines), encoding="utf-8")
    done = scored("rows.csv", "scores.csv")
    assert done.status == 1
    assert done.out.splitlines()[0] == "3 rows scored: scores.csv"
    assert pd.read_csv("scores.csv")["row"].tolist() == [1, 3, 6]
    refused = pd.read_csv("scores.rejected.csv")
    assert refused["row"].tolist() == [2, 4, 5]
    assert refused["column"].fillna("").tolist() == ["seeds", "", "size"]
    assert refused["reason"].tolist() == [
        "must be a number",
        "has 7 fields, the header has 5",
        "must be a finite number",
    ]

    write_rows("rows.csv", rows)  # an earlier run's rejected rows do not stay
    assert scored("rows.csv", "scores.csv").status == 0
    assert not Path("scores.rejected.csv").exists()


def test_values_that_training_did_not_have_are_counted(scored):
    write_rows("rows.csv", rows_of_test().assign(colour="blue", seeds=1.5))
    done = scored("rows.csv")
    count = len(rows_of_test())
    assert f"colour: {count} values that the training data did not have\n" in done.out
    assert f"seeds: {count} values that the training data did not have\n" in done.out


def test_all_files_of_a_folder_are_scored(scored):
    rows = rows_of_test()
    write_rows("in/a.csv", rows.head(5))
    write_rows("in/b.parquet", rows.tail(7))
    write_rows("in/_temporary/c.csv", rows.head(2))  # hidden, as for the raw table
    write_rows("in/._a.csv", rows.head(2))
    assert scored("in").status == 0
    scores = pd.read_parquet("out/scores.parquet")
    assert scores["file"].tolist() == ["a.csv"] * 5 + ["b.parquet"] * 7
    assert scores["row"].tolist() == [*range(1, 6), *range(1, 8)]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda: None, "rows.csv: no .csv or .parquet file there"),
        (lambda: Path("rows.csv").write_text("size\n1\n"), "lacks seeds, organic, colour, picked"),
        (lambda: Path("rows.csv").write_text('size\n"1\n'), "lacks seeds"),
        (lambda: Path("rows.csv").write_text("size,seeds,organic,colour,picked\n"), "but no rows"),
        (lambda: Path("rows.csv").write_text(""), "rows.csv: "),
        (lambda: Path("rows.csv").write_bytes(b"size,seeds\xff\n1,2\n"), "rows.csv: "),
    ],
)
def test_table_that_cannot_be_scored_leaves_earlier_scores(scored, prepare, message):
    Path("out").mkdir()
    Path("out/scores.parquet").write_text("earlier")
    prepare()
    done = scored("rows.csv")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in Path("out").iterdir()] == ["scores.parquet"]
    assert Path("out/scores.parquet").read_text() == "earlier"


def test_quote_that_is_not_closed(scored):
    rows = rows_of_test().head(3).to_csv(index=False)
    Path("rows.csv").write_text(rows.replace("red", '"red', 1) + "\n", encoding="utf-8")
    done = scored("rows.csv")
    assert done.status == 2
    assert "quote" in done.err or "cannot be read" in done.err
    assert not Path("out/scores.parquet").exists()


def test_model_that_was_swapped_is_not_loaded(scored):
    write_rows("rows.csv", rows_of_test())
    with MODEL.open("ab") as file:
        file.write(b"0")
    done = scored("rows.csv")
    assert done.status == 2
    assert "not the file that its sidecar describes" in done.err


def test_what_to_type_is_said(scored):
    assert "make predict INPUT=" in scored("rows.csv", "scores.json").err


def test_key_is_carried_along(project, run, monkeypatch, capsys):
    from tests.projects import fruit

    table = fruit().assign(code=[f"{number:05}" for number in range(240)])
    project(table=table, data={"key": ["code"]})
    assert run("prepare", "evaluate").status == 0
    write_rows("rows.csv", table.tail(20).drop(columns="ripe"))
    for name, value in {"INPUT": "rows.csv", "OUTPUT": "scores.parquet"}.items():
        monkeypatch.setenv(name, value)
    assert predict.main() == 0
    scores = pq.read_table("scores.parquet").to_pandas()
    assert scores["code"].tolist() == table["code"].tail(20).tolist()
    assert np.isfinite(scores["probability_yes"]).all()


def test_a_release_scores_with_its_own_model(pipeline):
    git(pipeline, "tag", "model@v1.0.0")
    told = pd.read_parquet(pipeline / PREDICTIONS)
    write_settings(pipeline, settings_of(train={"arguments": {"C": 0.001}}))
    assert repro(pipeline)
    commit(pipeline)

    def run(revision: str, status: int = 0) -> Result:
        command = (sys.executable, "-m", "src.predict")
        table, scores = TEST.as_posix(), "scores.parquet"
        return call(
            pipeline, *command, status=status, INPUT=table, OUTPUT=scores, REVISION=revision
        )

    for revision, same in (("", False), ("model@v1.0.0", True)):
        run(revision)
        scores = pd.read_parquet(pipeline / "scores.parquet")
        assert np.allclose(scores["probability_yes"], told["probability_yes"]) is same
    done = run("model@v9.0.0", status=2)
    assert done.err.startswith("error: REVISION=model@v9.0.0: no such release")


class Odd:
    """A regressor that has probabilities of its own, as of its distribution."""

    def predict(self, rows):
        return np.arange(len(rows), dtype=float)

    def predict_proba(self, rows):
        raise AssertionError("asked for")


def test_a_regressor_is_asked_for_values_only():
    assert answers(Odd(), np.zeros((2, 1)), "regression") == [{"value": 0.0}, {"value": 1.0}]
