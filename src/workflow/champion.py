"""The metrics check of the workflow: the gate's bounds, and the metrics of the champion.

`python -m src.workflow.champion REVISION` judges the metrics as they are now against the last model
up to that revision that passed. Exit status: as the gate's.
"""

import argparse
import os

from src.gate import raise_accuracy
from src.shared import champion, errors, params, revisions, verdicts
from src.shared.paths import REPORT

COMPARED = REPORT / "gate.json"  # this run's alone: what DVC and Git keep holds the bounds


def find_base() -> str:
    """Return the champion's revision: BASE of the workflow, or the main branch on a desk."""
    return os.environ["BASE"] if "BASE" in os.environ else revisions.find_main()


def main() -> int:
    """Judge metrics/evaluate/metrics.json, write report/gate.json, print the table."""
    parser = argparse.ArgumentParser(description="Stop a model that falls behind the champion.")
    parser.add_argument("revision", help="a commit or branch; empty if there is none")
    rival = champion.find(parser.parse_args().revision)
    if rival:
        print(f"the champion's metrics are those of {rival.commit}")
    else:
        print("no champion: this is the first model")
    bounds = raise_accuracy(params.load().gate, os.environ.get("MIN_ACCURACY"))
    judged = verdicts.judge(verdicts.read_metrics(), bounds, rival.metrics if rival else None)
    return verdicts.announce(judged, COMPARED)


if __name__ == "__main__":
    errors.run(main, status=2)
