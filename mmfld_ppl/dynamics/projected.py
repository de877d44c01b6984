"""Projected Langevin dynamics: the baselines of the paper."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..trees import add
from .transition import Move, Transition


class Projected(Transition):
    r"""Euclidean Langevin step followed by a projection.

        x' = P(x - h (grad V(x) + barrier * grad phi(x)) + sqrt(2h) xi)

    P is the Euclidean projection on the set shrunk by the factor 1 - inset towards its analytic
    centre, because log densities and barriers are infinite on the boundary itself. Not
    reversible and without a Metropolis correction: it targets exp(-V) only as h -> 0, and at
    any h > 0 keeps a positive fraction of its mass on the boundary of the shrunken set.

    map: the barrier phi. project: Euclidean projection of one event on the set. barrier: the weight
    of phi, 0 for the plain projected dynamics."""

    project: Callable[[PyTree], PyTree]
    barrier: Float[Array, ""]
    inset: float

    def noise_like(self, x: PyTree) -> PyTree:
        return jax.tree.map(jnp.zeros_like, x)

    def centre(self, x: PyTree) -> PyTree:
        """The minimiser of the barrier."""
        return self.map.conjugate_grad(jax.tree.map(jnp.zeros_like, x), x)

    def clip(self, x: PyTree) -> PyTree:
        """The nearest point of the shrunken set."""
        centre, d = self.centre(x), self.inset
        outward = jax.tree.map(lambda z, c: (z - d * c) / (1 - d), x, centre)
        return jax.tree.map(lambda z, c: (1 - d) * z + d * c, self.project(outward), centre)

    def advance(self, x: PyTree, slope: PyTree, noise: PyTree, h: Float[Array, ""]) -> Move:
        slope = add(slope, self.map.grad(x), self.barrier)
        free = add(add(x, slope, -h), noise, jnp.sqrt(2 * h))
        return Move(self.clip(free))
