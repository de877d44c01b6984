"""Negative entropies: the paper's maps for the simplex, the orthant and the box.

Their Hessian is 1/x, so that a step of fixed size is unbounded in the local norm near the
boundary: they are not self-concordant, and one Euler step of their diffusion puts mass on the
boundary. Use them with `diffuse`, or by name to reproduce published results.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..linalg import sum_entries
from .base import Event, MirrorMap, Observation, Scalar
from .metric import DiagonalMetric, Metric, RestrictedMetric


class EntropyOrthant(MirrorMap):
    r"""phi(x) = sum_i u_i log u_i - u_i, u = x - bound > 0, for events of any shape.

    y = log u, G = 1/u. Ito's formula turns dY = sqrt(2/u) dB into du = sqrt(2u) dB + dt: 2u is a
    squared Bessel process of dimension 2, the squared norm of a planar Brownian motion, hence
    exactly u' = (sqrt(u) + sqrt(t/2) xi_1)^2 + (t/2) xi_2^2 (Revuz and Yor 1999, chapter XI).
    Not self-concordant: |phi'''| / phi''^(3/2) = 1 / sqrt(u)."""

    has_exact_diffusion: ClassVar[bool] = True

    bound: Float[Array, ""] | float = 0.0

    def potential(self, x: Event) -> Scalar:
        u = x - self.bound
        return sum_entries(u * jnp.log(u) - u)

    def slack(self, x: Event) -> Scalar:
        return jnp.min(x - self.bound)

    def grad(self, x: Event) -> Event:
        return jnp.log(x - self.bound)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self.bound + jnp.exp(y)

    def metric(self, x: Event) -> Metric:
        return DiagonalMetric(1 / jnp.sqrt(x - self.bound))

    def observe(self, x: Event) -> Observation:
        return Observation(x, x - self.bound)

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        return self.bound + squared_bessel(x - self.bound, noise, time)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return _two_each(x)


class EntropySimplex(MirrorMap):
    r"""phi(x) = sum_i x_i log x_i on {x > 0, sum_i x_i = 1}.

    y = log x up to a constant, x = softmax(y), G = diag(1/x). Not self-concordant.

    `diffuse` normalises independent copies of the diffusion of `EntropyOrthant`, as the stochastic
    Cox-Ingersoll-Ross sampler of Baker, Fearnhead, Fox and Nemeth 2018 does: never outside, but
    the sum R of the copies, 1 at the start, makes their clock run at the speed 1/R. The copies
    are run for (exp((d-2) t) - 1) / (d-2) instead, which allows for the mean of that: the law is
    then of weak order two in t, and tends to the uniform one as t grows."""

    has_exact_diffusion: ClassVar[bool] = True

    def potential(self, x: Event) -> Scalar:
        return sum_entries(x * jnp.log(x))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(x)

    def grad(self, x: Event) -> Event:
        return jnp.log(x)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return jax.nn.softmax(y)

    def metric(self, x: Event) -> Metric:
        return RestrictedMetric(DiagonalMetric(1 / jnp.sqrt(x)), jnp.ones_like(x), x)

    def observe(self, x: Event) -> Observation:
        return Observation(x, x * (1 - x))

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        rate = x.size - 2
        # Both arguments divided by exp(rate t), which the normalisation takes out again and which
        # might overflow.
        clock = -jnp.expm1(-rate * time) / rate if rate else time
        copies = squared_bessel(jnp.exp(-rate * time) * x, noise, clock)
        return copies / sum_entries(copies)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return _two_each(x)


class EntropyInterval(MirrorMap):
    r"""phi(x) = sum_i u_i log u_i + v_i log v_i, u = x - lower, v = upper - x, for events of any
    shape: the Fermi-Dirac entropy.

    y = log(u/v), x = lower + (upper - lower) sigmoid(y), G = 1/u + 1/v. u/(u+v) and v/(u+v) move
    as on `EntropySimplex` of size 2, with the time divided by u + v; so does `diffuse`, of weak
    order two. Not self-concordant."""

    has_exact_diffusion: ClassVar[bool] = True

    lower: Float[Array, ""] | float = 0.0
    upper: Float[Array, ""] | float = 1.0

    def potential(self, x: Event) -> Scalar:
        u, v = x - self.lower, self.upper - x
        return sum_entries(u * jnp.log(u) + v * jnp.log(v))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(jnp.minimum(x - self.lower, self.upper - x))

    def grad(self, x: Event) -> Event:
        return jnp.log(x - self.lower) - jnp.log(self.upper - x)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self._from_shares(jax.nn.sigmoid(y), jax.nn.sigmoid(-y))

    def metric(self, x: Event) -> Metric:
        u, v = x - self.lower, self.upper - x
        return DiagonalMetric(jnp.hypot(1 / jnp.sqrt(u), 1 / jnp.sqrt(v)))

    def observe(self, x: Event) -> Observation:
        u, v = x - self.lower, self.upper - x
        return Observation(x, u * v / (self.upper - self.lower))

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        width = self.upper - self.lower
        shares = jnp.stack([x - self.lower, self.upper - x]) / width
        low, high = squared_bessel(shares, noise, time / width)
        both = low + high
        return self._from_shares(low / both, high / both)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return _two_each(jnp.stack([x, x]))

    def _from_shares(self, low: Event, high: Event) -> Event:
        """The point with these relative distances from the lower and the upper end, measured from
        the nearer one."""
        width = self.upper - self.lower
        return jnp.where(low < high, self.lower + width * low, self.upper - width * high)


def squared_bessel(
    u: Float[Array, "*shape"], noise: Float[Array, "2 *shape"], time: Scalar
) -> Float[Array, "*shape"]:
    """du = sqrt(2u) dB + dt for `time`, exactly."""
    planar = noise * jnp.sqrt(0.5 * time)
    return jnp.square(jnp.sqrt(u) + planar[0]) + jnp.square(planar[1])


def _two_each(x: Float[Array, "*shape"]) -> Float[Array, "2 *shape"]:
    return jnp.zeros_like(x, shape=(2, *x.shape))
