"""Stage 5: stop a model that misses a bound.

Exit status: 0 passed, 1 rejected, 2 could not decide. Run on its own, outside DVC, it judges the
metrics file as it is now, if it is of the model and the test split that are here; MIN_ACCURACY in
the environment raises the bound on accuracy.
"""

import math
import os

import msgspec

from src.shared import errors, params, provenance, slices, verdicts
from src.shared.errors import UserError
from src.shared.params import Bound
from src.shared.paths import SLICES, VERDICTS


def raise_accuracy(bounds: dict[str, Bound], text: str | None) -> dict[str, Bound]:
    """Raise the bound on accuracy to the value of MIN_ACCURACY; never lower it.

    Args:
        bounds: the bounds of params.yaml.
        text: the variable's value, None where it is not set.

    Raises:
        UserError: the value is not a number from 0 to 1.
    """
    if text is None:
        return bounds
    try:
        least = float(text)
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise UserError(f"MIN_ACCURACY is {text!r}; allowed: a number from 0 to 1, or unset it")
    bound = bounds.get("accuracy", Bound(min=0.0))
    raised = least if bound.min is None else max(least, bound.min)
    try:
        return bounds | {"accuracy": msgspec.structs.replace(bound, min=raised)}
    except ValueError:
        raise UserError(f"MIN_ACCURACY is {text!r}, above gate.accuracy.max {bound.max}") from None


def main() -> int:
    """Judge what evaluate measured, write metrics/gate.json, print the table."""
    settings = params.load()
    bounds = raise_accuracy(settings.gate, os.environ.get("MIN_ACCURACY"))
    metrics = verdicts.read_metrics()
    provenance.require(with_code=False)  # code that has changed DVC runs itself
    large, left_out = slices.to_judge(SLICES, bounds, settings.evaluate.slice_rows)
    judged = verdicts.judge(metrics, bounds, slices=large)
    return verdicts.announce(judged, VERDICTS, left_out=left_out)


if __name__ == "__main__":
    errors.run(main, status=2)
