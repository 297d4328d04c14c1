"""Pictures as SVG, by vl-convert: DVC's own plots with the champion in them, and Vega-Lite."""

import logging
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any
from warnings import catch_warnings, simplefilter

from src.shared.page import Block, Markdown, Table, say

# The names of both models in pictures, and colours that page.html replaces by those of the page.
RUN, RIVAL, BASELINE_MODEL, BOUND = "this run", "champion", "baseline", "bound"
COLOURS = {RUN: "#000001", RIVAL: "#000002", BASELINE_MODEL: "#000003", BOUND: "#000004"}

TICK = "M-.15,-1H.15V1H-.15Z"
SHAPES = {RUN: "circle", RIVAL: "diamond", BASELINE_MODEL: "square", BOUND: TICK}

# Narrow enough for a phone, so that no letter is ever made smaller.
WIDTH, HEIGHT = 230, 200
SHOWN = 30  # bars of a plot
GRID = 41  # points of a curve in Mermaid
CONFIG: dict[str, Any] = {
    "background": None,
    "aria": False,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
             "labelLimit": 110, "gridColor": "#888888", "gridOpacity": 0.3, "domain": False,
             "tickCount": 5},
    "axisY": {"minExtent": 40},
    "axisBand": {"grid": False, "labelOverlap": False},
    "axisQuantitative": {"labelOverlap": "greedy", "labelSeparation": 8},
    "legend": {"labelFontSize": 12, "title": None, "orient": "top", "columns": 4},
    "header": {"labelFontSize": 12, "labelLimit": 280, "title": None},
    "text": {"fontSize": 12},
    "range": {"heatmap": {"scheme": "blues"}, "ramp": {"scheme": "blues"}},
}  # fmt: skip


@dataclass(frozen=True)
class DvcPlot:
    """A plot as DVC makes it of what dvc.yaml declares.

    Attributes:
        title: of dvc.yaml, or else the file's name.
        template: how DVC draws it.
        labels: of x and y.
        points: x and y of each point, for this run and for the champion; empty for an image.
        pictures: the plot as Vega-Lite, or addresses of images that begin with `data:`.
        problem: why it cannot be read, if so.
    """

    title: str
    template: str
    labels: tuple[str, str]
    points: dict[str, list[tuple[Any, Any]]]
    pictures: Sequence[dict[str, Any] | str]
    problem: str = ""


def draw(spec: dict[str, Any]) -> str:
    """Return a picture as SVG.

    Args:
        spec: Vega-Lite. Data from elsewhere is refused.

    Raises:
        ValueError: it is not Vega-Lite, or needs the network.
    """
    import vl_convert  # it starts a JavaScript engine

    return str(vl_convert.vegalite_to_svg(spec, config=CONFIG, allowed_base_urls=[]))


def read_plots(champion: str) -> Iterator[DvcPlot]:
    """Yield what `dvc plots diff` draws, in the order of dvc.yaml.

    Args:
        champion: its commit; empty where there is none.

    Raises:
        DvcException: dvc.yaml cannot be read, say.
    """
    from dvc.render.match import match_defs_renderers
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # a plot that it cannot read is left out
    with Repo(uninitialized=True) as repo, redirect_stderr(StringIO()), catch_warnings():
        simplefilter("ignore")  # DVC's own, for those who develop it
        revisions = [champion, "workspace"] if champion else ["workspace"]
        found = repo.plots.show(revs=revisions)
        matched = match_defs_renderers(found, templates_dir=repo.plots.templates_dir)
    for what in found.get("workspace", {}).values():
        if "error" in what:
            raise what["error"]
    names = {"workspace": RUN, champion: RIVAL}
    for renderer, sources, definitions in matched:
        for point in renderer.datapoints:
            point["rev"] = names.get(point["rev"], point["rev"])
        problems = [*sources.get("workspace", {}).values(), definitions.get("workspace")]
        if problem := next(filter(None, problems), None):
            told = f"{renderer.name}: {str(problem) or type(problem).__name__}"
            yield DvcPlot(renderer.name, "", ("", ""), {}, [], told)
        elif any(point["rev"] == RUN for point in renderer.datapoints):
            yield _plot(renderer)


def _plot(renderer: Any) -> DvcPlot:
    how, points = renderer.properties, renderer.datapoints
    models = [name for name in COLOURS if any(point["rev"] == name for point in points)]
    title, template = str(how.get("title") or renderer.name), str(how.get("template") or "linear")
    if renderer.TYPE == "image":
        return DvcPlot(title, template, ("", ""), {}, [str(point["src"]) for point in points])
    x, y = how["x"], how["y"]
    labels = str(how.get("x_label") or x), str(how.get("y_label") or y)
    how["revs_with_datapoints"] = models
    spec = _fit(renderer.get_filled_template())
    spec.pop("title", None)  # it stands above the picture
    if template.startswith("bar"):
        names = list(dict.fromkeys(point.get(y) for point in points if point["rev"] == RUN))
        points = [point for point in points if point.get(y) in names[:SHOWN]]
        if len(names) > SHOWN:
            title = f"{title}: {SHOWN} of {len(names)}"
        spec = _bars(spec, points, x, y, labels[0])
    if template.startswith("confusion"):
        classes = {str(point.get(axis)) for point in points for axis in (x, y)}
        side = len(classes) * (56 if len(classes) < 4 else 34)
        spec["spec"] |= {"width": side, "height": side}
        spec["spec"]["layer"][0]["encoding"]["color"]["legend"] = None  # the numbers are there
    pairs = {
        name: [(point.get(x), point.get(y)) for point in points if point["rev"] == name]
        for name in models
    }
    return DvcPlot(title, template, labels, pairs, [spec])


def _bars(
    spec: dict[str, Any], points: list[dict[str, Any]], x: str, y: str, x_label: str
) -> dict[str, Any]:
    """Return what DVC draws of bars; metrics of very different sizes have an axis each instead."""
    if y == "metric" and _on_other_scales([point.get(x) for point in points]):
        rows = [_with_spread(point, x, y) for point in points]
        return rows_of_points(rows, f"{x_label}, ± their standard deviation")
    names = {point.get(y) for point in points}
    spec |= {"width": WIDTH - 45, "height": 16 * len(names) + 8, "data": {"values": points}}
    spec["encoding"]["y"] |= {"title": None, "axis": shortened(18, 130)}
    spec["encoding"]["x"]["axis"] = {"titleAnchor": "end"}  # it may be long
    return spec


def _with_spread(point: dict[str, Any], x: str, y: str) -> dict[str, Any]:
    """Return a bar as a point, with an interval where a standard deviation is known."""
    value, std = point[x], point.get("std")
    found = {"row": str(point[y]), "what": point["rev"], "value": value}
    return found | ({"low": value - std, "high": value + std} if std is not None else {})


def _on_other_scales(values: Sequence[Any]) -> bool:
    """Tell whether some bars would be too short to be seen, such as that of r2 beside an rmse."""
    sizes = [abs(value) for value in values if isinstance(value, int | float) and value]
    return max(sizes, default=1) > 100 * min(sizes, default=1)


def _fit(part: Any) -> Any:
    """Return a part of what DVC draws for a page that cannot be clicked, in the page's sizes."""
    if isinstance(part, list):
        return [_fit(one) for one in part if not (isinstance(one, dict) and _moves(one))]
    if not isinstance(part, dict):
        return part
    found = {key: value if key == "values" else _fit(value) for key, value in part.items()}
    if found.get("width") == found.get("height") == 300:
        found |= {"width": WIDTH, "height": HEIGHT}
    if found.get("field") == "rev" and "scale" in found:
        found["scale"] |= {"range": [COLOURS[name] for name in found["scale"]["domain"]]}
    if found.get("name") == "showValues":  # else it waits for a click
        found["value"] = True
    return found


def _moves(part: dict[str, Any]) -> bool:
    """Tell whether a part only answers the mouse."""
    return (
        part.get("bind") == "scales"
        or "selection" in part
        or ("layer" in part and "transform" in part and "selection" in str(part["transform"]))
    )


def rows_of_points(points: Sequence[dict[str, Any]], x_label: str) -> dict[str, Any]:
    """Return Vega-Lite for points with intervals: a row with its own axis for each `row`.

    Args:
        points: each with `row`, `what` (a name in `COLOURS`), `value` and, where there is an
            interval, `low` and `high`.
        x_label: what is measured.
    """
    names = [name for name in COLOURS if any(point["what"] == name for point in points)]
    colours = {"domain": names, "range": [COLOURS[name] for name in names]}
    shapes = {"domain": names, "range": [SHAPES[name] for name in names]}
    what = {"field": "what", "type": "nominal"}
    x = {"type": "quantitative", "scale": {"zero": False, "nice": False, "padding": 12}}
    colour = {"color": what | {"scale": colours}}
    header = {"labelOrient": "top", "labelAnchor": "start", "labelFontWeight": "bold"}
    return {
        "data": {"values": list(points)},
        "facet": {"row": {"field": "row", "type": "nominal", "sort": None, "header": header}},
        "resolve": {"scale": {"x": "independent"}},
        "spacing": 4,
        "spec": {
            "width": WIDTH + 60,
            "height": 7 * len(names),
            "encoding": {"y": what | {"scale": {"domain": names}, "axis": None}},
            "layer": [
                {
                    "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                    "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.6},
                    "encoding": {"x": x | {"field": "low", "title": x_label},
                                 "x2": {"field": "high"}} | colour,
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                    "encoding": {"x": x | {"field": "value", "title": x_label},
                                 "shape": what | {"scale": shapes}} | colour,
                },
            ],
        },
    }  # fmt: skip


def shortened(signs: int, width: int) -> dict[str, Any]:
    """Return an axis whose labels lose their middle: slices of one column differ at the end.

    Args:
        signs: how many may stand there.
        width: how wide they may be, in pixels.
    """
    return {"labelExpr": f"truncate(datum.label, {signs}, 'center')", "labelLimit": width}


def bars_of_gaps(gaps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return Vega-Lite for a bar of each gap, with a mark where it would no longer be allowed.

    Args:
        gaps: each with `column`, `size` and `allowed`.
    """
    y = {"field": "column", "type": "nominal", "sort": None, "title": None,
         "axis": shortened(18, 130)}  # fmt: skip
    x = {"type": "quantitative", "title": "Gap, and what is allowed"}
    return {
        "data": {"values": [dict(gap) for gap in gaps]},
        "width": WIDTH - 45,
        "height": 16 * len(gaps) + 8,
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "bar", "color": COLOURS[RUN], "height": {"band": 0.6}},
                "encoding": {"x": x | {"field": "size"}},
            },
            {
                "mark": {"type": "tick", "color": COLOURS[BOUND], "thickness": 2},
                "encoding": {"x": x | {"field": "allowed"}},
            },
        ],
    }


def points_by_name(points: Sequence[dict[str, Any]], x_label: str) -> dict[str, Any]:
    """Return Vega-Lite for a point with its interval for each name, all on one axis.

    Args:
        points: each with `name` and `value` and, where there are any, `low`, `high` and `bound`.
        x_label: what is measured.
    """
    x = {"type": "quantitative", "scale": {"zero": False}, "title": x_label}
    interval = {"x": x | {"field": "low"}, "x2": {"field": "high"}}
    run = {"color": COLOURS[RUN], "opacity": 1}
    return {
        "data": {"values": list(points)},
        "width": WIDTH - 70,
        "height": 20 * len(points) + 8,
        "encoding": {"y": {"field": "name", "type": "nominal", "sort": None, "title": None,
                           "axis": shortened(24, 165) | {"minExtent": 150}}},
        "layer": [
            {
                "mark": {"type": "tick", "color": COLOURS[BOUND], "thickness": 2},
                "encoding": {"x": x | {"field": "bound"}},
            },
            {"mark": {"type": "rule", "strokeWidth": 3} | run | {"opacity": 0.6},
             "encoding": interval},
            {"mark": {"type": "point", "filled": True, "size": 70} | run,
             "encoding": {"x": x | {"field": "value"}}},
        ],
    }  # fmt: skip


def over_time(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return Vega-Lite for a value over time, with what is allowed of it.

    Args:
        points: each with `time` (ISO 8601), `value` and `found` (whether it is wrong) and, where
            there are any, `low`, `high` and `bound`.
    """
    days = {point["time"][:10] for point in points}
    x = {
        "field": "time",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "padding": 8},
        "axis": {
            "format": "%d %b" if len(days) > 2 else "%d %b %H:%M",
            "grid": False,
            "labelOverlap": "greedy",
            "labelSeparation": 8,
            "tickCount": 4,
        },
    }
    zero = not any(point.get("low") is not None for point in points)  # of metrics near 1
    y = {"type": "quantitative", "title": None, "axis": {"tickCount": 3}, "scale": {"zero": zero}}
    colour = {"condition": {"test": "datum.found", "value": COLOURS[BOUND]}, "value": COLOURS[RUN]}
    return {
        "data": {"values": list(points)},
        "width": WIDTH,
        "height": 80,
        "encoding": {"x": x},
        "layer": [
            {"mark": {"type": "line", "color": COLOURS[BOUND], "strokeDash": [4, 3]},
             "encoding": {"y": y | {"field": "bound"}}},
            {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.6, "color": COLOURS[RUN]},
             "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}}},
            {"mark": {"type": "line", "color": COLOURS[RUN]},
             "encoding": {"y": y | {"field": "value"}}},
            {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
             "encoding": {"y": y | {"field": "value"}, "color": colour}},
        ],
    }  # fmt: skip


def in_text(plot: DvcPlot) -> Iterator[Block]:
    """Yield what Markdown has in place of a plot: a curve, or a table of what is not numbers."""
    x_label, y_label = plot.labels
    points = {
        name: [pair for pair in pairs if None not in pair] for name, pairs in plot.points.items()
    }
    here, there = points.get(RUN, []), points.get(RIVAL, [])
    title = say("**{}**", plot.title)
    if plot.template.startswith("confusion"):
        counts, before = Counter(here), Counter(there)
        rows, columns = (sorted({pair[at] for pair in counts | before}, key=str) for at in (0, 1))
        body = [(str(x), *(_count(counts, before, (x, y)) for y in columns)) for x in rows]
        yield title
        yield Table((f"{x_label} / {y_label}", *map(str, columns)), body)
        if before and counts != before:
            yield "In brackets: the champion's, where it has another number."
    elif any(isinstance(y, str) for _, y in here):
        models = [name for name in (RUN, RIVAL) if name in points]
        values = [{y: x for x, y in points[name]} for name in models]
        body = [(str(y), *(_short(one.get(y)) for one in values)) for _, y in here]
        yield title
        yield Table((y_label, *(f"{x_label}, {name}" for name in models)), body)
    elif plot.template in ("simple", "linear", "smooth"):
        curves = [here, there if there != here else []]
        yield Markdown(f"```mermaid\n{mermaid(plot.title, plot.labels, curves)}\n```")


def _count(counts: Counter[Any], before: Counter[Any], pair: Any) -> str:
    other = f" ({before[pair]})" if before and counts[pair] != before[pair] else ""
    return f"{counts[pair]}{other}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "")


def mermaid(title: str, labels: Sequence[str], curves: Sequence[list[tuple[Any, Any]]]) -> str:
    """Return curves as Mermaid's xychart, which GitHub draws; y at evenly spaced values of x."""
    curves = [sorted(curve, key=lambda point: point[0]) for curve in curves if curve]
    if len(curves) == 2:
        title = f"{title} (second line: the champion)"
    values = list(zip(*(point for curve in curves for point in curve), strict=True))
    if not all(math.isfinite(value) for axis in values for value in axis):
        raise ValueError(f"{title}: holds numbers that are not finite")
    ends = [(min(axis), max(axis)) for axis in values]
    if all(low >= 0 and high <= 1 for low, high in ends):
        ends = [(0, 1), (0, 1)]
    # Only where each curve has points: a line that goes on beyond its last one would be made up.
    start = max((curve[0][0] for curve in curves), default=0)
    end = min((curve[-1][0] for curve in curves), default=0)
    if start < end:
        ends[0] = start, end
    (start, end), _ = ends
    grid = [start + (end - start) * at / (GRID - 1) for at in range(GRID)]
    lines = [f'title "{_quoted(title)}"']
    for axis, label, (low, high) in zip("xy", labels, ends, strict=True):
        lines.append(f'{axis}-axis "{_quoted(label)}" {low:.4g} --> {high:.4g}')
    for curve in curves:
        lines.append(f"line {[float(f'{_height(curve, x):.3g}') for x in grid]}")
    return "\n  ".join(["xychart-beta", *lines])


def _quoted(text: str) -> str:
    return re.sub(r"[^\w.,:()/%+-]+", " ", text).strip()


def _height(curve: Sequence[tuple[float, float]], x: float) -> float:
    """Return the height of a curve at x, on the line between the points beside it."""
    at = bisect_right(curve, x, key=lambda point: point[0])
    if at in (0, len(curve)):
        return curve[min(at, len(curve) - 1)][1]
    (left, low), (right, high) = curve[at - 1], curve[at]
    return low + (high - low) * (x - left) / (right - left)
