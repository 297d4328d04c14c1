"""The bounds of a metric in words."""

from collections.abc import Mapping
from typing import Any


def bounds_in_words(bounds: Mapping[str, Any], at_least: str = "≥", at_most: str = "≤") -> str:
    """Say what a metric must reach; empty where it has no bound.

    Args:
        bounds: under `min`, `max`, `slice_min` and `slice_max` the limits; None for no limit.
        at_least: the sign before a limit from below.
        at_most: the sign before one from above.
    """
    limits = {
        "min": at_least,
        "max": at_most,
        "slice_min": f"slices {at_least}",
        "slice_max": f"slices {at_most}",
    }
    found = {sign: bounds.get(key) for key, sign in limits.items()}
    return ", ".join(f"{sign} {limit:g}" for sign, limit in found.items() if limit is not None)
