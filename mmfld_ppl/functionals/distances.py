"""Euclidean distances between two points, over all the leaves of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..linalg import total

#: A cost of two points, symmetric or not.
Cost = Callable[[Any, Any], Float[Array, ""]]


def squared_distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """r^2, over the leaves of a point."""
    return total(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, y)))


def half_squared_distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """r^2 / 2."""
    return squared_distance(x, y) / 2


def flatten(points: PyTree[Float[Array, "n ..."]]) -> Float[Array, "n d"]:
    """The entries of each point, over all leaves, in a row."""
    leaves = jax.tree.leaves(points)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def pairwise(cost: Cost, x: PyTree, y: PyTree) -> Float[Array, "m n"]:
    """cost(x_i, y_j) with the y_j along the first axis."""
    if cost is squared_distance:
        return squared_distances(flatten(x), flatten(y))
    if cost is half_squared_distance:
        return squared_distances(flatten(x), flatten(y)) / 2
    return jax.vmap(jax.vmap(cost, (0, None)), (None, 0))(x, y)


def transposed(cost: Cost) -> Cost:
    """(y, x) -> cost(x, y)."""
    symmetric = cost in (squared_distance, half_squared_distance)
    return cost if symmetric else lambda y, x: cost(x, y)


def squared_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "m n"]:
    """About the mean of the y, so that no x depends on the others."""
    centre = jax.lax.stop_gradient(jnp.mean(y, axis=0))
    return centred_distances(x - centre, y - centre)


def centred_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "m n"]:
    """Squared, of points about a centre of the y: cancellation costs no more there than rounding
    the largest distance does."""
    # |x|^2 + |y|^2 - 2 x.y: the sum over differences is several times slower, its gradient twenty.
    products = jnp.matmul(y, x.T, precision="highest")
    return jnp.sum(y**2, axis=1)[:, None] + jnp.sum(x**2, axis=1) - 2 * products
