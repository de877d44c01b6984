"""The probability simplex: a weighted log barrier, and steps in the logarithms of the shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from ..linalg import sum_entries
from .base import Event, MirrorMap, Moments, Observation, Scalar, interpolate_scale
from .metric import DiagonalMetric, Metric, RestrictedMetric

#: Of Newton's method, where a handful is typical.
MOST_STEPS = 64


class Simplex(MirrorMap):
    r"""phi(x) = -sum_i w_i log x_i on {x > 0, sum_i x_i = 1}.

    y = -w / x; x_i = w_i / (nu - y_i) with nu the root of sum_i x_i = 1; G = diag(w / x^2).
    Self-concordant with M = 1 / sqrt(min_i w_i), as a sum of weighted logarithms (Nesterov and
    Nemirovskii 1994, proposition 2.1.1); attained as the x_i of the least weight tends to 0.

    Warm-up adapts w_i to `Moments.ratio`, E[x_i^2] / Var(x_i) where only positions are known. It is
    at least 1, so an adapted map has M <= 1."""

    weights: Float[Array, " d"]

    @property
    def self_concordance(self) -> Scalar:
        return 1 / jnp.sqrt(jnp.min(self.weights))

    def potential(self, x: Event) -> Scalar:
        return -sum_entries(self.weights * jnp.log(x))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(x)

    def grad(self, x: Event) -> Event:
        return -self.weights / x

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return barrier_weights(y, self.weights)

    def metric(self, x: Event) -> Metric:
        ambient = DiagonalMetric(jnp.sqrt(self.weights) / x)
        return RestrictedMetric(ambient, jnp.ones_like(x), jnp.square(x) / self.weights)

    def log_det_grad(self, x: Event) -> Event:
        # By hand: the derivative of 1/x overflows in single precision from x = 1e-19 on.
        lifted = x / self.weights
        return 2 * (lifted / sum_entries(lifted * x) - 1 / x)

    def stepping(self) -> MirrorMap:
        return LogSimplex(self.weights)

    def observe(self, x: Event) -> Observation:
        # Of -sum log x_i in the ambient space: the present weights must not enter, since they are
        # what adaptation replaces.
        return Observation(x, jnp.square(x))

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return dataclasses.replace(self, weights=self.weights.astype(dtype))

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        weights = interpolate_scale(self.weights, moments.ratio(), trust)
        return Simplex(jnp.maximum(weights, moments.barrier_floor()))

    @classmethod
    def of_size(cls, size: int, dtype: DTypeLike) -> Simplex:
        """Unit weights."""
        return cls(jnp.ones(size, dtype))


class LogSimplex(Simplex):
    r"""`Simplex`, whose metric diag(w / x^2) is flat in log x, with steps that go straight there:

        x'_i = x_i exp(x_i (p_i + nu) / w_i),  w_i log(x'_i / x_i) / x'_i = p'_i  modulo 1,

    with the nu of sum_i x'_i = 1. Half the squared distance of the orthant generates it,
    sum_i w_i log(x'_i / x_i)^2 / 2, as it does a constrained leapfrog step (RATTLE). A weight may
    so be as small as the law of a share is wide in its logarithm.

    Warm-up adapts w_i to `Moments.ratio` in log x_i, whose score is that of the coordinates of
    softmax, but not below the mean square of that score, at which a unit step changes the log
    density by one."""

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        growth = log_growth(x, momentum, self.weights)
        moved = x * jnp.exp(growth)
        # What rounding leaves of the sum is taken out of both, which keeps them exact inverses.
        excess = sum_entries(moved)
        moved = moved / excess
        return moved, self.weights * (growth - jnp.log(excess)) / moved

    def observe(self, x: Event) -> Observation:
        return Observation(jnp.log(x), jnp.ones_like(x))

    def pull_slope(self, x: Event, slope: Event) -> Event:
        scores = x * slope - 1
        return scores - x * sum_entries(scores)

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        weights = interpolate_scale(self.weights, moments.ratio(), trust)
        if moments.variance is None or moments.score_size is None:
            # A slope at one point may be small by chance.
            return LogSimplex(jnp.maximum(weights, 1))
        floor = jnp.minimum(moments.score_size, jnp.square(moments.score_size))
        return LogSimplex(jnp.maximum(weights, jnp.where(jnp.isfinite(floor), floor, 0)))


class _Iterate(NamedTuple):
    shift: Float[Array, ""]
    excess: Float[Array, ""]
    steps: Int[Array, ""]


def barrier_weights(y: Float[Array, " d"], weights: Float[Array, " d"]) -> Float[Array, " d"]:
    """x_i = w_i / (nu - y_i) with the nu > max y that makes sum_i x_i = 1.

    Newton's method on 1 / f(nu) = 1 for f(nu) = sum_i w_i / (nu - y_i). 1/f is concave and
    increasing, and nearly linear, so that the iterates rise to the root from any start below it,
    such as max_i (y_i + w_i). Five steps are typical, and thirteen the most that was found for
    weights within 1e6 of each other. Works with nu - max y, which keeps x accurate to rounding
    relative to each entry. NaN where y is not finite."""
    below = jnp.max(y) - y

    def improve(shift: Scalar) -> tuple[Scalar, Scalar]:
        x = weights / (shift + below)
        f = sum_entries(x)
        return shift + f * (f - 1) / sum_entries(x * (x / weights)), f - 1

    x = weights / (_root(improve, jnp.max(weights - below)) + below)
    # The error is now of the order of rounding; taking it out of the sum leaves none to drift.
    return x / sum_entries(x)


def log_growth(
    x: Float[Array, " d"], momentum: Float[Array, " d"], weights: Float[Array, " d"]
) -> Float[Array, " d"]:
    """g_i = x_i (p_i + nu) / w_i with the nu that makes sum_i x_i exp(g_i) = 1.

    The logarithm of that sum is increasing and convex in nu: Newton's method from the nu of
    sum_i x_i g_i = 0, which by Jensen's inequality is too large, falls to the root. NaN where it
    does not get there."""
    stretch = x / weights

    def improve(nu: Scalar) -> tuple[Scalar, Scalar]:
        growth = stretch * (momentum + nu)
        most = jnp.max(growth)
        moved = x * jnp.exp(growth - most)
        total = sum_entries(moved)
        excess = jnp.log(total) + most
        return nu - excess * total / sum_entries(moved * stretch), jnp.abs(excess)

    start = -sum_entries(x * stretch * momentum) / sum_entries(x * stretch)
    return stretch * (momentum + _root(improve, start))


def _root(improve: Callable[[Scalar], tuple[Scalar, Scalar]], start: Scalar) -> Scalar:
    """Where Newton's steps, to the next shift and by how much this one fails, come to; NaN where
    they come to nothing."""
    tolerance = jnp.finfo(start.dtype).eps ** 0.5

    def unfinished(it: _Iterate) -> Bool[Array, ""]:
        return (it.excess > tolerance) & (it.steps < MOST_STEPS)

    def iterate(it: _Iterate) -> _Iterate:
        return _Iterate(*improve(it.shift), it.steps + 1)

    begin = _Iterate(start, jnp.full_like(start, jnp.inf), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, iterate, begin)
    return jnp.where(end.excess <= tolerance, end.shift, jnp.nan)
