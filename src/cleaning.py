"""Cleaning: what is repaired in the raw table before it is split.

Yours to change; docs/extend.md has a recipe. Only `prepare` and `make schema` clean: rows that
a model is given later, as by `make predict`, are taken as they are, in the form that the splits
have. So here belongs what is wrong with the file that you have: typing errors, rows that should not
be there, texts to be turned into numbers once. What each new row needs as well, before the model
can take it, belongs into `COMPUTED` of features.py, which is saved with the model.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without a function to call, prepare does without pandas
    import pandas as pd

# Functions that clean, in their order. Each takes and returns a DataFrame: a part of the raw table
# without the dropped columns, of some ten thousand rows, in which whole numbers are Int64, numbers
# float64, truth values boolean, dates datetime64 and texts str. The index numbers the rows of the
# whole table from 0. A function may change, add and leave out columns, and leave out rows; it must
# look at one row at a time, as nobody says where a part ends. data/schema.yaml describes what the
# functions return: run `make schema` after a change. Equal rows and keys are looked for after it.
CLEANING: list[Callable[["pd.DataFrame"], "pd.DataFrame"]] = []

# The type of each column that is another one in the file than in data/schema.yaml, such as
# {"price": "str"} where a function makes a number of "$1,234.00".
READ_AS: dict[str, str] = {}
