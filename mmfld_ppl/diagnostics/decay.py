"""How fast a run approached its limit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from .estimate import Estimate

#: Share of a series, at its end, that the noise is read from.
TAIL = 0.25
#: A start less than this many noise levels above the limit has no visible decay.
VISIBLE = 4.0


class Decay(NamedTuple):
    """rate: r of limit + excess exp(-r t), per unit of time. half_time: log 2 / r. limit: the
    level that it approaches. visible: whether the series starts visibly above its limit; without
    that the rate is NaN, as in a run that was warmed up."""

    rate: Estimate
    half_time: float
    limit: float
    visible: bool


def fit_decay(times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"]) -> Decay:
    """Least squares of  value(t) = limit + excess exp(-rate t).

    In continuous time L falls as exp(-2 C tau t), C the constant of the mirror logarithmic Sobolev
    inequality (theorem 3.2 of Gu and Kim 2025). The fit is to what can be seen above the noise.

    times: numbers of steps, or any unit. values: F or L at each, from the start of a run
    (`mcmc.warmup(..., collect_warmup=True)`). Raises ValueError with fewer than 8 values."""
    t, y = np.asarray(times, float), np.asarray(values, float)
    if len(y) < 8 or t.shape != y.shape:
        raise ValueError(f"a decay needs 8 values or more with their times, got {y.shape}")
    tail = y[-max(2, int(TAIL * len(y))) :]
    limit, noise = float(tail.mean()), float(tail.std(ddof=1))
    span = t[-1] - t[0]
    excess = y[: max(1, len(y) // 50)].mean() - limit
    if not excess > VISIBLE * noise:
        return Decay(Estimate(np.nan, np.nan), np.nan, limit, False)
    below = np.flatnonzero(y - limit < 0.37 * excess)
    guess = 1 / max(t[below[0]] - t[0] if len(below) else span, span / len(y))

    def residual(parameters: np.ndarray) -> np.ndarray:
        level, log_excess, log_rate = parameters
        return level + np.exp(log_excess - np.exp(log_rate) * (t - t[0])) - y

    fit = least_squares(residual, [limit, np.log(excess), np.log(guess)])
    sigma = np.sqrt(2 * fit.cost / max(len(y) - 3, 1))
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * sigma**2
    rate = float(np.exp(fit.x[2]))
    error = rate * float(np.sqrt(covariance[2, 2]))
    return Decay(Estimate(rate, error), float(np.log(2) / rate), float(fit.x[0]), True)
