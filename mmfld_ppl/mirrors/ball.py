"""The Euclidean ball: a log barrier with a rank-one Hessian."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..linalg import root, sum_entries
from .base import Event, MirrorMap, Observation, Scalar
from .metric import Metric


class Ball(MirrorMap):
    r"""phi(x) = -log(1 - |x/r|^2) on {|x| < r}, for vectors.

    With z = x/r: r y = 2 z / (1 - |z|^2), z = r y / (1 + sqrt(1 + |r y|^2)), and
    r^2 G = 2 / (1 - |z|^2) (I + 2 z z^T / (1 - |z|^2)). Self-concordant with M = 1: minus the
    logarithm of a concave quadratic (Nesterov and Nemirovskii 1994, section 5.4); attained along
    a diameter at its ends."""

    self_concordance: ClassVar[float] = 1.0

    radius: Float[Array, ""]

    def potential(self, x: Event) -> Scalar:
        return -jnp.log1p(-sum_entries(jnp.square(x / self.radius)))

    def slack(self, x: Event) -> Scalar:
        return self.radius - root(sum_entries(jnp.square(x)))

    def grad(self, x: Event) -> Event:
        z = x / self.radius
        return 2 / self.radius * z / (1 - sum_entries(jnp.square(z)))

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        q = self.radius * y
        length = jnp.linalg.norm(q)
        return self.radius * q / (1 + jnp.hypot(jnp.ones_like(length), length))

    def metric(self, x: Event) -> Metric:
        z = x / self.radius
        return BallMetric(z, sum_entries(jnp.square(z)), self.radius)

    def observe(self, x: Event) -> Observation:
        z = x / self.radius
        s = sum_entries(jnp.square(z))
        variance = 0.5 * (1 - s) * (1 - 2 * jnp.square(z) / (1 + s))
        return Observation(x, jnp.square(self.radius) * variance)


class BallMetric(Metric):
    """2 / (r^2 (1 - s)) times the identity across z and (1 + s) / (1 - s) along it, s = |z|^2."""

    z: Float[Array, " d"]
    s: Float[Array, ""]
    radius: Float[Array, ""]

    def _split(self, v: Event) -> tuple[Event, Event]:
        """The parts of v along z and across it. Near the boundary the two are weighted so
        differently that taking a multiple of one from the other would lose digits."""
        # At the centre any direction will do, since both weights are then the same.
        s = jnp.where(self.s > 0, self.s, 1)
        along = self.z * (sum_entries(self.z * v) / s)
        return along, v - along

    def _across(self) -> Scalar:
        return 2 / ((1 - self.s) * jnp.square(self.radius))

    def _ratio(self) -> Scalar:
        return (1 + self.s) / (1 - self.s)

    def apply(self, u: Event) -> Event:
        along, across = self._split(u)
        return self._across() * (across + self._ratio() * along)

    def solve(self, v: Event) -> Event:
        along, across = self._split(v)
        return (across + along / self._ratio()) / self._across()

    def sqrt(self, noise: Event) -> Event:
        along, across = self._split(noise)
        return jnp.sqrt(self._across()) * (across + jnp.sqrt(self._ratio()) * along)

    def log_det(self) -> Scalar:
        return self.z.size * jnp.log(self._across()) + jnp.log(self._ratio())

    def inverse_norm_sq(self, v: Event) -> Scalar:
        along, across = self._split(v)
        squares = sum_entries(jnp.square(across)) + sum_entries(jnp.square(along)) / self._ratio()
        return squares / self._across()
