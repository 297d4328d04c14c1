"""What is odd about a table without being wrong for sure: warnings, each with what can be done."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.shared import fields
from src.shared.errors import plain
from src.shared.params import Params
from src.shared.texts import TextColumn, all_differ
from src.shared.unreadable import in_data
from src.shared.wording import counted

FEWEST = 20  # rows, below which nothing is said
SHOWN = 5  # odd values that are shown
SAMPLE = 10_000  # rows that are looked at where all would take long
# From this share of rows on a text column is mostly numbers, dates or times; above the other share
# of `SAMPLE` rows it may be, as chance moves that by less than .03.
MOSTLY, MAYBE = 0.5, 0.45
NEARLY_ALL = 0.9  # from this share of distinct texts on, they are names or notes
# What a feature alone may explain of the target before it is taken for a leak.
PERFECT_OF_CLASSES, PERFECT_OF_NUMBERS = 0.97, 0.99

MARKED = re.compile(r"[$€£¥%]")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}([,.' \u00a0][0-9]{3})+([.,][0-9]+)?")
COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
PATTERNS = {
    "foreign": re.compile(
        r"[0-9]{1,2}([./-])[0-9]{1,2}\1([0-9]{4}|[0-9]{2})([ T].*)?"
        r"|[0-9]{4}[/.][0-9]{1,2}[/.][0-9]{1,2}([ T].*)?"
        r"|[0-9]{1,2}[ -][A-Za-z]{3,9}\.?[ -][0-9]{2,4}|[A-Za-z]{3,9}\.? [0-9]{1,2},? [0-9]{4}"
    ),
    "time": re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"),
}

# What texts look like that are ways to write the same.
ALIKE = {
    "numbers": ("number", "marked", "thousands", "comma"),
    "dates": ("date", "foreign"),
    "times": ("time",),
}
LOOKS = ("text", "code", *(look for alike in ALIKE.values() for look in alike))
# What is odd about those that are not read so, and what can be done.
WRITTEN = {
    "marked": ("numbers with a $, % or the like, read as text", "take the signs out of the file"),
    "thousands": (
        "numbers with signs between the thousands, read as text",
        "take the signs out of the file",
    ),
    "comma": (
        "numbers with a decimal comma, read as text",
        f"{in_data('decimal', ',')}, and run `make schema`",
    ),
    "foreign": (
        "dates not written as 2024-03-31, read as text",
        "write them so in the file, and run `make schema`",
    ),
    "time": ("times of day, read as text", "write them as a number, such as minutes"),
    "code": (
        "numbers with leading zeros, read as text",
        "nothing, if they are codes; else set the column's dtype in data/schema.yaml to int64",
    ),
}


@dataclass(frozen=True)
class Finding:
    """Something odd: in which column, what, in how many rows, first values, what can be done."""

    column: str
    what: str
    rows: int
    values: str
    remedy: str


@dataclass(frozen=True)
class Sample:
    """The rows by which features are compared with the target, in random order.

    Attributes:
        target: its name.
        rows: their numbers, shape (rows,).
        actual: the target as numbers, shape (rows,).
        classes: whether these number classes.
    """

    target: str
    rows: np.ndarray
    actual: np.ndarray
    classes: bool


def find_in(
    column: pd.Series | TextColumn,
    sample: Sample | None,
    settings: Params,
    *,
    inferred: bool = False,
) -> list[Finding]:
    """Look for what is odd in a column, unless somebody has accepted it.

    Args:
        column: all its rows, as `tables.to_frame` gives them; of text as `TextColumn`.
        sample: what `sample_rows` gave for the target.
        settings: the sections task, data, prepare and validate, and train.leave_out.
        inferred: whether the types were inferred, so that nobody has yet seen which are text.
    """
    name, target, classes = str(column.name), settings.data.target, settings.task != "regression"
    if len(column) < FEWEST or name in settings.validate.accept:
        return []
    feature = name not in {target, settings.prepare.column, *(settings.data.key or ())}
    found: list[Finding] = []
    if isinstance(column, TextColumn):
        if feature or (name == target and not classes):
            found += _odd_text(column, settings, inferred)
    elif feature and pd.api.types.is_numeric_dtype(column):
        found += _identity(column, settings)
    if feature and sample is not None and name not in settings.train.leave_out:
        found += _leak(column, sample)
    return found


def _odd_text(column: TextColumn, settings: Params, inferred: bool) -> Iterator[Finding]:
    """Look at a text column."""
    counts, known = column.counts, int(column.known.sum())
    places, rows = counts.first, counts.rows
    if few := len(counts) <= SAMPLE:
        looks = _looks(column.texts(places), settings.data.decimal)
    else:  # names, say: a look at all of them takes long
        sample = pd.Series(np.flatnonzero(column.known)).sample(SAMPLE, random_state=0)
        looks = _looks(column.texts(np.sort(sample)), settings.data.decimal)
    shares = _shares(looks, rows if few else np.ones(SAMPLE))
    if not few and max(shares.values()) > MAYBE:
        looks = _looks(column.texts(places), settings.data.decimal)
        shares = _shares(looks, rows)
    for kind, alike in ALIKE.items():
        if shares[kind] < MOSTLY:
            continue
        for look in [*alike, "code"]:
            some = np.flatnonzero(looks == LOOKS.index(look))
            if some.size and (what := WRITTEN.get(look)) and (look != "code" or inferred):
                yield _finding(column, what[0], some, what[1])
        odd = np.flatnonzero(~np.isin(looks, [LOOKS.index(look) for look in (*alike, "code")]))
        if odd.size:
            shown = column.take(counts.most(odd, SHOWN))
            absent = dict.fromkeys([*map(str, settings.data.missing), *shown])
            remedy = (
                f"if they stand for a missing value: {in_data('missing', list(absent))}, and run "
                "`make schema`"
            )
            yield _finding(column, f"text, but mostly {kind}", odd, remedy)
        return
    if known >= FEWEST and len(counts) >= NEARLY_ALL * known:
        remedy = _leave_out(column.name, settings, unique=len(counts) == len(column))
        every = np.arange(len(counts))
        yield _finding(column, "text, another in nearly every row", every, remedy)


def _looks(parts: Iterable[np.ndarray], decimal: str) -> np.ndarray:
    """Say what each text looks like, as the number of a word in `LOOKS`, shape (texts,)."""
    looks, commas = bytearray(), bytearray()
    for texts in parts:
        looks += bytes(LOOKS.index(_look(text, decimal)) for text in texts)
        commas += bytes(re.fullmatch(COMMA, text) is not None for text in texts)
    found, comma = np.frombuffer(looks, np.uint8), LOOKS.index("comma")
    if (found == comma).any():  # then 1,234 is one as well
        found = np.where(np.frombuffer(commas, bool), comma, found)
    return found


def _shares(looks: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Return for each kind of `ALIKE` the share of rows that look like it."""
    counts = np.bincount(looks, rows, len(LOOKS)) / max(rows.sum(), 1)
    return {
        kind: float(sum(counts[LOOKS.index(one)] for one in alike)) for kind, alike in ALIKE.items()
    }


def _look(text: str, decimal: str) -> str:
    """Say what a text looks like, as one of the words in `LOOKS`."""
    if re.fullmatch(fields.LEADING_ZERO, text):
        return "code"
    bare = MARKED.sub("", text).strip()
    if _reads(bare, "number", decimal):
        return "number" if bare == text else "marked"
    for look, pattern in (("thousands", THOUSANDS), ("comma", COMMA)):
        if re.fullmatch(pattern, bare):
            return look if bare == text else "marked"
    if _reads(text, "date", decimal):
        return "date"
    return next((look for look, one in PATTERNS.items() if re.fullmatch(one, text)), "text")


def _reads(text: str, kind: fields.Kind, decimal: str) -> bool:
    try:
        fields.read(text, kind, (), decimal)
    except ValueError:
        return False
    return True


def _finding(column: TextColumn, what: str, some: np.ndarray, remedy: str) -> Finding:
    """Describe some texts of a column, by their numbers, the most frequent ones first."""
    counts = column.counts
    shown = [f"'{plain(text)[:30]}'" for text in column.take(counts.most(some, SHOWN))]
    more = ["..."] if len(some) > SHOWN else []
    rows = int(counts.rows[some].sum())
    return Finding(column.name, what, rows, ", ".join([*shown, *more]), remedy)


def _leave_out(name: str, settings: Params, *, unique: bool) -> str:
    """Say what can be done with a column that names each row, or nearly each."""
    key = (
        f", or `key: {json.dumps([name], ensure_ascii=False)}` there if it says which row is which"
    )
    return in_data("drop", [*settings.data.drop, name]) + key * unique


def _identity(column: pd.Series, settings: Params) -> Iterator[Finding]:
    """Look for whole numbers of which each stands in one row only."""
    if not column.head(1000).is_unique or column.isna().any() or not (column % 1 == 0).all():
        return
    if all_differ(column.to_numpy()):
        shown = ", ".join(f"{value:.0f}" for value in column.head(3).tolist())
        name, what = str(column.name), "whole numbers, another in every row"
        remedy = _leave_out(name, settings, unique=True)
        yield Finding(name, what, len(column), f"{shown}, ...", remedy)


def sample_rows(target: pd.Series, settings: Params) -> Sample | None:
    """Choose the rows by which features are compared with the target: at most `SAMPLE`.

    Args:
        target: all its rows.
        settings: the task and the section data.

    Returns:
        None where too few are known, or where it should be a number and is none.
    """
    classes = settings.task != "regression"
    rows = pd.Series(np.flatnonzero(target.notna()))
    if len(rows) > SAMPLE:
        rows = rows.sample(SAMPLE, random_state=0)
    rows = rows.sample(frac=1, random_state=0)  # ties are broken by chance
    known = target.iloc[rows]
    if len(known) < FEWEST or not (classes or pd.api.types.is_numeric_dtype(known)):
        return None
    actual = pd.factorize(known)[0] if classes else known.to_numpy("float64", na_value=np.nan)
    return Sample(str(target.name), rows.to_numpy(), actual, classes)


def _leak(column: pd.Series | TextColumn, sample: Sample) -> list[Finding]:
    """Say so if a feature alone predicts the target nearly perfectly, in the sample's rows."""
    if isinstance(column, TextColumn):
        values, text = pd.Series(column.hashes[sample.rows]), True
    else:
        values, text = column.iloc[sample.rows], False
    score = explained(values, sample.actual, sample.classes, text=text)
    if score < (PERFECT_OF_CLASSES if sample.classes else PERFECT_OF_NUMBERS):
        return []
    what = f"alone tells the target nearly perfectly ({score:.3f} of 1): a leak?"
    remedy = f"add it to data.drop, if it is not known before '{sample.target}' is"
    return [Finding(str(column.name), what, 0, "", remedy)]


def explained(column: pd.Series, actual: np.ndarray, classes: bool, *, text: bool) -> float:
    """Measure how well the rows with the nearest values of a feature tell a row's target.

    Args:
        column: the feature, in random order; of texts their hashes.
        actual: the target, as numbers.
        classes: whether these number classes.
        text: whether the feature is text.

    Returns:
        1 if each row's target is that of its neighbours, 0 if they tell as much as chance:
        Cohen's kappa for classes, R2 of the neighbours' mean for numbers. For text only rows of
        the same value are neighbours, and at least half of the rows must have one.
    """
    if text:
        codes = pd.factorize(column)[0].astype(float)
    else:
        numbers = column if pd.api.types.is_datetime64_any_dtype(column) else column.astype(float)
        codes = numbers.rank(method="dense").fillna(0).to_numpy()
    order = np.argsort(codes, kind="stable")
    codes, actual = codes[order], actual[order]
    near = np.flatnonzero(codes[1:] == codes[:-1]) if text else np.arange(len(codes) - 1)
    if len(near) < max(FEWEST, len(codes) / 2):
        return 0.0
    one, other = actual[near], actual[near + 1]
    if not classes:
        spread = actual.var()
        # Of two equal neighbours the squared difference is twice the variance that is left.
        return float(1 - ((one - other) ** 2).mean() / 2 / spread) if spread > 0 else 0.0
    shares = np.bincount(actual) / len(actual)
    chance = float((shares**2).sum())
    return float(((one == other).mean() - chance) / (1 - chance)) if chance < 1 else 0.0


def leading_zeros(counts: Mapping[str, int], settings: Params) -> list[Finding]:
    """Describe columns of numbers that were written with leading zeros.

    Args:
        counts: for each column, how many of them.
        settings: the section validate.
    """
    what = "written with leading zeros, read as numbers"
    remedy = "if they are codes, set its dtype in data/schema.yaml to str"
    return [
        Finding(name, what, rows, "", remedy)
        for name, rows in counts.items()
        if name not in settings.validate.accept
    ]


def told(findings: Sequence[Finding], settings: Params) -> str:
    """Lay findings out as text: two lines for each, and at the end how to be rid of them."""
    lines = []
    for one in findings:
        rows = f": {counted(one.rows, 'row')}" if one.rows else ""
        values = f" with {one.values}" if one.values else ""
        where = f"column '{plain(one.column)}': " if one.column else ""
        lines += [f"warning: {where}{one.what}{rows}{values}", f"  {one.remedy}"]
    if columns := [one.column for one in findings if one.column]:
        names = dict.fromkeys([*settings.validate.accept, *columns])
        line = f"accept: {json.dumps(list(names), ensure_ascii=False)}"
        lines.append(f"If all of that is right: `{line}` under validate in params.yaml")
    return "\n".join(lines)
