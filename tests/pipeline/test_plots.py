"""DVC's plots with the champion in the same picture, drawn without a network."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from src.shared.page import Heading, Markdown, Picture, Table, to_markdown
from src.shared.plots import (
    COLOURS,
    RIVAL,
    RUN,
    DvcPlot,
    draw,
    in_text,
    mermaid,
    points_by_name,
    read_plots,
    rows_of_points,
)
from src.shared.sections import plot_blocks


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def declare(**plots: dict[str, Any]) -> None:
    """Write dvc.yaml with these plots, each of a file NAME.json."""
    entries = [{f"{name}.json": how} for name, how in plots.items()]
    Path("dvc.yaml").write_text(json.dumps({"plots": entries}))


def words(svg: str) -> list[str]:
    """Give the texts of a picture."""
    elements = ElementTree.fromstring(svg).iter()  # noqa: S314
    return [text for one in elements if (text := (one.text or "").strip())]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    return tmp_path


CURVE = {"x": "a", "y": "b", "title": "Mine", "template": "simple"}


def test_both_models_are_in_one_picture(desk: Path) -> None:
    declare(mine=CURVE)
    Path("mine.json").write_text(json.dumps([{"a": 0, "b": 1}, {"a": 1, "b": 5}]))
    git("add", ".")
    git("commit", "--quiet", "--message", "Champion")
    Path("mine.json").write_text(json.dumps([{"a": 0, "b": 2}, {"a": 1, "b": 3}]))
    [plot] = read_plots(git("rev-parse", "HEAD"))
    assert plot.points == {RUN: [(0, 2), (1, 3)], RIVAL: [(0, 1), (1, 5)]}
    [picture] = plot_blocks([plot])
    assert isinstance(picture, Picture)
    assert {RUN, RIVAL, "a", "b"} <= set(words(picture.svg))
    for name in (RUN, RIVAL):
        assert re.search(f'<path [^>]*stroke="{COLOURS[name]}"', picture.svg)
    assert "line [2.0, " in to_markdown([picture])
    assert "(second line: the champion)" in to_markdown([picture])


def test_every_plot_that_dvc_yaml_names_is_drawn(desk: Path) -> None:
    Path("mine.json").write_text(json.dumps([{"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": 2}]))
    for name, text in (("none", "[]"), ("odd", "{"), ("logo", "")):
        Path(f"{name}.json").write_text(text)
    declare(mine=CURVE, none=CURVE, odd=CURVE, lost=CURVE)
    mine, odd, lost = read_plots("")
    assert (mine.title, mine.points) == ("Mine", {RUN: [(1, 2), (3, None), (2, None)]})
    assert "odd.json" in odd.problem
    assert "lost.json" in lost.problem
    blocks = [*plot_blocks([mine, odd, lost])]
    assert [block.text for block in blocks if isinstance(block, Heading)] == [
        "odd.json",
        "lost.json",
    ]


def test_an_image_of_ones_own_is_shown(desk: Path) -> None:
    Path("mine.png").write_bytes(b"\x89PNG")
    Path("dvc.yaml").write_text("plots:\n  - mine.png\n")
    [block] = plot_blocks(read_plots(""))
    assert isinstance(block, Picture)
    assert block.svg == "data:image;base64,iVBORw=="


@pytest.mark.parametrize("template", ["simple", "linear", "smooth", "scatter", "bar_horizontal"])
def test_the_templates_of_dvc_are_drawn(desk: Path, template: str) -> None:
    Path("mine.json").write_text(json.dumps([{"a": n, "b": n * n} for n in range(9)]))
    declare(mine=CURVE | {"template": template})
    [block] = plot_blocks(read_plots(""))
    assert isinstance(block, Picture), block
    assert "a" in words(block.svg)


@pytest.mark.parametrize("template", ["confusion", "confusion_normalized"])
def test_a_confusion_matrix_shows_its_numbers(desk: Path, template: str) -> None:
    pairs = ["aa", "ab", "ab", "bb", "bb", "bb"]
    Path("mine.json").write_text(json.dumps([{"a": pair[0], "b": pair[1]} for pair in pairs]))
    declare(mine=CURVE | {"template": template})
    [block] = plot_blocks(read_plots(""))
    assert isinstance(block, Picture), block
    assert "| a | 1 | 2 |\n| b | 0 | 3 |" in to_markdown([block])
    if template == "confusion":
        assert {"0", "1", "2", "3"} <= set(words(block.svg))


def test_metrics_of_very_different_sizes_have_an_axis_each(desk: Path) -> None:
    """A bar of 0.5 beside one of 500 could not be seen."""
    declare(mine=CURVE | {"template": "bar_horizontal", "y": "metric"})
    for small, axes in ((40, 1), (0.5, 2)):
        points = [{"a": 500, "metric": "rmse", "std": 9}, {"a": small, "metric": "r2", "std": 0.1}]
        Path("mine.json").write_text(json.dumps(points))
        [plot] = read_plots("")
        [block] = plot_blocks([plot])
        assert isinstance(block, Picture), block
        assert {"rmse", "r2"} <= set(words(block.svg))
        assert sum("a" in text.split(",") for text in words(block.svg)) == axes


def test_names_of_the_data_stay_text(desk: Path) -> None:
    name = '<script>"&</script>'
    Path("mine.json").write_text(json.dumps([{"a": 1, "b": name}, {"a": 2, "b": "c"}]))
    declare(mine=CURVE | {"template": "bar_horizontal", "x_label": name, "title": name})
    [block] = plot_blocks(read_plots(""))
    assert isinstance(block, Picture)
    assert "<script" not in block.svg
    assert {name, "c"} <= set(words(block.svg))


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.json", "/etc/hostname"])
def test_a_picture_takes_nothing_from_elsewhere(address: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        draw({"data": {"url": address}, "mark": "point", "encoding": {"x": {"field": "a"}}})


def test_points_with_intervals_have_a_row_each() -> None:
    points = [
        {"row": "r2", "what": RUN, "value": 0.5, "low": 0.4, "high": 0.6},
        {"row": "rmse", "what": RUN, "value": 50.0, "low": None, "high": None},
        {"row": "rmse", "what": RIVAL, "value": 60.0},
    ]
    svg = draw(rows_of_points(points, "how much"))
    assert {"r2", "rmse", RUN, RIVAL, "how much"} <= set(words(svg))
    assert len(re.findall(r'<line [^>]*stroke-width="3"', svg)) == 1  # the other has no interval


def plot(template: str, **points: list[tuple[Any, Any]]) -> DvcPlot:
    names = {"run": RUN, "rival": RIVAL}
    return DvcPlot(
        "Which", template, ("x", "y"), {names[key]: value for key, value in points.items()}, []
    )


def test_what_is_no_curve_is_a_table_in_text() -> None:
    cells = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")]
    title, table, note = in_text(plot("confusion", run=cells, rival=[*cells[1:], ("a", "c")]))
    assert title == "**Which**"
    rows = [("a", "1 (0)", "1", "0 (1)"), ("b", "0", "2", "0")]
    assert table == Table(("x / y", "a", "b", "c"), rows)
    assert "champion" in str(note)
    bars = plot("bar_horizontal", run=[(0.5, "f1"), (2, "new")], rival=[(0.25, "f1")])
    assert list(in_text(bars)) == [
        Markdown("**Which**"),
        Table(("y", "x, this run", "x, champion"), [("f1", "0.5", "0.25"), ("new", "2", "")]),
    ]
    assert list(in_text(plot("scatter", run=[(1, 2)]))) == []


def test_a_curve_is_drawn_by_github() -> None:
    text = mermaid('Say "x"\n`', ("a", "b"), [[(0, 0), (0, 0.8), (1, 1), (0.5, 0.9)], []])
    assert text.splitlines()[:4] == [
        "xychart-beta",
        '  title "Say x"',
        '  x-axis "a" 0 --> 1',
        '  y-axis "b" 0 --> 1',
    ]
    [line] = re.findall(r"line (\[.+\])", text)
    values = json.loads(line)
    assert (values[0], values[20], values[-1]) == (0.8, 0.9, 1.0)
    assert values[10] == pytest.approx(0.85)
    with pytest.raises(ValueError, match="not finite"):
        mermaid("x", ("a", "b"), [[(0, float("nan"))]])


def test_no_curve_goes_on_beyond_its_points() -> None:
    """Predicted probabilities, say, of which none is large."""
    text = mermaid("x", ("a", "b"), [[(0.1, 0), (0.5, 1)], [(0, 0), (0.4, 0.8)]])
    assert 'x-axis "a" 0.1 --> 0.4' in text
    run, rival = (json.loads(one) for one in re.findall(r"line (\[.+\])", text))
    assert (run[0], run[-1]) == (0, 0.75)
    assert (rival[0], rival[-1]) == (0.2, 0.8)


def test_labels_of_slices_that_begin_alike_differ() -> None:
    names = ["years_of_experience < 5 (30)", "years_of_experience >= 5 (30)"]
    svg = draw(points_by_name([{"name": name, "value": 1} for name in names], "accuracy"))
    shown = [one for one in re.findall(r">([^<>]+)</text>", svg) if one.startswith("years")]
    assert len(set(shown)) == 2
    assert all(one.endswith("5 (30)") for one in shown)
