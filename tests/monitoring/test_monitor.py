"""`make monitor` on records of a small project: verdict, exit status, page and JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.monitoring import monitor
from src.monitoring.monitor import HTML, JSON, MARKDOWN
from src.shared import params, sidecar
from src.shared.errors import UserError
from src.shared.paths import INTERVALS, SIDECAR, TEST, TRAIN
from src.shared.tables import read_split
from tests.monitoring.records import DAY, TODAY, put, train_rows
from tests.projects import settings_of, write_settings

RECORD = Path("record")
Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def compare(trained: Path, monitored: Compare) -> Compare:
    """Run `make monitor` in a trained project; give what its JSON says."""
    return monitored


@pytest.fixture
def monitored(monkeypatch: pytest.MonkeyPatch) -> Compare:
    def run(**variables: str) -> dict[str, Any]:
        params.load.cache_clear()
        for name in ("SINCE", "UNTIL", "LABELS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"RECORD": str(RECORD)} | variables).items():
            monkeypatch.setenv(name, value)
        status = monitor.main()
        found: dict[str, Any] = json.loads(JSON.read_text("utf-8"))
        assert found["status"] == status
        assert found["verdict"] == ["nothing found", "found", "undecided"][status]
        return found

    return run


def set_monitor(**keys: Any) -> None:
    gate = {"accuracy": {"min": 0.7, "max_drop": 0.05}}
    write_settings(Path(), settings_of("binary", monitor=keys, gate=gate))


def kinds(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["kind"], one["column"]) for one in found["findings"]}


def test_quiet_days_have_nothing_to_say(
    compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    for ago in (3, 2, 1):
        put(RECORD, train_rows(300, ago), TODAY - ago * DAY)
    found = compare()
    assert found["verdict"] == "nothing found"
    assert (found["rows"], found["findings"], found["notes"]) == (900, [], [])
    assert found["model"] == sidecar.parse(SIDECAR).model.sha256
    assert [one["status"] for one in found["windows"]] == ["nothing found"] * 3
    assert (found["since"], found["until"]) == ((TODAY - 3 * DAY).isoformat(), TODAY.isoformat())
    assert MARKDOWN.read_text("utf-8").startswith("# ✅ Nothing found\n")
    out = capsys.readouterr().out
    assert out.endswith("The page: report/monitor.html\nmonitor: nothing found\n")
    assert max(map(len, out.splitlines())) <= 80


def test_each_change_is_named_with_its_window(compare: Compare) -> None:
    put(RECORD, train_rows(300), TODAY - 2 * DAY)
    frame = train_rows(300, 1)
    frame["size"] = frame["size"] + 2
    frame["colour"] = frame["colour"].replace("red", "<b>rot</b> @all\n# x")
    frame.loc[:99, "organic"] = None
    frame.loc[:49, "seeds"] = 40
    put(RECORD, frame, TODAY - DAY, refused=100)
    found = compare()
    assert kinds(found) >= {
        ("drift", "size"), ("unseen", "colour"), ("missing", "organic"), ("schema", "seeds"),
        ("unseen", "seeds"), ("drift", "prediction"), ("refused", ""),
    }  # fmt: skip
    assert {tuple(one["windows"]) for one in found["findings"]} == {((TODAY - DAY).isoformat(),)}
    assert [one["status"] for one in found["windows"]] == ["nothing found", "found"]
    markdown, page = (path.read_text("utf-8") for path in (MARKDOWN, HTML))
    assert markdown.startswith("# ❌ Something is wrong\n")
    assert "<b>" not in markdown.replace(r"\<b>", "")
    assert r"\@all" in markdown
    assert "<b>rot" not in page
    assert "25.0% of 400 requests were refused" in markdown


def test_too_few_rows_or_another_models_cannot_be_judged(compare: Compare) -> None:
    put(RECORD, train_rows(50), TODAY - 2 * DAY)
    put(RECORD, train_rows(500, 1), TODAY - DAY, model="f" * 64)
    found = compare()
    assert found["verdict"] == "undecided"
    assert [one["rows"] for one in found["windows"]] == [50, 0]
    assert found["notes"] == [
        "Not compared: 500 rows that another model answered (ffffffffffff).",
        "Not compared: 1 window with fewer rows than monitor.min_rows, 100; a longer "
        "monitor.window has more.",
    ]
    set_monitor(min_rows=40)
    assert compare()["verdict"] == "nothing found"


def test_a_record_of_two_models_is_judged_by_the_rows_of_the_one_that_is_here(
    compare: Compare,
) -> None:
    drifted = train_rows(300, 1)
    drifted["size"] = drifted["size"] + 3
    for ago in (3, 2, 1):
        put(RECORD, train_rows(300, ago), TODAY - ago * DAY)
        put(RECORD, drifted, TODAY - ago * DAY, model="f" * 64, name=f"other{ago}")
    found = compare()
    assert found["verdict"] == "nothing found"
    assert found["notes"] == ["Not compared: 900 rows that another model answered (ffffffffffff)."]


def test_an_empty_record_and_one_that_is_not_there(compare: Compare) -> None:
    with pytest.raises(UserError, match="no such folder"):
        compare()
    RECORD.mkdir()
    found = compare(SINCE="2026-11-01")
    assert found["verdict"] == "undecided"
    assert found["notes"] == ["record holds no rows from 2026-11-01 00:00 on, UTC."]
    assert MARKDOWN.read_text("utf-8").startswith("# ❔ Undecided\n\nThere is no window")
    with pytest.raises(UserError, match="name the record"):
        compare(RECORD="")


def test_windows_are_cut_by_the_records_time(compare: Compare) -> None:
    """Of a clock that is ahead, what is over by that clock is judged; nothing is counted twice."""
    put(RECORD, train_rows(300), TODAY)
    put(RECORD, train_rows(300), TODAY)  # a file that was copied: the same requests
    put(RECORD, train_rows(120, 1), TODAY + DAY)
    found = compare()
    assert [one["rows"] for one in found["windows"]] == [300]
    [note] = found["notes"]
    assert note == (
        "Not compared yet: 120 rows of a window that is not over; it ends at "
        f"{TODAY + 2 * DAY:%Y-%m-%d} 00:00 UTC, with a shorter monitor.window sooner."
    )


def test_since_and_until_choose_the_windows(compare: Compare) -> None:
    for ago in (4, 3, 2, 1):
        put(RECORD, train_rows(200, ago), TODAY - ago * DAY)
    since, until = ((TODAY - ago * DAY).date().isoformat() for ago in (3, 1))
    assert len(compare(SINCE="2d")["windows"]) == 2
    found = compare(SINCE=since, UNTIL=until)
    assert (len(found["windows"]), found["notes"]) == (2, [])
    set_monitor(window="12h")
    assert [one["rows"] for one in compare(SINCE="2d")["windows"]][:2] == [200, 0]
    with pytest.raises(UserError, match=r"SINCE is 'tomorrow'; allowed: so long before now"):
        compare(SINCE="tomorrow")


def test_a_day_without_rows_is_found(compare: Compare) -> None:
    for ago in (6, 5, 4, 2, 1):
        put(RECORD, train_rows(200, ago), TODAY - ago * DAY)
    [finding] = compare()["findings"]
    assert finding["kind"] == "volume"
    assert finding["text"] == "no rows, where other windows have about 200"
    assert finding["windows"] == [(TODAY - 3 * DAY).isoformat()]
    set_monitor(max_volume=None)
    assert compare()["findings"] == []


def test_labels_are_joined_by_request(compare: Compare) -> None:
    ids, labels = [], []
    for ago in (2, 1):
        frame = train_rows(1000, ago)
        ids += put(RECORD, frame, TODAY - ago * DAY)
        said = pd.Series(frame["size"].fillna(0) > 5.8).map({True: "yes", False: "no"})
        wrong = {"yes": "no", "no": "yes"}
        right = pd.Series(range(1000)) % 2 < (2 if ago == 1 else 1)
        labels += said.where(right, said.map(wrong)).tolist()
    table = pd.DataFrame({"request_id": ids, "row": 0, "ripe": labels})
    table.to_csv("labels.csv", index=False)
    set_monitor(accept=["size"])
    found = compare(LABELS="labels.csv")
    assert kinds(found) == {("metric", "accuracy")}
    [finding] = found["findings"]
    assert finding["windows"] == [(TODAY - 2 * DAY).isoformat()]
    assert "1,000 labelled rows" in finding["text"]
    INTERVALS.unlink()
    found = compare(LABELS="labels.csv")
    assert found["notes"][-2].startswith("Metrics are judged by their bounds only")
    assert found["notes"][-1] == "2,000 of 2,000 labels are of rows in this part of the record."


def test_it_needs_neither_data_nor_git(compare: Compare) -> None:
    put(RECORD, train_rows(300), TODAY - DAY)
    for path in sorted(Path().rglob("*"), reverse=True):
        if path.is_file() and path.parts[0] in ("data", "metrics", "dvc.lock"):
            path.unlink()
    Path("models/model.joblib").unlink()
    assert compare()["verdict"] == "nothing found"


def test_a_model_from_before_has_no_reference(compare: Compare) -> None:
    RECORD.mkdir()
    content = json.loads(SIDECAR.read_text("utf-8"))
    del content["reference"]
    SIDECAR.write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no reference; run `dvc repro -f train`"):
        compare()


@pytest.mark.parametrize(("task", "metric"), [("multiclass", "accuracy"), ("regression", "r2")])
def test_other_tasks(
    project: Callable[..., Path],
    run: Callable[..., Any],
    monitored: Compare,
    task: str,
    metric: str,
) -> None:
    project(task, gate={metric: {"min": 0.2, "max_drop": 0.3}})
    assert run("prepare", "evaluate").status == 0
    ids = []
    for path, ago in ((TRAIN, 2), (TEST, 1)):
        put(RECORD, frame := read_split(path), TODAY - ago * DAY, name=str(ago))
        frame.insert(0, "request_id", [f"{ago}-{at}" for at in range(len(frame))])
        ids.append(frame.assign(row=0)[["request_id", "row", "target"]])
    pd.concat(ids).to_csv("labels.csv", index=False)
    found = monitored(LABELS="labels.csv")
    assert found["verdict"] == "nothing found"
    assert found["windows"][0]["labelled"]
