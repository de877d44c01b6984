"""Half-lines u > 0, u = x - a or b - x: the log barrier, with a quadratic tail or without."""

from __future__ import annotations

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PyTree

from ..linalg import sum_entries
from .base import (
    Event,
    MirrorMap,
    Moments,
    Observation,
    Scalar,
    Weighted,
    interpolate_scale,
)
from .half_line_arc import UNTAILED, SoftplusHalfLine, tail_trust
from .metric import DiagonalMetric, Metric


class HalfLine(MirrorMap):
    r"""phi(x) = -log u + u^2 / (2 s^2),  u = sign (x - bound) > 0, for a scalar x.

    sign = 1 is (bound, inf), sign = -1 is (-inf, bound). The quadratic makes the dual space the
    whole line, so that every dual point has a primal one. Steps are relative to u below the
    scale s, and of size s above it. Self-concordant with M = 1, attained as u tends to 0: the
    quadratic only adds to the metric. Warm-up adapts s to the root mean square of u."""

    self_concordance: ClassVar[float] = 1.0

    bound: Float[Array, ""]
    sign: Float[Array, ""]
    scale: Float[Array, ""]

    def _distance(self, x: Event) -> Scalar:
        return self.sign * (x - self.bound)

    def potential(self, x: Event) -> Scalar:
        u = self._distance(x)
        return -jnp.log(u) + 0.5 * jnp.square(u / self.scale)

    def slack(self, x: Event) -> Scalar:
        return self._distance(x)

    def grad(self, x: Event) -> Event:
        u = self._distance(x)
        return self.sign * (u / jnp.square(self.scale) - 1 / u)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self.bound + self.sign * barrier_root(self.sign * y, self.scale)

    def metric(self, x: Event) -> Metric:
        u = self._distance(x)
        return DiagonalMetric(jnp.hypot(1 / u, 1 / self.scale))

    def stepping(self) -> MirrorMap:
        return SoftplusHalfLine.of(self.bound, self.sign, self.scale)

    def observe(self, x: Event) -> Observation:
        # At u = s the inverse Hessian is u^2/2; the present s must not enter, since it is what
        # adaptation replaces.
        u = self._distance(x)
        return Observation(u, 0.5 * jnp.square(u))

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        # Without a tail, in effect: steps are then relative to u, and find the scale fast.
        untailed = HalfLine(self.bound, self.sign, jnp.full_like(self.scale, UNTAILED, dtype))
        return Weighted(untailed, jnp.ones((), dtype))

    def pull_slope(self, x: Event, slope: Event) -> Event:
        return self.sign * slope

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        if moments.variance is None:
            return self
        rms = jnp.sqrt(2 * moments.local_variance)
        if moments.score_size is not None:
            # Of any law on a half-line E[u V'(u)] = 1, by parts, so the mean square of its score is
            # 1/2 or more. Less says that the points have not come to where the law falls off.
            rms = rms / jnp.minimum(1, math.sqrt(2) * moments.score_size)
        scale = interpolate_scale(self.scale, rms, tail_trust(trust))
        return HalfLine(self.bound, self.sign, scale)

    @classmethod
    def above(cls, bound: Array | float, dtype: DTypeLike) -> HalfLine:
        """(bound, inf) with unit scale."""
        one = jnp.ones((), dtype)
        return cls(jnp.asarray(bound, dtype), one, one)

    @classmethod
    def below(cls, bound: Array | float, dtype: DTypeLike) -> HalfLine:
        """(-inf, bound) with unit scale."""
        one = jnp.ones((), dtype)
        return cls(jnp.asarray(bound, dtype), -one, one)


def barrier_root(v: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """The u > 0 with u / s^2 - 1/u = v, to full relative accuracy at either end."""
    # u^2 / s^2 - v u - 1 = 0. Both branches are free of cancellation.
    root = jnp.hypot(v, 2 / scale)
    far = 0.5 * jnp.square(scale) * (jnp.abs(v) + root)
    return jnp.where(v < 0, 2 / (root + jnp.abs(v)), far)


def barrier_growth(
    t: Float[Array, "..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The r > 0 with r - 1/r = 2t, and r - 1, both to full relative accuracy."""
    rise = t + jnp.square(t) / (1 + jnp.hypot(jnp.ones_like(t), t))
    return barrier_root(2 * t, jnp.ones_like(t)), rise


class LogBarrier(MirrorMap):
    r"""phi(x) = -sum_i log(x_i - bound), x > bound, for events of any shape.

    y = -1/u, u = x - bound. Its dual space is y < 0 only: a step beyond has no primal point and
    the conjugate gives NaN, so `HalfLine` is the default. Here because its pure diffusion is
    geometric Brownian motion: Ito's formula for u = -1/y and dY = sqrt(2) dB / u gives
    d log u = dt + sqrt(2) dB, hence u' = u exp(t + sqrt(2t) xi). Self-concordant with M = 1,
    attained everywhere."""

    self_concordance: ClassVar[float] = 1.0
    has_exact_diffusion: ClassVar[bool] = True

    bound: Float[Array, ""] | float = 0.0

    def potential(self, x: Event) -> Scalar:
        return -sum_entries(jnp.log(x - self.bound))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(x - self.bound)

    def grad(self, x: Event) -> Event:
        return -1 / (x - self.bound)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self.bound + jnp.where(y < 0, -1 / y, jnp.nan)

    def metric(self, x: Event) -> Metric:
        return DiagonalMetric(1 / (x - self.bound))

    def observe(self, x: Event) -> Observation:
        return Observation(x, jnp.square(x - self.bound))

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        return self.bound + (x - self.bound) * jnp.exp(time + jnp.sqrt(2 * time) * noise)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return jnp.zeros_like(x)
