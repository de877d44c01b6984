"""The bias that an unadjusted step leaves in a result."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .estimate import Estimate


class StepBias(NamedTuple):
    """bias: of the run with the longer step. limit: the value as the step tends to 0. z: bias in
    standard errors; |z| < 2 says only that the runs are too short to see it."""

    bias: Estimate
    limit: Estimate
    z: float


def step_bias(whole: Estimate, half: Estimate, *, order: float = 1.0) -> StepBias:
    """From two runs, with steps h and h/2, by Richardson's extrapolation.

        bias(h) = (value_h - value_{h/2}) / (1 - 2^-order)

    whole, half: a result, such as F or a mean, with step h and h/2, as (value, standard error).
    order: of the bias in h; 1 for unadjusted Langevin dynamics (theorem 4.2 of Gu and Kim 2025).

        >>> print(f"{step_bias((1.1, 0.001), (1.05, 0.001)).limit.value:.2f}")
        1.00
    """
    share = 1 - 2.0**-order
    (a, e), (b, f) = whole, half
    bias = Estimate((a - b) / share, float(np.hypot(e, f)) / share)
    weight = 1 / share - 1
    limit = Estimate(b - weight * (a - b), float(np.hypot((1 + weight) * f, weight * e)))
    return StepBias(bias, limit, bias.value / bias.error if bias.error > 0 else np.inf)
