"""Euclidean distances between two points, over all the leaves of each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .base import add


def squared_distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """r^2, over the leaves of a point."""
    return add(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, y)))


def distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """r, with a gradient of zero where the points meet."""
    square = squared_distance(x, y)
    apart = square > 0
    # The square root never sees the zero, whose derivative would make a NaN of the other branch.
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
