"""Check every answer before anything is written, and name all that is wrong in one message.

It runs in the project's folder, which is still empty, under the Python that runs Cookiecutter, so
it uses the standard library only. Data of one's own that passes is left here as .raw.csv.new.
"""

import codecs
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import unicodedata
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any

# Jinja escapes quotes and all that is not ASCII: nothing in an answer can end this string.
CONTEXT = json.loads(r"""{{ cookiecutter | tojson }}""")
# The source of modules that the pipeline reads tables with, from local_extensions.py.
SHARED = json.loads(r"""{{ shared | tojson }}""")  # {% raw %}

if sys.version_info < (3, 11):  # noqa: UP036 - Cookiecutter may run under any
    sys.exit("Nothing was generated: run Cookiecutter under Python 3.11 or a later one.")
for name, source in SHARED.items():
    module = sys.modules[name] = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - the template's own
from src.shared.fields import BLANKS, Format, Kind, infer, read  # noqa: E402
from src.shared.lines import RefusedError, rows_of  # noqa: E402

ANSWERS = {key: str(value) for key, value in CONTEXT.items() if not key.startswith("_")}
RAW = Path(CONTEXT["__raw"]).name
DATA = Path(f".{RAW}.new")  # until post_gen_project puts it in place
POSITIVE = Path(".positive")  # for post_gen_project: the positive class as JSON

# Of a download: how large, how long in all, how long without a byte.
MOST_BYTES, MOST_SECONDS, PATIENCE = 1_000_000_000, 600, 60

# From this share of the rows on, the most frequent class decides what accuracy is.
FREQUENT = 0.8
# Fewer rows of a class than this do not give one to each of five folds, and one to the test.
FEWEST = 6

MOST_LOOKED_AT = 1000  # rows, for decimal commas

# `cruft update` and `cruft diff` generate the project again in a temporary folder, without data.
UPDATING = "_commit" in CONTEXT and (
    Path.cwd().parent.parent.samefile(tempfile.gettempdir())
    and re.fullmatch(r"tmp[a-z0-9_]{8}", Path.cwd().parent.name)
)

# For each task its metrics: whether a bound is a `min` or a `max`, and the lowest and the highest
# value that is possible.
METRICS: dict[str, dict[str, tuple[str, float | str, float | str]]] = CONTEXT["_metrics"]
SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "azure", "ssh": "ssh"}

# What the values of a Parquet file are; a truth value is an int as well.
KINDS: dict[type, Kind] = {bool: "boolean", int: "whole", float: "number", Decimal: "number"}
KINDS |= {date: "date"}

NUMBERS = ("whole", "number")

# What tells more than accuracy where one class is frequent.
TELLS_MORE = {
    "binary": "roc_auc, average_precision or f1",
    "multiclass": "balanced_accuracy or f1_macro",
}

Problems = Iterator[tuple[str, str]]


def text_problems() -> Problems:
    """Find answers that cannot be written into the project's files."""
    for key, answer in ANSWERS.items():
        if plain(answer) != answer and (key, answer) != ("separator", "\t"):
            yield key, "one line of text, without control characters"
    for key in ("project_name", "description", "author"):
        if not ANSWERS[key].strip():
            yield key, "some text"


def private_problems() -> Problems:
    """Find an answer given to what is no question."""
    table = ANSWERS["data"].partition("?")[0].lower()
    if CONTEXT["__raw"] != f"data/raw.{'parquet' if table.endswith('.parquet') else 'csv'}":
        yield "__raw", "not to be given, as it follows from data"


def plain(text: str) -> str:
    """Replace the characters that YAML, TOML or a terminal does not take as text by spaces."""
    hidden = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate, line ends
    return "".join(
        " " if unicodedata.category(sign) in hidden or ord(sign) & 0xFFFE == 0xFFFE else sign
        for sign in text
    )


def slug_problems() -> Problems:
    """Find a name that cannot be a folder's on every system, or a package's."""
    slug = ANSWERS["project_slug"]
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", slug, re.IGNORECASE)
    if reserved:
        yield "project_slug", "a folder name that Windows does not reserve"
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", slug):
        allowed = "a folder name of up to 100 letters, digits, - _ . (not - _ . at either end)"
        yield "project_slug", allowed


def format_problems() -> Problems:
    """Find a format that no CSV file has."""
    if not re.fullmatch(r"\t|\\t|[ -~]", ANSWERS["separator"]) or ANSWERS["separator"] in '."\\':
        yield "separator", r"one sign, such as ; or \t for a tab"
    elif ANSWERS["separator"] == ANSWERS["decimal"]:
        yield "separator", "another sign than decimal"
    try:
        codecs.lookup(ANSWERS["encoding"])
    except (LookupError, ValueError):
        yield "encoding", "an encoding that Python knows, such as utf-8 or cp1252"


def form() -> Format:
    """Return how the data file is written, as the answers say."""
    missing = (text.strip() for text in ANSWERS["missing"].split(","))
    separator = ANSWERS["separator"].replace(r"\t", "\t")
    decimal, encoding = ANSWERS["decimal"], ANSWERS["encoding"]
    return Format(separator, decimal, encoding, tuple(text for text in missing if text))


def gate_problems() -> Problems:
    """Find a metric that the task does not have, and a bound that no value can meet or miss."""
    task, metric, bound = ANSWERS["task"], ANSWERS["metric"], ANSWERS["bound"]
    if metric not in METRICS[task]:
        yield "metric", f"for {task} one of {', '.join(METRICS[task])}"
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", bound):
        yield "bound", "a number, such as 0.9"
    elif metric in METRICS[task]:
        low, high = map(float, METRICS[task][metric][1:])
        if not (low <= float(bound) <= high and abs(float(bound)) < float("inf")):
            yield "bound", f"for {metric} a finite number from {low:g} to {high:g}"


def remote_problems() -> Problems:
    """Find a URL that does not fit the remote, and answers that only another remote takes."""
    remote, url = ANSWERS["remote"], ANSWERS["remote_url"]
    if remote == "embedded":
        if url:
            yield "remote_url", "nothing, as the embedded remote has no URL"
    elif not re.fullmatch(SCHEMES[remote] + r"://[\w.~@:-]+(/[\w.~@:/+=-]*)?", url, re.ASCII):
        example = "user@server/path" if remote == "ssh" else "bucket/path"
        yield "remote_url", f"for {remote} a URL such as {SCHEMES[remote]}://{example}"
    region, endpoint = ANSWERS["s3_region"], ANSWERS["s3_endpoint"]
    if remote != "s3":
        given = (key for key in ("s3_region", "s3_endpoint") if ANSWERS[key])
        yield from ((key, "nothing, as it is for s3 only") for key in given)
        return
    if not re.fullmatch(r"[a-z0-9-]*", region):
        yield "s3_region", "a region such as us-east-1"
    if endpoint and not re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w.~/-]*)?", endpoint, re.ASCII):
        yield "s3_endpoint", "the URL of a server, such as https://s3.example.org"


def demo_problems() -> Problems:
    """Find answers that do not fit the demo's data."""
    allowed = {
        "task": ["binary"],
        "target": ["diagnosis"],
        "positive": ["malignant", "benign"],
        "separator": [","],
        "decimal": ["."],
        "encoding": ["utf-8"],
        "missing": [""],
    }
    for key, values in allowed.items():
        if ANSWERS[key] not in values:
            only = " or ".join(values) or "nothing"
            yield key, f"with the demo's data {only} (or give data of your own)"


def positive_problems() -> Problems:
    """Find a positive class that is missing, or that the task does not have."""
    task, positive = ANSWERS["task"], ANSWERS["positive"]
    if task == "binary" and not positive:
        yield "positive", "the class that counts as positive"
    elif task != "binary" and positive:
        yield "positive", f"nothing, as {task} has no positive class"


def fetch(source: str) -> Path:
    """Find the data file, or download it into this folder.

    Raises:
        ValueError: there is no such file; the message says what is allowed.
    """
    if not source.partition("?")[0].lower().endswith((".csv", ".parquet")):
        raise ValueError(
            "demo, or the path or URL of a .csv or .parquet file; of a folder of such files one of "
            "them, and docs/data.md says how all of them take its place"
        )
    if source.lower().startswith(("http://", "https://")):
        download(source)
        return DATA
    if re.match(r"\w{2,}://", source):
        raise ValueError("a path, or a URL that starts with http:// or https://")
    # Cookiecutter and Cruft change the current folder; PWD still names the shell's.
    for folder in (os.environ.get("PWD", ".."), ".."):
        path = Path(folder, source).expanduser() if source[0] != "~" else Path(source).expanduser()
        if path.is_file():
            return path
    raise ValueError(f"a file that exists; none is at {path.resolve()}")


def download(url: str) -> None:
    """Download the data file into this folder.

    Raises:
        ValueError: it cannot be read, or not whole; it is too large, or takes too long.
    """
    # Not for every answer: they take as long as all the rest.
    from http.client import HTTPException
    from urllib.request import urlopen

    end, size = time.monotonic() + MOST_SECONDS, 0
    try:
        with urlopen(url, timeout=PATIENCE) as page, DATA.open("wb") as file:  # noqa: S310
            announced = page.length or 0  # nothing where the server does not say
            while max(size, announced) <= MOST_BYTES and time.monotonic() < end:
                if not (part := page.read1(1_000_000)):
                    break
                size += file.write(part)
    except (OSError, ValueError, HTTPException) as error:
        raise ValueError(f"a URL that can be read: {error}") from None
    if max(size, announced) > MOST_BYTES:
        raise ValueError(f"at most {MOST_BYTES:,} bytes by URL; download it, and give its path")
    if time.monotonic() >= end:
        raise ValueError(f"what comes within {MOST_SECONDS} s; download it, and give its path")
    if size < announced:
        raise ValueError(f"a whole file; {size:,} of {announced:,} bytes came: try again")


@dataclass
class Table:
    """What is known of the data file.

    Attributes:
        header: the names of its columns.
        counts: how often each value of the target occurs, without the missing ones; None where
            that could not be read.
        kind: what the values are.
        missing: rows without the target.
        commas: columns whose values seem to be numbers with a decimal comma, each with a value.
    """

    header: list[str]
    counts: Counter[str] | None = None
    kind: Kind = "text"
    missing: int = 0
    commas: dict[str, str] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Read the names of the columns, and what the target holds.

    Raises:
        ValueError: the file cannot be read as a table; the message says what is allowed.
        RefusedError: it is not written as the answers say.
    """
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    written = form()
    rows = rows_of(path, written)
    header = [name.strip(BLANKS) for name in next(rows)]
    if not header:
        raise ValueError("a file with a header line; this file is empty")
    first = list(islice(rows, MOST_LOOKED_AT))
    if not first:
        raise ValueError("a file with rows below its header")
    table = Table(header)
    for name, texts in zip(header, zip(*first, strict=True), strict=True):
        known = {text.strip(BLANKS) for text in texts} - written.absent
        if infer(known, written.decimal) == "text" and has_commas(known):
            table.commas[name] = min(known, key=lambda text: ("," not in text, text))
    if ANSWERS["target"] in header:
        at = header.index(ANSWERS["target"])
        table.counts = Counter(row[at].strip(BLANKS) for row in chain(first, rows))
        table.missing = sum(table.counts.pop(text, 0) for text in written.absent)
        table.kind = infer(table.counts, written.decimal)
    else:
        deque(rows, maxlen=0)  # to the end, for lines that have other columns
    return table


def has_commas(values: Collection[str]) -> bool:
    """Say whether values that are no numbers are such with decimal commas."""
    return form().decimal == "." and infer(values, ",") in NUMBERS


def read_parquet(path: Path) -> Table:
    """Read a Parquet file's target. Without pyarrow, only look for its name.

    Raises:
        ValueError: the file cannot be read as a table; the message says what is allowed.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise ValueError("a Parquet file, which this file is not")
    try:
        from pyarrow import parquet
    except ImportError:
        found = ANSWERS["target"].encode() in read_footer(path)
        return Table([ANSWERS["target"]] if found else [])
    try:
        table = Table(parquet.read_schema(path).names)
        columns = parquet.read_table(path, columns=[ANSWERS["target"]])
    except (OSError, ValueError) as error:
        raise ValueError(f"a Parquet file that can be read: {error}") from None
    if columns.num_columns:
        table.counts = Counter()
        for one in columns.column(0).value_counts().to_pylist():
            value = one["values"]
            # NaN, which Parquet files may hold beside null, is not equal to itself.
            if value is not None and value == value:
                kinds = (kind for type_, kind in KINDS.items() if isinstance(value, type_))
                table.kind = next(kinds, "text")
                text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                table.counts[text.strip(BLANKS)] += one["counts"]
        for text in ("", *form().missing):
            table.counts.pop(text, None)
        table.missing = columns.num_rows - table.counts.total()
        if table.kind in NUMBERS:  # beyond 64 bits they are text
            table.kind = infer(table.counts)
    return table


def read_footer(path: Path) -> bytes:
    """Read the end of a Parquet file, which holds the columns' names.

    The four bytes before the last four hold its length (https://parquet.apache.org/docs/file-format).
    """
    with path.open("rb") as file:
        end = max(file.seek(0, os.SEEK_END) - 8, 0)
        file.seek(end)
        length = min(int.from_bytes(file.read(4), "little"), end)
        file.seek(end - length)
        return file.read(length)


def unlike_format(refused: RefusedError) -> Problems:
    """Name the answers that a file which could not be read seems to want."""
    if not refused.settings:
        yield "data", f"a table that can be read; {refused}"
    for key, value in refused.settings.items():
        why = f"the file {refused}".replace("the file the file", "the file")
        why = "the file seems to hold decimal commas" if key == "decimal" else why
        yield key, f"{value!r}, as {why}{'; or a file in UTF-8' * (key == 'encoding')}"


def table_problems(table: Table) -> Problems:
    """Find answers that do not fit a data file."""
    task, target, positive = ANSWERS["task"], ANSWERS["target"], ANSWERS["positive"]
    header = table.header
    if twice := sorted({name for name in header if header.count(name) > 1}):
        yield "data", f"a file whose columns have different names; repeated: {shown(twice)}"
    if not target or target not in header:
        yield "target", f"a column: {shown(header)}" if header else "a column of the file"
    elif table.counts:
        yield from value_problems(task, positive, table.counts, table.kind)
    elif table.counts is not None:
        yield "target", "a column that holds values"


def shown(names: list[str]) -> str:
    """Return names from a file as one line; they may be many and hold control characters."""
    # In quotes where one could not see what the name is.
    listed = plain(
        ", ".join(name if name and name == name.strip() else f"'{name}'" for name in names)
    )
    return listed if len(listed) < 400 else f"{listed[:400]}, ..."


def value_problems(task: str, positive: str, counts: Counter[str], kind: Kind) -> Problems:
    """Find a task, or a class, that does not fit the target's values.

    Args:
        task: the answer.
        positive: the answer.
        counts: how often each value occurs.
        kind: what they are.
    """
    values, numeric = sorted(counts), kind in NUMBERS
    if kind == "date":
        yield "target", "a column of classes or numbers, not of dates"
        return
    if task == "regression":
        if not numeric:
            yield from number_problems(values)
        return
    labels = {label for value in values if (label := _value(value, kind)) is not None}
    fractions = numeric and any(label % 1 for label in labels)
    if len(labels) < 2:
        yield "target", "a column with more than one value"
    elif task == "binary" and len(labels) > 2:
        other = "regression" if fractions or (numeric and len(labels) > 20) else "multiclass"
        some = f": {shown(values[:5])}{', ...' if len(values) > 5 else ''}"
        absent = "" if numeric else "; or say in missing which of them stand for a missing value"
        yield "task", f"{other}, as the target has {len(labels)} different values{some}{absent}"
    elif fractions and len(labels) > 2:
        yield "task", f"regression, as the target's {len(labels)} values are numbers with fractions"
    elif task == "binary" and positive:
        with contextlib.suppress(ValueError):
            if (label := _value(positive, kind)) in labels:
                POSITIVE.write_text(json.dumps(label), encoding="utf-8")
                return
        yield "positive", " or ".join(values)


def _value(text: str, kind: Kind) -> Any:
    return read(text, kind, (), form().decimal)


def number_problems(values: list[str]) -> Problems:
    """Say what to do where a number is to be predicted, and the values are not all numbers."""
    if has_commas(values):
        yield "decimal", f"',', as the target holds {shown(values[:3])}"
        return
    odd = [value for value in values if infer([value], form().decimal) not in NUMBERS]
    if len(odd) < len(values) / 2:
        few = f"{shown(odd[:5])}{', ...' if len(odd) > 5 else ''}"
        yield "missing", f"{few}, if that stands for a missing value; the other values are numbers"
    else:
        yield "task", f"binary or multiclass, as the target holds no numbers: {shown(values[:3])}"


def hints(table: Table) -> Iterator[str]:
    """Say where the first run will stop and what helps, and what accuracy will not tell."""
    task, target, counts = ANSWERS["task"], plain(ANSWERS["target"]), table.counts
    if nameless := [at for at, name in enumerate(table.header, start=1) if not name]:
        yield f'column {nameless[0]} has no name; set `drop: [""]` under data in params.yaml.'
    rows = table.missing + (counts.total() if counts else 0)
    if table.missing:
        yield (
            f"{target} is missing in {table.missing:,} of {rows:,} rows; to leave them out, set "
            "`missing_target: drop` under data in params.yaml."
        )
    if counts and task in TELLS_MORE:
        (label, most), (rare, least) = counts.most_common()[0], counts.most_common()[-1]
        if least < FEWEST:
            yield (
                f"class '{plain(rare)}' is that of {least} of {rows:,} rows, too few for a test "
                f"and five folds; to leave such classes out, set `drop_rare_classes: {FEWEST}` "
                "under data in params.yaml."
            )
        share = most / counts.total()
        if ANSWERS["metric"] == "accuracy" and share >= FREQUENT:
            yield (
                f"{share:.1%} of the rows are of class '{plain(label)}', so a model that always "
                f"says so has an accuracy of {share:.3f}. {TELLS_MORE[task]} as metric would tell "
                "more."
            )
    if table.commas:
        yield (
            f"decimal commas, such as {plain(next(iter(table.commas.values())))}, seem to stand in "
            f"{shown(list(table.commas))}. With decimal '{form().decimal}' that is read as text."
        )


def main() -> int:
    """Check the answers; put the data here if all are right."""
    problems = [*text_problems(), *private_problems(), *slug_problems()]
    source, noted = None, list[str]()
    if ANSWERS["data"] == "demo":
        problems += demo_problems()
    elif not UPDATING:
        problems += [*positive_problems(), *(wrong := list(format_problems()))]
        try:
            source = fetch(ANSWERS["data"])
            if not wrong:
                table = read_table(source)
                problems += table_problems(table)
                noted += hints(table)
        except RefusedError as refused:
            problems += unlike_format(refused)
        except ValueError as error:
            problems.append(("data", str(error)))
    problems += [*gate_problems(), *remote_problems()]
    if not problems:
        if source and source != DATA:
            shutil.copyfile(source, DATA)
        for hint in noted:
            print("\n" + fill(f"Note: {hint}", 79))
        return 0
    print("Nothing was generated, because these answers are not valid:", file=sys.stderr)
    for key, allowed in problems:
        found = json.dumps(CONTEXT[key], ensure_ascii=False) if CONTEXT[key] else "empty"
        print(f"  {key} is {found}; allowed: {plain(allowed)}", file=sys.stderr)
    DATA.unlink(missing_ok=True)
    POSITIVE.unlink(missing_ok=True)
    remove_folders_above()
    return 1


def remove_folders_above() -> None:
    """Remove every folder that Cookiecutter made for a slug with slashes; it removes only one."""
    folder = Path.cwd()
    above = folder.parents[: len(Path(ANSWERS["project_slug"]).parts) - 1]
    if above:
        os.chdir(folder.anchor)
        for path in (folder, *above):
            with contextlib.suppress(OSError):  # the folder holds something
                path.rmdir()


sys.exit(main())  # {% endraw %}
