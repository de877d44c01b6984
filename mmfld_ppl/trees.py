"""Pytrees of arrays as points of a vector space, and choices between two of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree


def standard_normal(key: PRNGKeyArray, like: PyTree) -> PyTree:
    """Independent standard normals shaped like the leaves of `like`."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    draws = [
        jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, draws)


def add(a: PyTree, b: PyTree, scale: Float[Array, ""] | float = 1.0) -> PyTree:
    """a + scale * b, leaf by leaf, in the dtype of a."""
    return jax.tree.map(lambda u, v: u + jnp.asarray(scale, u.dtype) * v, a, b)


def all_finite(tree: PyTree) -> Array:
    """Whether every entry of every leaf is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def select(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    """`yes` where the condition holds, leaf by leaf; it broadcasts over trailing axes.

    Raises ValueError for leaves that differ in shape."""
    require_same_shapes(yes, no)

    def pick(a, b):
        return jnp.where(
            condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b
        )

    return jax.tree.map(pick, yes, no)


def require_same_shapes(after: PyTree, before: PyTree) -> None:
    """Raises ValueError where a leaf after a move has another shape than in the state before."""

    def compare(a, b):
        if a.shape != b.shape:
            raise ValueError(
                f"a value of the model has shape {a.shape} after a move and {b.shape} in the state "
                "that the run begins with, as after a warm-up with other data: let the state see "
                "the new ones by kernel.refresh(state, args, kwargs), or warm up anew"
            )

    jax.tree.map(compare, after, before)
