"""The half square norm: ordinary Langevin dynamics."""

from __future__ import annotations

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..linalg import sum_entries
from .base import Event, MirrorMap, Observation, Scalar
from .metric import DiagonalMetric, Metric, OnSubspace


class Euclidean(MirrorMap):
    """phi(x) = |x|^2 / 2 on the whole space, for events of any shape. y = x, G = I.

    Self-concordant with M = 0."""

    self_concordance: ClassVar[float] = 0.0

    def potential(self, x: Event) -> Scalar:
        return 0.5 * sum_entries(jnp.square(x))

    def slack(self, x: Event) -> Scalar:
        return jnp.full((), jnp.inf, x.dtype)

    def grad(self, x: Event) -> Event:
        return x

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return y

    def metric(self, x: Event) -> Metric:
        return DiagonalMetric(jnp.ones_like(x))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        return x + momentum, momentum

    @property
    def is_flat(self) -> bool:
        return True

    def flat(self, x: Event) -> tuple[Event, Event]:
        return x, jnp.ones_like(x)

    def shifted(self, x: Event, by: Event) -> Event:
        return x + by

    def pull_slope(self, x: Event, slope: Event) -> Event:
        return slope

    def observe(self, x: Event) -> Observation:
        return Observation(x, jnp.ones_like(x))


class WrappedLine(Euclidean):
    """phi(x) = x^2 / 2 for an angle on a line that is wrapped round its circle.

    No law on the circle is wider than the uniform one, of variance pi^2 / 3, however many turns
    its points have made on the line: the weight that a warm-up gives it stops there."""

    least_weight: ClassVar[float] = 3 / math.pi**2

    def describe(self) -> str:
        return Euclidean.__name__


class ZeroSum(MirrorMap):
    """phi(x) = |x|^2 / 2 on the arrays that sum to zero along each of their axes.

    Dual vectors are classes modulo arrays that are constant along an axis; the conjugate takes
    the means out. Self-concordant with M = 0."""

    self_concordance: ClassVar[float] = 0.0

    def potential(self, x: Event) -> Scalar:
        return 0.5 * sum_entries(jnp.square(x))

    def slack(self, x: Event) -> Scalar:
        return jnp.full((), jnp.inf, x.dtype)

    def grad(self, x: Event) -> Event:
        return x

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return centred(y)

    def metric(self, x: Event) -> Metric:
        return ZeroSumMetric(DiagonalMetric(jnp.ones_like(x)))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        # Both, lest the sums that rounding leaves add up over many steps.
        return centred(x + momentum), centred(momentum)

    def observe(self, x: Event) -> Observation:
        kept = 1.0
        for size in x.shape:
            kept *= 1 - 1 / size
        return Observation(x, jnp.full_like(x, kept))


class ZeroSumMetric(OnSubspace):
    """The identity on arrays that sum to zero along each axis."""

    ambient: DiagonalMetric

    def shortest(self, v: Event) -> Event:
        return centred(v)

    def log_det(self) -> Scalar:
        return self.ambient.log_det()


def centred(v: Float[Array, "..."]) -> Float[Array, "..."]:
    """v less its mean along every axis: the orthogonal projection onto zero sums."""
    for axis in range(v.ndim):
        v = v - jnp.mean(v, axis, keepdims=True)
    return v
