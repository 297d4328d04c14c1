"""Labelled rows that came in become rows of the raw data: each once, and nothing else changes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from src.shared import params, raw
from src.shared.errors import UserError
from src.workflow import retrain
from tests.dvc_runs import git
from tests.projects import fruit, make_project, settings_of, write_settings

START = datetime(2026, 11, 1, tzinfo=UTC)


def keyed(rows: int = 240) -> pd.DataFrame:
    """The table of fruit, each with a number of its own."""
    table = fruit(rows)
    table.insert(0, "fruit", [f"{one:04}" for one in range(rows)])
    return table


def write_record(folder: Path, frame: pd.DataFrame, *, hour: int = 0, name: str = "0") -> list[str]:
    """Write rows as the service does, one request each; give the requests' ids."""
    folder.mkdir(exist_ok=True)
    ids = [f"{name}{at}" for at in range(len(frame))]
    numbers = frame.select_dtypes("number").columns
    frame = frame.astype(dict.fromkeys(numbers, float))  # as every number in a record
    rows = pa.Table.from_pandas(frame, preserve_index=False).to_struct_array().combine_chunks()
    count = len(frame)
    table = pa.table(
        {
            "request_id": ids,
            "row": pa.array([0] * count, pa.int32()),
            "time": pa.array([START + timedelta(hours=hour)] * count, pa.timestamp("us", "UTC")),
            "model": ["m"] * count,
            "rows": rows,
            "prediction": ["yes"] * count,
            "refused": pa.nulls(count, pa.string()),
        }
    )
    closed = f"{START + timedelta(hours=hour):%Y%m%dT%H%M%S}000000Z"
    pa.parquet.write_table(table, folder / f"{closed}-{0:012x}-{int(name):06}.parquet")
    return ids


def labels_of(path: Path, frame: pd.DataFrame, **options: Any) -> None:
    frame.to_csv(path, index=False, **options)


class Case:
    """A project in the current folder, with a record and labels; DVC is left out."""

    def __init__(
        self, folder: Path, table: pd.DataFrame, monkeypatch, task: str = "binary", **data: Any
    ) -> None:
        self.folder = make_project(folder, task, table, data=data)
        git(folder, "init", "--quiet", "--initial-branch", "main")
        monkeypatch.chdir(folder)
        params.load.cache_clear()
        for name, value in {"RECORD": "record", "LABELS": "labels.csv"}.items():
            monkeypatch.setenv(name, str(folder / value))
        monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "output"))
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary"))
        monkeypatch.setattr(retrain, "track", self.tracked)
        self.path = folder / params.load().data.raw
        self.path.with_name(f"{self.path.name}.dvc").touch()
        self.before = self.path.read_bytes()
        self.versions: list[bytes] = []

    def settle(self, task: str = "binary", **data: Any) -> None:
        """Write params.yaml anew."""
        write_settings(self.folder, settings_of(task, data=data))
        params.load.cache_clear()
        path = Path(data.get("raw", "data/raw.csv"))
        path.with_name(f"{path.name}.dvc").touch()

    def tracked(self, path: Path) -> None:
        if path.is_file():
            self.versions.append(path.read_bytes())

    def run(self) -> int:
        retrain.main()
        return int((self.folder / "output").read_text().strip().rpartition("=")[2])

    @property
    def table(self) -> pd.DataFrame:
        read = pd.read_csv if self.path.suffix == ".csv" else pd.read_parquet
        return read(self.path)


@pytest.fixture
def case(tmp_path, monkeypatch):
    def make(table, task="binary", **data):
        return Case(tmp_path / "project", table, monkeypatch, task, **data)

    return make


FEATURES = ["size", "seeds", "organic", "colour", "picked"]


def test_each_row_once_by_key(case, capsys):
    table = keyed()
    known, new = table[:200], table[200:].copy()
    project = case(known, key=["fruit"])
    asked = pd.concat([new, known[:10]])[["fruit", *FEATURES]]
    write_record(project.folder / "record", asked)
    corrected = new[:3].assign(size=1.5)[["fruit", *FEATURES]]
    write_record(project.folder / "record", corrected, hour=2, name="1")
    labels = pd.concat([table, new[-1:].assign(ripe="maybe")])[["fruit", "ripe"]]
    wrong = {"0000": "no", "0001": "yes"}
    labels["ripe"] = [wrong.get(one, label) for one, label in labels.to_numpy()]
    labels_of(project.folder / "labels.csv", labels)

    assert project.run() == 39
    said = capsys.readouterr().out
    assert "49 labelled rows came in, 39 of them are new and added to the data" in said
    assert "1 have two labels" in said
    assert project.path.read_bytes().startswith(project.before)
    wanted = new[:-1].copy()
    wanted.loc[wanted.index[:3], "size"] = 1.5
    added = pd.read_csv(project.path, dtype={"fruit": str}, parse_dates=["picked"])[200:]
    pd.testing.assert_frame_equal(
        added.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=False
    )

    assert project.versions == [project.path.read_bytes()]
    assert project.run() == 0  # nothing is new any more
    assert len(project.versions) == 1
    assert "are in the data already" in capsys.readouterr().out


def test_values_that_were_never_missing_may_be(case):
    table = keyed()
    table["size"] = table["size"].fillna(6.0)
    project = case(table[:200], key=["fruit"])
    write_record(project.folder / "record", table[200:].assign(size=None)[["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]])
    assert project.run() == 40
    assert project.table["size"].isna().sum() == 40


def test_a_row_without_its_key_or_label_is_left(case):
    table = keyed()
    project = case(table[:200], key=["fruit"])
    new = table[200:].copy()
    new.iloc[0, 0] = None
    write_record(project.folder / "record", new[["fruit", *FEATURES]])
    new.iloc[1, -1] = None
    labels_of(project.folder / "labels.csv", new[["fruit", "ripe"]])
    assert project.run() == 38


def test_numbers_as_labels_are_written_as_the_data_is(case):
    """With a decimal comma, and one that is missing; the key's name is one of the record's own."""
    table = keyed().rename(columns={"fruit": "row"}).drop(columns="ripe").assign(weight=1.5)
    data = {"key": ["row"], "target": "weight", "positive": None}
    project = case(table[:200], "regression", **data)
    project.settle("regression", **data, separator=";", decimal=",")
    table[:200].to_csv(project.path, index=False, sep=";", decimal=",")
    new = table[200:].assign(weight=2.25)
    write_record(project.folder / "record", new.drop(columns="weight"))
    new.iloc[0, -1] = None
    labels = new[["row", "weight"]]
    labels_of(project.folder / "labels.csv", labels, na_rep="NA", sep=";", decimal=",")
    assert project.run() == 39
    added = pd.read_csv(project.path, dtype={"row": str}, sep=";", decimal=",")[200:]
    assert set(added["weight"]) == {2.25}
    assert list(added["row"]) == list(new["row"][1:])


def test_a_known_row_keeps_its_label(case, capsys):
    table = keyed()
    project = case(table, key=["fruit"])
    write_record(project.folder / "record", table[["fruit", *FEATURES]])
    other = table.assign(ripe=table["ripe"].map({"yes": "no", "no": "yes"}))
    labels_of(project.folder / "labels.csv", other[["fruit", "ripe"]])
    assert project.run() == 0
    assert "240 are in the data already, under another label" in capsys.readouterr().out
    assert project.path.read_bytes() == project.before
    summary = (project.folder / "summary").read_text("utf-8")
    assert summary.startswith("Nothing was trained:\n\n- 240 labelled rows came in, 0 of them are ")


def test_without_a_key_by_request_and_features(case, capsys):
    table = fruit()
    project = case(table[:200])
    ids = write_record(project.folder / "record", table[190:][FEATURES])
    again = write_record(project.folder / "record", table[230:][FEATURES], hour=1, name="1")
    labels = pd.DataFrame(
        {"request_id": ids + again, "row": 0, "ripe": [*table["ripe"][190:], *table["ripe"][230:]]}
    )
    labels_of(project.folder / "labels.csv", labels)
    assert project.run() == 40  # ten are known, ten were asked for twice
    assert len(project.table) == 240
    assert project.run() == 0


def test_what_cannot_be_added_is_counted(case, capsys):
    table = keyed()
    project = case(table[:200], key=["fruit"])
    new = table[200:].copy()
    new["seeds"] = new["seeds"].astype(float)
    new.iloc[0, 2] = 3.5  # the raw data holds whole numbers
    labels_of(project.folder / "labels.csv", new.assign(
        ripe=["yes", "perhaps", *new["ripe"][2:]])[["fruit", "ripe"]])  # fmt: skip
    write_record(project.folder / "record", new[["fruit", *FEATURES]])
    assert project.run() == 38
    said = capsys.readouterr().out
    assert "1 have a value that the column 'seeds' cannot hold" in said
    assert "1 have a label that is no class of the data" in said


def test_texts_of_clients_stay_texts(case):
    table = keyed()
    project = case(table[:200], key=["fruit"])
    texts = ['a,"b"\nc', "=1+1", " blue ", "NA", "", "é"]
    new = table[200:206].assign(colour=texts)
    write_record(project.folder / "record", new[["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", new[["fruit", "ripe"]])
    assert project.run() == 6
    settings = params.load()
    read = raw.read(settings.data, raw.read_kinds())["colour"].slice(200).to_pylist()
    assert read == ['a,"b"\nc', "=1+1", "blue", None, None, "é"]


@pytest.mark.parametrize(("end", "last"), [("\n", "\n"), ("\r\n", "\r\n"), ("\n", "")])
def test_a_file_of_another_form(case, end, last):
    """Separators, decimal commas, another encoding, a dropped column, other ends of lines."""
    table = keyed().assign(colour="grün")
    project = case(table[:200], key=["fruit"])
    form = {"separator": ";", "decimal": ",", "encoding": "cp1252", "drop": ["note"]}
    project.settle(key=["fruit"], **form)
    old = table[:200].assign(note="größe")
    text = old.to_csv(index=False, sep=";", decimal=",", lineterminator=end)
    before = (text.removesuffix(end) + last).encode("cp1252")
    project.path.write_bytes(before)
    write_record(project.folder / "record", table[200:][["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]], sep=";")
    assert project.run() == 40
    added = table[200:].assign(note="")
    wanted = added.to_csv(index=False, sep=";", decimal=",", lineterminator=end, header=False)
    after = project.path.read_bytes()
    assert after == before + (b"" if last else end.encode()) + wanted.encode("cp1252")


def test_a_parquet_file_keeps_its_types(case):
    table = keyed()
    table["seeds"] = table["seeds"].astype("int16")
    table["colour"] = table["colour"].astype("category")
    project = case(table[:200], key=["fruit"], raw="data/raw.parquet")
    before = pa.parquet.read_table(project.path)
    asked = table[200:].astype({"colour": object})
    write_record(project.folder / "record", asked[["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]])
    assert project.run() == 40
    after = pa.parquet.read_table(project.path)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.slice(0, 200).equals(before)
    pd.testing.assert_frame_equal(
        after.slice(200).to_pandas(ignore_metadata=True).astype({"colour": object}),
        table[200:].reset_index(drop=True).astype({"colour": object}), check_dtype=False,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_folder_gets_one_more_file(case, suffix):
    table = keyed()
    project = case(table[:200], key=["fruit"], raw=f"data/raw.{suffix}")
    (project.folder / "data/raw").mkdir()
    project.path.rename(project.folder / f"data/raw/a.{suffix}")
    project.settle(key=["fruit"], raw="data/raw")
    write_record(project.folder / "record", table[200:][["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]])
    assert project.run() == 40
    old, new = sorted((project.folder / "data/raw").iterdir())
    assert old.read_bytes() == project.before
    added = pd.read_csv(new) if suffix == "csv" else pd.read_parquet(new)
    assert [len(added), list(added)] == [40, list(table)]
    assert project.run() == 0


def test_what_cleaning_would_change_again_is_not_added(case, monkeypatch):
    """The model was asked for clean rows: cleaned once more they would be others."""
    table = keyed()
    project = case(table[:200], key=["fruit"])
    write_record(project.folder / "record", table[200:][["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]])
    monkeypatch.setattr(retrain, "CLEANING", [lambda rows: rows.assign(size=rows["size"] * 2.54)])
    with pytest.raises(UserError, match="makes another 'size' of rows that the model was asked"):
        project.run()
    assert project.path.read_bytes() == project.before
    monkeypatch.setattr(retrain, "CLEANING", [lambda rows: rows.assign(size=rows["size"].abs())])
    assert project.run() == 40


def test_columns_that_the_record_lacks(case):
    table = keyed().assign(region="north")
    project = case(table[:200], key=["fruit"])
    write_record(project.folder / "record", table[200:][["fruit", *FEATURES]])
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe"]])
    with pytest.raises(UserError, match=r"the record lacks the column region, .* put it into"):
        project.run()
    assert project.path.read_bytes() == project.before
    labels_of(project.folder / "labels.csv", table[200:][["fruit", "ripe", "region"]])
    assert project.run() == 40
    assert set(project.table["region"]) == {"north"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fruit\n1\n", "has no column 'ripe', the target"),
        ("ripe\nyes\n", "has no column fruit, which says what row a label is of"),
        ("", "cannot be read"),
        ('fruit,ripe\n"1,yes\n', "cannot be read"),
    ],
)
def test_labels_that_are_none(case, text, said):
    project = case(keyed(), key=["fruit"])
    write_record(project.folder / "record", keyed()[["fruit", *FEATURES]])
    (project.folder / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        project.run()
