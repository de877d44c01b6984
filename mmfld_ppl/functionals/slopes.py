"""Whether a first variation is the derivative of its functional."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

#: Largest relative change of a weight.
STEP = 0.2
#: Coordinates along which weights are changed; of more, as many random combinations.
COORDINATES = 6


def slope_ratio(
    value: Callable[[Float[np.ndarray, " n"]], float],
    variation: Float[np.ndarray, " n"],
    points: Float[np.ndarray, "n d"] | None = None,
    *,
    step: float = STEP,
) -> tuple[float, float]:
    r"""Central difference of F along a change of weights, over what the first variation predicts.

        [F(mu_t) - F(mu_-t)] / (2 t <dF, mu_1 - mu>),   mu_t = mu (1 + t g),

    g = tanh of the standardised first variation, centred: the way in which it predicts the most.
    1 for a right first variation, up to terms of order t^2, which two values of t cancel; 2 where
    dF is half of what it should be, and so on. A term that dF lacks need not show in its own way:
    g is also tanh of each standardised coordinate of the points, and a product of two of these.
    What the difference misses there is counted in units of the largest prediction, since one that
    is next to nothing would make any ratio of rounding errors; the worst way is reported. A
    constant first variation of a constant F predicts nothing: NaN.

    value: F of the atoms with these weights, which sum to one. variation: dF/dmu at each atom, in
      the precision that F is computed in. points: coordinates of the atoms; None for the first way
      alone.
    Returns the ratio and the size of its rounding error, from that precision."""
    precision = float(np.finfo(np.asarray(variation).dtype).eps)
    v = np.asarray(variation, float)
    n = len(v)

    def difference(g: np.ndarray, t: float) -> float:
        return (float(value((1 + t * g) / n)) - float(value((1 - t * g) / n))) / (2 * t)

    ways = _ways(v, points)
    predicted = np.array([np.mean(v * g) for g in ways])
    found = np.array([(4 * difference(g, step / 2) - difference(g, step)) / 3 for g in ways])
    missed = np.where(predicted < 0, predicted - found, found - predicted)
    scale = np.max(np.abs(predicted))
    rounding = 4 * precision * abs(float(value(np.full(n, 1 / n)))) / step
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where all that is predicted is rounding, but not all that is found, F is not flat.
        relative = rounding / np.fmax(scale, np.max(np.abs(found)))
        return float(1 + missed[np.argmax(np.abs(missed))] / scale), float(relative)


def _ways(v: np.ndarray, points: Float[np.ndarray, "n d"] | None) -> list[np.ndarray]:
    """Changes of the weights that leave their sum."""
    ways = [_bounded(v)]
    if points is not None:
        x = np.asarray(points, float)
        with np.errstate(invalid="ignore"):
            x = (x - x.mean(axis=0)) / x.std(axis=0)
        x = x[:, np.all(np.isfinite(x), axis=0)]
        if x.shape[1] > COORDINATES:
            x = x @ np.random.default_rng(0).standard_normal((x.shape[1], COORDINATES))
        along = [_bounded(column) for column in x.T]
        # A term in the correlation of two is flat along each.
        ways += along + ([along[0] * along[-1]] if along else [])
    return [g - g.mean() for g in ways]


def _bounded(x: np.ndarray) -> np.ndarray:
    return np.tanh((x - x.mean()) / (x.std() or 1.0))
