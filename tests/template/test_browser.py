"""The report in a real browser: nothing is asked for, nothing goes wrong, all can be read."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src import report
from src.monitoring.drifts import Gap, Measured
from src.monitoring.labels import Judged
from src.monitoring.page import KINDS, Comparison, compose
from src.monitoring.windows import Finding, Window
from src.shared import files
from src.shared.page import to_html
from src.shared.paths import VERDICTS
from src.shared.slices import Estimate
from src.shared.verdicts import Drop, Verdict
from tests.projects import ROOT, STAGES, TABLES, make_project, run_stage
from tests.template.browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not PROGRAM, reason="there is no Chromium")

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> ![x](https://example.org/x.png)"


def hostile() -> pd.DataFrame:
    """Give a table with a column and classes that would be markup."""
    names = {0: "<b>one</b>", 1: "![x](https://example.org/y.png)", 2: "a | `b`"}
    table = TABLES["multiclass"]().rename(columns={"alcohol": HOSTILE})
    return table.assign(target=table["target"].map(names))


CASES: dict[str, dict[str, Any]] = {
    "binary": {"task": "binary"},
    "multiclass": {
        "task": "multiclass",
        "table": hostile(),
        "evaluate": {"slices": [{"column": "hue", "bins": [0.8, 1.1]}], "slice_rows": 5},
        "gate": {"accuracy": {"min": 0.2, "slice_min": 0.1}},
    },
    "regression": {
        "task": "regression",
        "gate": {"r2": {"min": 0.2, "max_drop": 0.1}, "rmse": {"max": 100}},
    },
}
OTHER = {"binary": {"C": 0.01}, "multiclass": {"max_depth": 2}, "regression": {"alpha": 0.1}}


def make_report(folder: Path, case: str) -> Path:
    """Run a champion and another model; write the report of the second."""
    how = CASES[case]
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    with contextlib.chdir(make_project(folder, **how)):
        shutil.copy(ROOT / "dvc.yaml", folder)
        assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
        subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "Champion"], check=True)
        make_project(folder, **how | {"train": {"arguments": OTHER[case]}})
        assert [run_stage(stage) for stage in STAGES[2:]] == [0] * len(STAGES[2:])
        judged = json.loads(VERDICTS.read_text())["verdicts"]
        judged[0]["drop"] = asdict(Drop(0.01, -0.02, 0.04, 60))
        if case == "multiclass":
            judged.append(asdict(Verdict(HOSTILE, 0.1, 0.5, None, False, "too low")))
        files.write_json(VERDICTS, {"verdicts": judged})
        report.write("main", report.Run(seconds={"train": 1.5}, notes=(HOSTILE,)))
        return report.HTML.resolve()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


def require_readable(browser: Browser, page: Path) -> None:
    """Check a page on a desk and a phone, by day and by night; it may ask for nothing else."""
    browser.open(page)
    for width in (400, 1200):
        for scheme in ("light", "dark"):
            shown = browser.show(width, scheme)
            assert shown["over"] <= 0, (width, scheme)
            assert min(shown["sizes"])[0] >= 12, min(shown["sizes"])
            assert shown["faint"] == [], (width, scheme)
    assert browser.show(700, "dark", "print")["faint"] == []
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []


def make_monitor_page(folder: Path) -> Path:
    """Write the page of a comparison in which all kinds of findings stand."""
    windows = []
    for at in range(9):
        start = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=at)
        bad = at > 6
        window = Window(start, start + timedelta(days=1), 1000, 1000, judged=at > 0)
        window.gaps = [
            Gap("drift", name, 0.1, Measured(0.3 if bad else 0.05, 0.5, ""))
            for name in ("a", HOSTILE)
        ]
        now = Estimate(0.9 - bad / 10, 0.85 - bad / 10, 0.93 - bad / 10)
        window.metrics = [Judged("accuracy", "", 900, now, 0.88, "below 0.88" if bad else "")]
        if bad:
            window.findings = [Finding(kind, HOSTILE, HOSTILE) for kind in KINDS]
        windows.append(window)
    blocks = compose(Comparison("f" * 64, windows, [HOSTILE]))
    page = folder / "monitor.html"
    page.write_text(to_html(blocks, "Monitor", "bad"), encoding="utf-8")
    return page


def test_the_monitor_page_can_be_read(browser: Browser, tmp_path: Path) -> None:
    require_readable(browser, make_monitor_page(tmp_path))


@pytest.mark.parametrize("case", CASES)
def test_the_report_can_be_read(browser: Browser, tmp_path: Path, case: str) -> None:
    require_readable(browser, make_report(tmp_path, case))
    texts = [text for _, text in browser.show(700, "dark", "print")["sizes"]]
    drawn = {"binary": "ROC", "multiclass": "Precision and recall", "regression": "Residuals"}
    assert {drawn[case], "Cross-validation", "champion", "this run"} <= set(texts)
    if case == "multiclass":
        assert any(HOSTILE in text for text in texts)


def test_the_browser_tells_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """What the other test relies on."""
    page = tmp_path / "page.html"
    page.write_text(
        "<body style='width: 900px'><p style='font-size: 8px; color: #ccc'>small</p>"
        "<img src='x.png'><script>console.log(1); throw 2</script>"
    )
    browser.open(page)
    shown = browser.show(400, "light")
    assert shown["over"] > 0
    assert shown["sizes"] == [[8, "small"]]
    assert [text for _, text in shown["faint"]] == ["small"]
    assert browser.requests == [page.as_uri(), (tmp_path / "x.png").as_uri()]
    assert len(browser.complaints) >= 3
