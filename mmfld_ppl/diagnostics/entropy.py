"""Differential entropy from nearest neighbours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln

from .estimate import Estimate, clustered_mean

#: Neighbours that a local density is read from.
NEIGHBOURS = 5
#: Coordinates whose spread is below this fraction of the widest have none.
SINGULAR = 1e-9


def surprise(
    points: Float[np.ndarray, "n d"],
    *,
    neighbours: int = NEIGHBOURS,
    labels: Int[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"]:
    r"""An estimate of -log p at n points of the density p, from distances to neighbours.

        d log r_i + log V_d + psi(m_i + 1) - psi(k),

    r_i the distance from point i to its k-th neighbour among m_i others, V_d the volume of the
    unit ball, in coordinates with covariance I (Kozachenko and Leonenko 1987; Berrett, Samworth
    and Yuan 2019). Exact on average where p is constant over the neighbourhood; else of order
    (k/n)^(2/d) p''/p, so that d > 10 or so needs more points than a run has.

    neighbours: k. labels: points of the same label are no neighbours of each other: one particle
      at several draws, which stays near itself. Default: every point is another.
    Minus infinity where k neighbours coincide with a point; everywhere where all points lie in a
    subspace, or one of them is not finite, as free coordinates on the boundary of a support are.
    Raises ValueError with fewer than k + 2 labels."""
    points = np.asarray(points, float)
    n, d = points.shape
    labels = np.arange(n) if labels is None else np.asarray(labels)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < neighbours + 2:
        raise ValueError(f"entropies need {neighbours + 2} distinct points, got {len(counts)}")
    if not np.all(np.isfinite(points)):
        return np.full(n, -np.inf)
    centred = points - points.mean(axis=0)
    spread = centred.std(axis=0)
    if np.any(spread == 0):
        return np.full(n, -np.inf)
    values, vectors = np.linalg.eigh(np.cov(centred / spread, rowvar=False).reshape(d, d))
    if values[0] <= SINGULAR * values[-1]:
        return np.full(n, -np.inf)
    white = centred / spread @ vectors / np.sqrt(values)
    nearest = neighbours + counts.max()
    distances, found = cKDTree(white).query(white, min(nearest, n))
    others = index[found] != index[:, None]
    # The place of the k-th neighbour of another label in each row.
    at = np.argmax(np.cumsum(others, axis=1) >= neighbours, axis=1)
    radius = distances[np.arange(n), at]
    with np.errstate(divide="ignore"):
        log_radius = np.log(radius)
    log_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    log_unit = np.sum(np.log(spread)) + 0.5 * np.sum(np.log(values))
    return (
        d * log_radius + log_ball + log_unit + digamma(n - counts[index] + 1) - digamma(neighbours)
    )


def entropy(
    points: Float[np.ndarray, "n d"],
    *,
    neighbours: int = NEIGHBOURS,
    labels: Int[np.ndarray, " n"] | None = None,
) -> Estimate:
    """-E log p of the density p that n points are draws of, in nats: the mean of `surprise`.

    Gives value and standard error. The error is the spread of -log p and of the estimate at one
    point, over the square root of n, and more where points of the same label depend on each other;
    biases are not in it. Minus infinity where `surprise` is.

    points: shape (n, d). neighbours: k. labels: points of the same label are no neighbours.

    Raises ValueError with fewer than k + 2 labels.

        >>> import numpy as np
        >>> normal = np.random.default_rng(0).standard_normal((4000, 1))
        >>> value, error = entropy(normal)
        >>> print(f"{value:.2f} +- {error:.2f}, exact {0.5 * np.log(2 * np.pi * np.e):.2f}")
        1.42 +- 0.01, exact 1.42
    """
    return clustered_mean(surprise(points, neighbours=neighbours, labels=labels), labels)
