"""Resample a CSV table with noise: `python rows.py SOURCE ROWS DESTINATION`."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.csv import CSVWriter
from tqdm import tqdm

CHUNK = 100_000

source, rows, destination = sys.argv[1], int(sys.argv[2]), sys.argv[3]
table = pd.read_csv(source)
numbers = table.select_dtypes("float")
least, most = numbers.min(), numbers.max()
# About as many digits as the source has: five of the largest number.
digits = (4 - np.floor(np.log10(numbers.abs().max()))).astype(int).to_dict()
random = np.random.default_rng(0)
with CSVWriter(destination, pa.Schema.from_pandas(table, preserve_index=False)) as writer:
    for start in tqdm(range(0, rows, CHUNK), desc=f"{rows:,} rows: make them", unit="chunk"):
        drawn = table.sample(min(CHUNK, rows - start), replace=True, random_state=random)
        noisy = drawn[numbers.columns] * random.normal(1, 0.02, (len(drawn), numbers.shape[1]))
        # Within the ranges of data/schema.yaml.
        drawn[numbers.columns] = noisy.round(digits).clip(least, most, axis="columns")
        writer.write(pa.Table.from_pandas(drawn, preserve_index=False))
