"""Functions of many points, a block of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..devices import on_cpu


def fitting(held: tuple[int, int], atoms: int) -> int:
    """Points to compare with so many atoms at a time, where a block on a CPU may hold as many pairs
    as the first number says, and one elsewhere as many as the second."""
    return max(1, held[0 if on_cpu() else 1] // atoms)


def by_blocks(
    function: Callable[[PyTree], Any], points: PyTree[Float[Array, "n ..."]], size: int
) -> PyTree[Float[Array, "n ..."]]:
    """`function` of points that do not see each other, `size` of them at a time.

    function: of a batch of points, to arrays with an entry for each. Where points are spread over
    devices so is each block: it takes every k-th of them, one after another in memory being those
    of one device."""
    count = len(jax.tree.leaves(points)[0])
    if count <= size:
        return function(points)
    rest = count % size

    def cut(x: Array) -> Array:
        return x[rest:].reshape(size, -1, *x.shape[1:]).swapaxes(0, 1)

    def join(values: Array) -> Array:
        return values.swapaxes(0, 1).reshape(-1, *values.shape[2:])

    values = jax.tree.map(join, jax.lax.map(function, jax.tree.map(cut, points)))
    if not rest:
        return values
    first = function(jax.tree.map(lambda x: x[:rest], points))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, values)
