"""The field that particles feel: a functional's first variation and a base measure."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from ..functionals import Functional
from ..measures import Measure


class Felt(NamedTuple):
    """What N particles feel under a fixed linearisation of F.

    variation: dF/dmu at each particle. log_base: log density of the base measure at each.
    slope: gradient at each of the potential V = variation / temperature - log_base."""

    variation: Float[Array, " n"]
    log_base: Float[Array, " n"]
    slope: PyTree


class Frozen(NamedTuple):
    """F linearised at the particles' own measure: the arrays that `Field.feel` needs.

    value: F(mu). tangent: of the linearisation. carry: for the next one. aux: what the model
    computed beside it at these particles."""

    value: Float[Array, ""]
    tangent: PyTree
    carry: PyTree
    aux: Any = None


class Field(eqx.Module):
    """Where the mean-field dynamics get their forces from."""

    @abc.abstractmethod
    def linearize(self, particles: PyTree, carry: PyTree, key: PRNGKeyArray) -> Frozen:
        """F linearised at the empirical measure of the particles."""

    @abc.abstractmethod
    def potentials(
        self, frozen: Frozen, particles: PyTree, key: PRNGKeyArray
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """dF/dmu and log base density at each particle, each depending on that particle alone."""

    @abc.abstractmethod
    def init_carry(self, particles: PyTree) -> PyTree:
        """The carry before any linearisation."""

    @property
    def stochastic(self) -> bool:
        """Whether linearisations at one measure differ from key to key, as with minibatches."""
        return False

    @property
    def fixed(self) -> bool:
        """Whether linearisations are the same at all particles and keys, value and aux included."""
        return False

    def feel(
        self, frozen: Frozen, particles: PyTree, temperature: ArrayLike, key: PRNGKeyArray
    ) -> Felt:
        """Potentials and their slopes at each particle: one reverse pass over all of them."""

        def total(particles):
            variation, log_base = self.potentials(frozen, particles, key)
            scale = jnp.asarray(temperature, variation.dtype)
            return jnp.sum(variation / scale - log_base), (variation, log_base)

        slope, (variation, log_base) = jax.grad(total, has_aux=True)(particles)
        return Felt(variation, log_base, slope)


class FunctionalField(Field):
    """The field of a functional of the particles' own measure, without a model around it.

    functional: F. log_base: log density of the base measure at one particle; None for a uniform
    base, the paper's entropy."""

    functional: Functional
    log_base: Callable[[PyTree], Float[Array, ""]] | None = eqx.field(default=None)

    def linearize(self, particles: PyTree, carry: PyTree, key: PRNGKeyArray) -> Frozen:
        return Frozen(*self.functional.linearize(Measure.uniform(particles), carry, key))

    def potentials(
        self, frozen: Frozen, particles: PyTree, key: PRNGKeyArray
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        variation = self.functional.first_variation(frozen.tangent, particles)
        if self.log_base is None:
            return variation, jnp.zeros_like(variation)
        return variation, jax.vmap(self.log_base)(particles)

    def init_carry(self, particles: PyTree) -> PyTree:
        return self.functional.init_carry(Measure.uniform(particles))

    @property
    def stochastic(self) -> bool:
        return self.functional.stochastic
