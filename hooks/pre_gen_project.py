"""Check every answer before anything is written, and name all that is wrong in one message.

It runs in the project's folder, which is still empty, under the Python that runs Cookiecutter, so
it uses the standard library only. Data of one's own that passes is left here as .raw.csv.new.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# Jinja escapes quotes and all that is not ASCII: nothing in an answer can end this string.
CONTEXT = json.loads(r"""{{ cookiecutter | tojson }}""")  # {% raw %}
ANSWERS = {key: str(value) for key, value in CONTEXT.items() if not key.startswith("_")}
RAW = Path(CONTEXT["__raw"]).name
DATA = Path(f".{RAW}.new")  # until post_gen_project puts it in place
TEXT_CLASSES = Path(".classes-are-text")

# Of a download: how large, how long in all, how long without a byte.
MOST_BYTES, MOST_SECONDS, PATIENCE = 1_000_000_000, 600, 60

# `cruft update` and `cruft diff` generate the project again in a temporary folder, without data.
UPDATING = "_commit" in CONTEXT and (
    Path.cwd().parent.parent.samefile(tempfile.gettempdir())
    and re.fullmatch(r"tmp[a-z0-9_]{8}", Path.cwd().parent.name)
)

# For each task its metrics: whether a bound is a `min` or a `max`, and the lowest and the highest
# value that is possible.
METRICS: dict[str, dict[str, tuple[str, float | str, float | str]]] = CONTEXT["_metrics"]
SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "azure", "ssh": "ssh"}

# What pyarrow, which reads the table in the pipeline, takes for a missing value.
MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"}
MISSING |= {"1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}

Problems = Iterator[tuple[str, str]]


def text_problems() -> Problems:
    """Find answers that cannot be written into the project's files."""
    for key, answer in ANSWERS.items():
        if plain(answer) != answer:
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
    allowed = {"task": ["binary"], "target": ["diagnosis"], "positive": ["malignant", "benign"]}
    for key, values in allowed.items():
        if ANSWERS[key] not in values:
            yield key, f"with the demo's data {' or '.join(values)} (or give data of your own)"


def fetch(source: str) -> Path:
    """Find the data file, or download it into this folder.

    Raises:
        ValueError: there is no such file; the message says what is allowed.
    """
    if not source.partition("?")[0].lower().endswith((".csv", ".parquet")):
        raise ValueError("demo, or the path or URL of a .csv or .parquet file")
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


def read_target(path: Path) -> tuple[list[str], set[str]]:
    """Read the names of the columns, and the target's values without the missing ones.

    Raises:
        ValueError: the file cannot be read as a table; the message says what is allowed.
    """
    target = ANSWERS["target"]
    if path.suffix.lower() == ".parquet":
        return read_parquet_target(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            first = next(filter(None, rows), [])  # the pipeline skips blank lines too
            header = [name.strip() for name in first]
            at = header.index(target) if target in header else None
            values = set() if at is None else {row[at].strip() for row in rows if len(row) > at}
    except UnicodeDecodeError:
        raise ValueError("a file in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"a CSV file that can be read: {error}") from None
    if not header:
        raise ValueError("a file with a header line; this file is empty")
    if len(header) == 1 and (sign := re.search(r"[;\t|]", header[0])):
        raise ValueError(f"a file with commas between its columns; this file has {sign[0]!r}")
    return header, values - MISSING


def read_parquet_target(path: Path) -> tuple[list[str], set[str]]:
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
        return [ANSWERS["target"]] if found else [], set()
    try:
        header = parquet.read_schema(path).names
        column = parquet.read_table(path, columns=[ANSWERS["target"]]) if header else None
    except (OSError, ValueError) as error:
        raise ValueError(f"a Parquet file that can be read: {error}") from None
    values = column.column(0).unique().to_pylist() if column and column.num_columns else []
    if any(isinstance(value, str | bytes) for value in values):
        TEXT_CLASSES.touch()
    # NaN, which Parquet files may hold beside null, is not equal to itself.
    return header, {str(value) for value in values if value is not None and value == value}


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
    if twice := sorted({name for name in header if header.count(name) > 1}):
        yield "data", f"a file whose columns have different names; repeated: {shown(twice)}"
    if not target or target not in header:
        yield "target", f"a column: {shown(header)}" if header else "a column of the file"
    elif values:
        yield from value_problems(task, positive, values)
        if any(is_code(value) for value in values):
            TEXT_CLASSES.touch()  # for post_gen_project: so 1 is the text "1" in params.yaml


def is_code(value: str) -> bool:
    """Say whether a class makes its column text: it is no number, or has a leading zero."""
    truth = value.lower() in ("true", "false")
    return not truth and (not is_number(value) or bool(re.match(r"-?0\d", value)))


def shown(names: list[str]) -> str:
    """Return names from a file as one line; they may be many and hold control characters."""
    # In quotes where one could not see what the name is.
    listed = plain(
        ", ".join(name if name and name == name.strip() else f"'{name}'" for name in names)
    )
    return listed if len(listed) < 400 else f"{listed[:400]}, ..."


def value_problems(task: str, positive: str, values: set[str]) -> Problems:
    """Find a task that does not fit the target's values."""
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
    """Return whether two texts name the same class, as 1 and 1.0 do."""
    return one == other or (is_number(one) and is_number(other) and float(one) == float(other))


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def main() -> int:
    """Check the answers; put the data here if all are right."""
    problems, source = [*text_problems(), *private_problems(), *slug_problems()], None
    if ANSWERS["data"] == "demo":
        problems += demo_problems()
    elif not UPDATING:
        try:
            source = fetch(ANSWERS["data"])
            problems += own_data_problems(source)
        except ValueError as error:
            problems.append(("data", str(error)))
    problems += [*gate_problems(), *remote_problems()]
    if not problems:
        if source and source != DATA:
            shutil.copyfile(source, DATA)
        return 0
    print("Nothing was generated, because these answers are not valid:", file=sys.stderr)
    for key, allowed in problems:
        found = json.dumps(CONTEXT[key], ensure_ascii=False) if CONTEXT[key] else "empty"
        print(f"  {key} is {found}; allowed: {allowed}", file=sys.stderr)
    DATA.unlink(missing_ok=True)
    TEXT_CLASSES.unlink(missing_ok=True)
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
