"""Check every answer before anything is written, and name all that is wrong in one message.

Runs in the project's folder, still empty, under whatever Python runs Cookiecutter: only the
standard library. What is right with data of one's own is left here as raw.csv or raw.parquet.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# Jinja escapes quotes and all that is not ASCII: nothing in an answer can end this string.
CONTEXT = json.loads(r"""{{ cookiecutter | tojson }}""")  # {% raw %}
ANSWERS = {key: str(value) for key, value in CONTEXT.items() if not key.startswith("_")}
RAW = Path(CONTEXT["__raw"]).name

# For each task the metrics that src/metrics.py computes, with the bounds that can be met.
SCORE, ERROR = (0.0, 1.0), (0.0, float("inf"))
BOTH = {
    **dict.fromkeys(["accuracy", "balanced_accuracy", "roc_auc", "average_precision"], SCORE),
    "log_loss": ERROR,
}
METRICS: dict[str, dict[str, tuple[float, float]]] = {
    "binary": {**BOTH, "f1": SCORE, "precision": SCORE, "recall": SCORE, "brier": SCORE},
    "multiclass": {
        **BOTH,
        **dict.fromkeys(["f1_macro", "precision_macro", "recall_macro"], SCORE),
        "brier": (0.0, 2.0),
    },
    "regression": {"rmse": ERROR, "mae": ERROR, "mape": ERROR, "r2": (float("-inf"), 1.0)},
}
SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "azure", "ssh": "ssh"}

# What pyarrow, which reads the table in the pipeline, takes for a missing value.
MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"}
MISSING |= {"1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}

Problems = Iterator[tuple[str, str]]


def text_problems() -> Problems:
    """Find answers that no file could hold."""
    for key, answer in ANSWERS.items():
        if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in answer):
            yield key, "one line of text, without control characters"
    for key in ("project_name", "description", "author"):
        if not ANSWERS[key].strip():
            yield key, "some text"


def slug_problems() -> Problems:
    """Find a name that cannot be a folder on every system and a package."""
    slug = ANSWERS["project_slug"]
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", slug, re.IGNORECASE)
    if reserved or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", slug):
        yield "project_slug", "a folder name of letters, digits, - _ . (first and last no sign)"


def gate_problems() -> Problems:
    """Find a metric that the task does not have, and a bound that no model or every one meets."""
    task, metric, bound = ANSWERS["task"], ANSWERS["metric"], ANSWERS["bound"]
    if metric not in METRICS[task]:
        yield "metric", f"for {task} one of {', '.join(METRICS[task])}"
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", bound):
        yield "bound", "a number, such as 0.9"
    elif metric in METRICS[task]:
        low, high = METRICS[task][metric]
        if not (low <= float(bound) <= high and abs(float(bound)) < float("inf")):
            yield "bound", f"for {metric} a finite number from {low:g} to {high:g}"


def remote_problems() -> Problems:
    """Find a URL that is not the remote's, and answers that only another remote takes."""
    remote, url = ANSWERS["remote"], ANSWERS["remote_url"]
    if remote == "embedded":
        if url:
            yield "remote_url", "nothing, as the embedded remote has none"
    elif not re.fullmatch(SCHEMES[remote] + r"://[\w.~@:-]+(/[\w.~@:/+=-]*)?", url, re.ASCII):
        example = "user@server/path" if remote == "ssh" else "bucket/path"
        yield "remote_url", f"for {remote} a URL such as {SCHEMES[remote]}://{example}"
    region, endpoint = ANSWERS["s3_region"], ANSWERS["s3_endpoint"]
    if remote != "s3":
        given = (key for key in ("s3_region", "s3_endpoint") if ANSWERS[key])
        yield from ((key, "nothing, as only s3 has one") for key in given)
        return
    if not re.fullmatch(r"[a-z0-9-]*", region):
        yield "s3_region", "a region such as us-east-1"
    if endpoint and not re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w.~/-]*)?", endpoint, re.ASCII):
        yield "s3_endpoint", "the URL of a server, such as https://s3.example.org"


def demo_problems() -> Problems:
    """Find answers that do not fit the demo's data."""
    allowed = {"task": ["binary"], "target": ["diagnosis"], "positive": ["malignant", "benign"]}
    for key, values in allowed.items():
        if ANSWERS[key] not in values:
            yield key, f"with the demo's data {' or '.join(values)} (or give your own data)"


def fetch(source: str) -> Path:
    """Find the data file, or download it into this folder.

    Raises:
        ValueError: it is not there; the message says what is allowed.
    """
    if not source.partition("?")[0].lower().endswith((".csv", ".parquet")):
        raise ValueError("demo, or the path or URL of a .csv or .parquet file")
    if source.lower().startswith(("http://", "https://")):
        from urllib.request import urlopen  # not for every answer: it takes as long as all the rest

        try:
            with urlopen(source, timeout=60) as page, open(RAW, "wb") as file:  # noqa: S310, PTH123
                shutil.copyfileobj(page, file)
        except (OSError, ValueError) as error:
            raise ValueError(f"a URL that can be read: {error}") from None
        return Path(RAW)
    # Cookiecutter and Cruft change the folder; the shell's is still in PWD.
    for folder in (os.environ.get("PWD", ".."), ".."):
        path = Path(folder, source).expanduser() if source[0] != "~" else Path(source).expanduser()
        if path.is_file():
            return path
    raise ValueError(f"a file that exists; none is at {path.resolve()}")


def read_target(path: Path) -> tuple[list[str], set[str]]:
    """Read the names of the columns, and the target's values without the missing ones.

    Raises:
        ValueError: the file is no such table; the message says what is allowed.
    """
    target = ANSWERS["target"]
    if path.suffix.lower() == ".parquet":
        return read_parquet_target(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            at = header.index(target) if target in header else None
            values = set() if at is None else {row[at] for row in rows if len(row) > at}
    except UnicodeDecodeError:
        raise ValueError("a file in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"a CSV file; this one cannot be read: {error}") from None
    if not header:
        raise ValueError("a file with a header; this one is empty")
    return header, values - MISSING


def read_parquet_target(path: Path) -> tuple[list[str], set[str]]:
    """Read a Parquet file's target where pyarrow is at hand; else the pipeline will check it."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise ValueError("a Parquet file; this one is none")
    try:
        from pyarrow import parquet
    except ImportError:
        return [], set()
    try:
        header = parquet.read_schema(path).names
        column = parquet.read_table(path, columns=[ANSWERS["target"]]) if header else None
    except (OSError, ValueError) as error:
        raise ValueError(f"a Parquet file; this one cannot be read: {error}") from None
    values = column.column(0).unique().to_pylist() if column and column.num_columns else []
    return header, {str(value) for value in values if value is not None}


def own_data_problems(path: Path) -> Problems:
    """Find answers that do not fit a data file."""
    task, target, positive = ANSWERS["task"], ANSWERS["target"], ANSWERS["positive"]
    if task == "binary" and not positive:
        yield "positive", "the class that counts as positive"
    elif task != "binary" and positive:
        yield "positive", f"nothing, as {task} has no positive class"
    try:
        header, values = read_target(path)
    except ValueError as error:
        yield "data", str(error)
        return
    if not target or (header and target not in header):
        listed = ", ".join(header)
        yield "target", f"a column: {listed if len(listed) < 400 else listed[:400] + ', ...'}"
    elif values:
        yield from value_problems(task, positive, values)


def value_problems(task: str, positive: str, values: set[str]) -> Problems:
    """Find a task that the target's values do not fit."""
    numeric = all(is_number(value) for value in values)
    if task == "regression":
        if not numeric:
            yield "task", "binary or multiclass, as the target holds text"
        return
    fractions = numeric and any(not float(value).is_integer() for value in values)
    if len(values) < 2:
        yield "target", "a column with more than one value"
    elif task == "binary" and len(values) > 2:
        other = "regression" if fractions or (numeric and len(values) > 20) else "multiclass"
        yield "task", f"{other}, as the target has {len(values)} different values"
    elif fractions and len(values) > 2:
        yield "task", f"regression, as the target's {len(values)} values are numbers with fractions"
    elif task == "binary" and positive and not any(same(positive, value) for value in values):
        yield "positive", " or ".join(sorted(values))


def same(one: str, other: str) -> bool:
    """Say whether two texts are the same class: 1 and 1.0 are."""
    return one == other or (is_number(one) and is_number(other) and float(one) == float(other))


def is_number(text: str) -> bool:
    """Say whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> int:
    """Check the answers; put the data here if all are right."""
    problems, source = [*text_problems(), *slug_problems()], None
    # `cruft update` runs in a project, which has its data.
    updating = "_commit" in CONTEXT and Path(os.environ.get("PWD", ""), ".cruft.json").exists()
    if ANSWERS["data"] == "demo":
        problems += demo_problems()
    elif not updating:
        try:
            source = fetch(ANSWERS["data"])
            problems += own_data_problems(source)
        except ValueError as error:
            problems.append(("data", str(error)))
    problems += [*gate_problems(), *remote_problems()]
    if not problems:
        if source and source != Path(RAW):
            shutil.copyfile(source, RAW)
        return 0
    print("Nothing was made, as these answers cannot be right:", file=sys.stderr)
    for key, allowed in problems:
        found = json.dumps(ANSWERS[key], ensure_ascii=True) if ANSWERS[key] else "empty"
        print(f"  {key} is {found}; allowed: {allowed}", file=sys.stderr)
    Path(RAW).unlink(missing_ok=True)
    remove_folders_above()
    return 1


def remove_folders_above() -> None:
    """Remove the folders that a slug with slashes made Cookiecutter make: it removes one only."""
    folder = Path.cwd()
    above = folder.parents[: len(Path(ANSWERS["project_slug"]).parts) - 1]
    if above:
        os.chdir(folder.anchor)
        for path in (folder, *above):
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


sys.exit(main())  # {% endraw %}
