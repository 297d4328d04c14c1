"""Where the pipeline's files are, from the project's root."""

from pathlib import Path

PARAMS = Path("params.yaml")
DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")

SCHEMA = Path("data/schema.yaml")
TRAIN = Path("data/prepared/train.parquet")
TEST = Path("data/prepared/test.parquet")

MODEL = Path("models/model.joblib")
SIDECAR = Path("models/model.json")
CARD = Path("models/README.md")
PREDICTIONS = Path("models/predictions.parquet")

VALIDATION = Path("metrics/validation.json")
TRAINING = Path("metrics/train")
CANDIDATES = TRAINING / "candidates.csv"
EVALUATION = Path("metrics/evaluate")
METRICS = EVALUATION / "metrics.json"
INTERVALS = EVALUATION / "intervals.json"
BASELINE = EVALUATION / "baseline.json"
PROVENANCE = EVALUATION / "provenance.json"
SLICES = EVALUATION / "slices.json"
VERDICTS = Path("metrics/gate.json")

REPORT = Path("report")  # what a run says of itself; Git ignores it
