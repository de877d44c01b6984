"""Which draws to look at where all would be too many."""

from __future__ import annotations

import numpy as np


def evenly(length: int, most: int) -> np.ndarray:
    """At most `most` indices below `length`, evenly spaced: the first and the last among them, and
    the last alone where one is asked for."""
    count = max(1, min(length, most))
    return np.unique(np.linspace(length - 1, 0, count).round().astype(int))


def early_and_late(length: int, most: int) -> np.ndarray:
    """At most `most` indices below `length`, half of them evenly spaced and half by a constant
    factor, so that the first ones are dense; the first and the last among them."""
    late = evenly(length, most - most // 2)
    early = np.geomspace(1, length, most // 2).round().astype(int) - 1
    return np.unique(np.concatenate([early, late]))
