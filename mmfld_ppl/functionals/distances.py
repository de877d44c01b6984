"""Euclidean distances between two points, over all the leaves of each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..mirrors.linalg import total


def squared_distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """r^2, over the leaves of a point."""
    return total(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, y)))


def flatten(points: PyTree[Float[Array, "n ..."]]) -> Float[Array, "n d"]:
    """The entries of each point, over all leaves, in a row."""
    leaves = jax.tree.leaves(points)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
