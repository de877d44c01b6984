"""A number with its standard error, and how errors come out of dependent terms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Estimate(NamedTuple):
    """value: the estimate. error: its standard error; biases are not in it."""

    value: float
    error: float


def clustered_mean(
    terms: Float[np.ndarray, " n"], *labels: Int[np.ndarray, " n"] | None
) -> Estimate:
    """The mean of terms that depend on each other where they share a label.

    The variance is that of independent terms, plus what each labelling adds to it by the sums over
    its clusters (Cameron, Gelbach and Miller 2011, without the intersections, which are single
    terms here). labels: one array a labelling, such as the particle and the draw of each term.
    Infinite terms make the mean infinite and its error NaN."""
    terms = np.asarray(terms, float)
    n = len(terms)
    with np.errstate(invalid="ignore"):
        mean = terms.mean()
        residual = terms - mean
        independent = np.sum(residual**2) / max(n - 1, 1) / n
        variance = independent
        for label in labels:
            if label is None:
                continue
            _, index = np.unique(label, return_inverse=True)
            count = index.max() + 1
            if count < 2:
                continue
            sums = np.bincount(index, weights=residual, minlength=count)
            variance += max(np.sum(sums**2) / n**2 * count / (count - 1) - independent, 0.0)
        return Estimate(float(mean), float(np.sqrt(variance)))
