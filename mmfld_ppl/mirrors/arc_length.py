"""Metrics of a scalar whose arc length has a closed form, for symmetric steps.

In the coordinate t = integral of sqrt(phi'') a step is the plain one of leapfrog, whatever weight
the metric has, so that a law as wide as one likes in t, heavy tails and mass at a boundary
included, is as easy as a Gaussian of that width.
"""

from __future__ import annotations

import abc
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from .base import Event, MirrorMap, Moments, Observation, Scalar, interpolate_scale
from .metric import DiagonalMetric, Metric

#: A step in t that is far shorter than the warm-up aims at: it goes on to the next number where
#: rounding would leave it in its place.
LEAST_MOVE = 0.1


class ArcLength(MirrorMap):
    r"""phi'' = w t'(x)^2 on an interval or half-line, for a scalar x.

    The step is leapfrog's in t: half the squared distance w (t' - t)^2 / 2 generates it, in place
    of the symmetrised divergence, with which it agrees to second order.

    A subclass states t, its inverse and its slope. Warm-up adapts w to `Moments.ratio` in t."""

    weight: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def arc(self, x: Event) -> Scalar:
        """t, which goes from -inf or to inf at a boundary."""

    @abc.abstractmethod
    def point(self, t: Scalar) -> Event:
        """The x of t."""

    @abc.abstractmethod
    def speed(self, x: Event) -> Scalar:
        """t'(x), of either sign."""

    @property
    def has_symmetric_step(self) -> bool:
        return True

    def metric(self, x: Event) -> Metric:
        return DiagonalMetric(jnp.sqrt(self.weight) * jnp.abs(self.speed(x)))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        momentum = momentum / self.speed(x)
        moved = self._further(x, momentum / self.weight)
        return moved, momentum * self.speed(moved)

    def _further(self, x: Event, along: Scalar) -> Event:
        """The point at t(x) + `along`.

        Next to a bound that is not zero numbers are far apart in t. Short steps that rounding takes
        back would gain momentum from leap to leap, and the warm-up make them shorter still."""
        moved = self.point(self.arc(x) + along)
        onward = jnp.nextafter(x, jnp.where(along * self.speed(x) > 0, jnp.inf, -jnp.inf))
        lost = (moved == x) & (along != 0) & (jnp.abs(along) < LEAST_MOVE)
        return jnp.where(lost, onward, moved)

    @property
    def is_flat(self) -> bool:
        return True

    def flat(self, x: Event) -> tuple[Event, Event]:
        root = jnp.sqrt(self.weight)
        return root * self.arc(x), root * self.speed(x)

    def shifted(self, x: Event, by: Event) -> Event:
        return self._further(x, by / jnp.sqrt(self.weight))

    def log_det_grad(self, x: Event) -> Event:
        return 2 * jax.grad(lambda x: jnp.log(jnp.abs(self.speed(x))))(x)

    def observe(self, x: Event) -> Observation:
        return Observation(self.arc(x), jnp.ones_like(x))

    def pull_slope(self, x: Event, slope: Event) -> Event:
        # Of the density in t.
        return (slope + 0.5 * self.log_det_grad(x)) / self.speed(x)

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self)

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        weight = interpolate_scale(self.weight, moments.ratio(), trust)
        return dataclasses.replace(self, weight=weight)
