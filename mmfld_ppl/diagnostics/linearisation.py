"""Whether a first variation is the derivative of its functional."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

#: Largest relative change of a weight.
STEP = 0.2


def slope_ratio(
    value: Callable[[Float[np.ndarray, " n"]], float],
    variation: Float[np.ndarray, " n"],
    *,
    step: float = STEP,
) -> tuple[float, float]:
    r"""Central difference of F along a change of weights, over what the first variation predicts.

        [F(mu_t) - F(mu_-t)] / (2 t <dF, mu_1 - mu>),   mu_t = mu (1 + t g),

    g = tanh of the standardised first variation, centred: the way in which it predicts the most.
    1 for a right first variation, up to terms of order t^2, which two values of t cancel; 2 where
    dF is half of what it should be, and so on. A constant first variation predicts nothing: NaN.

    value: F of the atoms with these weights, which sum to one. variation: dF/dmu at each atom, in
      the precision that F is computed in.
    Returns the ratio and the size of its rounding error, from that precision."""
    precision = float(np.finfo(np.asarray(variation).dtype).eps)
    v = np.asarray(variation, float)
    n = len(v)
    spread = v.std()
    if not spread > 0:
        return np.nan, np.nan
    g = np.tanh((v - v.mean()) / spread)
    g = g - g.mean()
    predicted = np.mean(v * g)

    def difference(t: float) -> float:
        return (float(value((1 + t * g) / n)) - float(value((1 - t * g) / n))) / (2 * t)

    short, long = difference(step / 2), difference(step)
    scale = abs(float(value(np.full(n, 1 / n))))
    rounding = 4 * precision * scale / (step * abs(predicted))
    return (4 * short - long) / 3 / predicted, rounding
