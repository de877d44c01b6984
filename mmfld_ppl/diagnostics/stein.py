"""Mirrored kernel Stein discrepancies: is a sample from an unnormalised density?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist


class SteinTest(NamedTuple):
    """statistic: unbiased estimate of the squared discrepancy, zero on average under the null; may
    be negative. threshold: what 95% of samples from the density stay below. p_value: share of
    bootstrap values as large as the statistic."""

    statistic: float
    threshold: float
    p_value: float


def stein_kernel(
    points: Float[np.ndarray, "n d"],
    drift: Float[np.ndarray, "n d"],
    mobility: Float[np.ndarray, "n d d"],
    *,
    like: Float[np.ndarray, "m d"] | None = None,
) -> Float[np.ndarray, "n n"]:
    r"""The kernel h of a Stein discrepancy, E h(X, x') = 0 for X with density exp(-V).

    The operator is that of mirror Langevin dynamics, dX = b dt + sqrt(2 a) dB, acting on vector
    fields: T g = <b, g> + <a, grad g>, with  a = G^-1  and  b = -G^-1 grad(V + log det G), whose
    mean under exp(-V) is zero since a vanishes at the boundary (Shi, Liu and Mackey 2022, mirrored
    Stein operators). h applies it to both arguments of an inverse multiquadric,

        k(x, x') = (c^2 + |x - x'|^2)^(-1/2),

    which also sees mass that escapes (Gorham and Mackey 2017), with coordinates scaled to unit
    variance and c the median distance.

    points: flattened events. drift: b at each. mobility: a at each. In ambient coordinates, where
      a is zero across an affine set. like: points whose spread and median distance are taken, so
      that discrepancies of several samples compare. Default: the points. Cost: n^2 d^2."""
    x = np.asarray(points, float)
    like = x if like is None else np.asarray(like, float)
    scale = like.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    base = _median_square(like / scale)
    x, b = x / scale, np.asarray(drift, float) / scale
    a = np.asarray(mobility, float) / (scale[:, None] * scale)
    ax = np.einsum("iab,ib->ia", a, x)
    base = base + np.sum((x[:, None] - x[None]) ** 2, axis=-1)
    first, second, third = base**-0.5, base**-1.5, base**-2.5
    # a_i r and a_j r for r = x_i - x_j, pair by pair.
    crossed = np.einsum("iab,jb->ija", a, x)
    left = ax[:, None] - crossed
    right = np.swapaxes(crossed, 0, 1) - ax[None]
    h = b @ b.T * first
    h += np.einsum("ia,ija->ij", b, right) * second
    h -= np.einsum("ja,ija->ij", b, left) * second
    flat = a.reshape(len(x), -1)
    h += flat @ np.swapaxes(a, 1, 2).reshape(len(x), -1).T * second
    return h - 3 * np.einsum("ija,ija->ij", left, right) * third


def _median_square(x: Float[np.ndarray, "n d"]) -> float:
    """Of the distances between points; 1 where most of them coincide."""
    distances = pdist(x, "sqeuclidean")
    median = float(np.median(distances)) if len(distances) else 0.0
    return median if median > 0 else 1.0


def pair_mean(kernel: Float[np.ndarray, "n n"]) -> float:
    """The mean of h over pairs of different points: an unbiased estimate of the squared Stein
    discrepancy."""
    n = len(kernel)
    return float((np.sum(kernel) - np.trace(kernel)) / (n * (n - 1)))


def stein_test(
    kernel: Float[np.ndarray, "n n"], *, replicates: int = 1000, seed: int = 0
) -> SteinTest:
    """A test of the sample behind a Stein kernel, by the wild bootstrap.

    The statistic is the mean of h over pairs; its law under the null is that of the same mean with
    random signs (Chwialkowski, Strathmann and Gretton 2016; Liu, Lee and Jordan 2016). Assumes that
    the points are independent: one draw of each particle, of a linearisation at many more points
    than are tested, of particles that propagation of chaos keeps independent; draws of the same
    particle, or a linearisation at the tested points alone, give too many alarms."""
    h = np.array(kernel, float)
    n = len(h)
    statistic = pair_mean(h)
    np.fill_diagonal(h, 0.0)
    pairs = n * (n - 1)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (replicates, n))
    null = np.einsum("bi,bi->b", signs @ h, signs) / pairs
    p_value = (1 + np.sum(null >= statistic)) / (1 + replicates)
    return SteinTest(float(statistic), float(np.quantile(null, 0.95)), float(p_value))
