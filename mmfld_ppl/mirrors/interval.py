"""Bounded intervals: one log barrier at each end, and steps in the logit."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from .arc_length import ArcLength
from .base import Event, MirrorMap, Observation, Scalar
from .metric import DiagonalMetric, Metric


class Interval(MirrorMap):
    r"""phi(x) = -log u - log v,  u = x - lower, v = upper - x, for a scalar x.

    y = 1/v - 1/u; its inverse is a quadratic equation, solved here for the distance to the nearer
    end. Self-concordant with M = 1, as a sum of two logarithms (Nesterov and Nemirovskii 1994,
    proposition 2.1.1); attained at either end."""

    self_concordance: ClassVar[float] = 1.0

    lower: Float[Array, ""]
    upper: Float[Array, ""]

    def potential(self, x: Event) -> Scalar:
        return -jnp.log(x - self.lower) - jnp.log(self.upper - x)

    def slack(self, x: Event) -> Scalar:
        return jnp.minimum(x - self.lower, self.upper - x)

    def grad(self, x: Event) -> Event:
        return 1 / (self.upper - x) - 1 / (x - self.lower)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        # With c half the width and r = sqrt(1 + c^2 y^2), the distance to the nearer end is
        # c (1 + r - c|y|) / (1 + r), and r - c|y| = 1 / (r + c|y|).
        c = 0.5 * (self.upper - self.lower)
        q = c * jnp.abs(y)
        r = jnp.hypot(jnp.ones_like(q), q)
        distance = c * (1 + 1 / (r + q)) / (1 + r)
        return jnp.where(y < 0, self.lower + distance, self.upper - distance)

    def metric(self, x: Event) -> Metric:
        return DiagonalMetric(self._root(x))

    def stepping(self) -> MirrorMap:
        return LogitInterval(jnp.ones_like(self.lower), self.lower, self.upper)

    def _root(self, x: Event) -> Scalar:
        """Square root of the Hessian."""
        return jnp.hypot(1 / (x - self.lower), 1 / (self.upper - x))

    def pull_slope(self, x: Event, slope: Event) -> Event:
        return slope

    def observe(self, x: Event) -> Observation:
        return Observation(x, 1 / jnp.square(self._root(x)))

    @classmethod
    def between(cls, lower: Array | float, upper: Array | float, dtype: DTypeLike) -> Interval:
        """(lower, upper)."""
        return cls(jnp.asarray(lower, dtype), jnp.asarray(upper, dtype))


class LogitInterval(ArcLength):
    r"""t = log u - log v,  u = x - lower, v = upper - x.

    phi = w (-log u - log v + 2 (u log u + v log v) / (upper - lower)): the barrier of `Interval`
    and an entropy, which is bounded. Self-concordant with M = 1 / sqrt(w)."""

    weight: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]

    @property
    def self_concordance(self) -> Scalar:
        return 1 / jnp.sqrt(self.weight)

    def potential(self, x: Event) -> Scalar:
        u, v = x - self.lower, self.upper - x
        entropy = (u * jnp.log(u) + v * jnp.log(v)) / (self.upper - self.lower)
        return self.weight * (2 * entropy - jnp.log(u) - jnp.log(v))

    def slack(self, x: Event) -> Scalar:
        return jnp.minimum(x - self.lower, self.upper - x)

    def arc(self, x: Event) -> Scalar:
        return jnp.log(x - self.lower) - jnp.log(self.upper - x)

    def point(self, t: Scalar) -> Event:
        # From the nearer end, which keeps small distances.
        distance = (self.upper - self.lower) * jax.nn.sigmoid(-jnp.abs(t))
        return jnp.where(t < 0, self.lower + distance, self.upper - distance)

    def speed(self, x: Event) -> Scalar:
        return 1 / (x - self.lower) + 1 / (self.upper - x)

    def log_det_grad(self, x: Event) -> Event:
        return 2 / (self.upper - x) - 2 / (x - self.lower)
