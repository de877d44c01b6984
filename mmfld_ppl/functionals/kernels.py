"""Symmetric kernels k(x, y) of two points, for `Interaction` and `MMD`.

A point is an array or a pytree of arrays; r is the Euclidean distance over all of its entries. All
kernels are smooth, or have a gradient of zero, where two points meet.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..linalg import root
from .checks import require_positive
from .distances import squared_distance


class Radial(eqx.Module):
    """k(x, y) = g(r^2). Its sums over pairs are made a block of distances at a time, and each pass
    over the pairs gives the gradient as well, where any other function is called for each pair, and
    called again for the gradient.

    A subclass implements `profile`.

    >>> class Cauchy(Radial):
    ...     def profile(self, square):
    ...         return 1 / (1 + square)
    >>> print(Cauchy()(jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0])))
    0.33333334
    """

    @abc.abstractmethod
    def profile(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        """g at each of an array of r^2. Its derivative must be finite at zero: `linalg.root` is
        a square root for which it is."""

    def __call__(self, x: PyTree, y: PyTree) -> Float[Array, ""]:
        return self.profile(squared_distance(x, y))


class Gaussian(Radial):
    """exp(-r^2 / (2 s^2)).  Positive definite.

    scale: s > 0.

    >>> print(f"{Gaussian(2.0)(jnp.array([0.0, 0.0]), jnp.array([2.0, 0.0])):.4f}")
    0.6065
    """

    scale: Float[Array, ""] | float

    def __check_init__(self):
        require_positive("the scale of a Gaussian kernel", self.scale)

    def profile(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(-square / (2 * self.scale**2))


class Laplace(Radial):
    """exp(-r / s).  Positive definite; it has a kink where points meet, which at low temperatures
    holds an adapted step so short that particles hardly move.

    scale: s > 0."""

    scale: Float[Array, ""] | float

    def __check_init__(self):
        require_positive("the scale of a Laplace kernel", self.scale)

    def profile(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(-root(square) / self.scale)


class Energy(Radial):
    """-r.  Positive definite among measures of equal mass, for which its MMD^2 is the energy
    distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo 2013). No scale to choose; a kink
    where points meet."""

    def profile(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        return -root(square)


class InverseMultiquadric(Radial):
    """(1 + r^2 / s^2)^-b.  Positive definite; its tails reach far.

    scale: s > 0. power: b > 0."""

    scale: Float[Array, ""] | float
    power: Float[Array, ""] | float = 0.5

    def __check_init__(self):
        require_positive("the scale of an inverse multiquadric kernel", self.scale)
        require_positive("the power of an inverse multiquadric kernel", self.power)

    def profile(self, square: Float[Array, "..."]) -> Float[Array, "..."]:
        return (1 + square / self.scale**2) ** -self.power
