"""Integrals of radial kernels against a measure: one pass over the pairs gives gradients too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..devices import on_cpu
from .blocks import by_blocks, fitting
from .kernels import Radial
from .one_pass import COLUMNS, in_rows, weighted_sums

#: Pairs in one block: on a CPU what stays in the cache of a core, on other devices enough to keep
#: them busy.
PAIRS = 2**16, 2**26
#: Atoms in one block on a CPU: so many stay in the cache of a core, in many dimensions too, while
#: the points pass by.
CPU_ATOMS = 2**11

# What is differentiated is computed again in place of being kept, which takes the memory of all
# pairs. In a loop nothing else could be merged with that; see `interaction.smooth`.
_recomputed = functools.partial(eqx.filter_checkpoint, prevent_cse=False)


@eqx.filter_custom_jvp
def smooth_radial(
    kernel: Radial,
    x: Float[Array, "m d"],
    y: Float[Array, "n d"],
    weights: Float[Array, " n"],
    *,
    block_size: int | None,
) -> Float[Array, " m"]:
    """sum_j weights[j] k(x_i, y_j) at each x_i, `block_size` of them at a time.

    Distances are sums over differences: those by a product of matrices cancel where points nearly
    meet. Cost: O(m n d) in time, value and gradient in x together; O(block_size n) in memory, or
    that of a block where its size is left to the device, also of the gradient in each argument."""
    return _at_points(_integral, block_size, kernel, x, y, weights)


@smooth_radial.def_jvp
def _smooth_radial_jvp(
    primals: Any, tangents: Any, *, block_size: int | None
) -> tuple[Array, Array]:
    along_kernel, along_x, along_y, along_w = tangents
    others = (along_kernel, None, along_y, along_w)

    def integrals(*arguments: Any) -> Float[Array, " m"]:
        return _at_points(_recomputed(_integral), block_size, *arguments)

    if along_x is None:
        return eqx.filter_jvp(integrals, primals, others)
    if on_cpu():
        values, gradients = _at_points(_known(_with_gradient), block_size, *primals)
    else:
        # Apart: what the two shared would be stored.
        values = _at_points(_known(_integral), block_size, *primals)
        gradients = _at_points(_known(_gradient), block_size, *primals)
    tangent = jnp.sum(gradients * along_x, axis=1)
    if jax.tree.leaves(others):
        tangent = tangent + eqx.filter_jvp(integrals, primals, others)[1]
    return values, tangent


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    """A part of a first derivative. JAX takes one mark off, as that has nothing to compute again;
    the other is for the second."""
    return _recomputed(_recomputed(function))


def _at_points(
    function: Callable[..., Any],
    block_size: int | None,
    kernel: Radial,
    x: Float[Array, "m d"],
    y: Float[Array, "n d"],
    w: Float[Array, " n"],
) -> Any:
    if not on_cpu():
        return _in_one_pass(function, block_size, kernel, x, y, w)
    atoms = len(y)
    if block_size is None:
        atoms = min(atoms, CPU_ATOMS)
        # Of a single row XLA would not make products of a matrix and a vector.
        block_size = max(2, fitting(PAIRS, atoms))

    def against(y: Float[Array, "k d"], w: Float[Array, " k"]) -> Any:
        return by_blocks(jax.vmap(lambda point: function(kernel, point, y.T, w)), x, block_size)

    def add(total: Any, block: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, against(*block)), None

    rest = len(y) % atoms or atoms
    blocks = y[rest:].reshape(-1, atoms, y.shape[1]), w[rest:].reshape(-1, atoms)
    total = against(y[:rest], w[:rest])
    return total if rest == len(y) else jax.lax.scan(add, total, blocks)[0]


def _in_one_pass(
    function: Callable[..., Array],
    block_size: int | None,
    kernel: Radial,
    x: Float[Array, "m d"],
    y: Float[Array, "n d"],
    w: Float[Array, " n"],
) -> Array:
    ys, ws = in_rows(y, w, 0.0)

    def at(x: Float[Array, "b d"]) -> Array:
        along = jax.vmap(lambda y, w: jax.vmap(lambda point: function(kernel, point, y, w))(x))
        return jnp.sum(along(ys, ws), axis=0)

    return by_blocks(at, x, fitting(PAIRS, len(y)) if block_size is None else block_size)


def _integral(
    kernel: Radial, x: Float[Array, " d"], y: Float[Array, "d n"], w: Float[Array, " n"]
) -> Float[Array, ""]:
    return _dot(_profile(kernel)(_squared_distances(x, y)), w)


def _with_gradient(
    kernel: Radial, x: Float[Array, " d"], y: Float[Array, "d n"], w: Float[Array, " n"]
) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """The integral and its gradient in x, 2 sum_j w_j g'(r_j^2) (x - y_j)."""
    square = _squared_distances(x, y)
    values, slopes = jax.jvp(_profile(kernel), (square,), (jnp.ones_like(square),))

    def pull(_: None, coordinate: tuple[Array, Array]) -> tuple[None, Array]:
        a, b = coordinate
        return None, _dot(slopes * (a - b), w)

    # One coordinate at a time: more of them leave the cache. And not by a product of the slopes and
    # y, in which what is large cancels as well.
    return _dot(values, w), 2 * jax.lax.scan(pull, None, (x, y))[1]


def _gradient(
    kernel: Radial, x: Float[Array, " d"], y: Float[Array, "d n"], w: Float[Array, " n"]
) -> Float[Array, " d"]:
    """That of the integral."""
    square = _squared_distances(x, y)
    slopes = w * jax.jvp(_profile(kernel), (square,), (jnp.ones_like(square),))[1]

    def pull(coordinates: tuple[Array, Array]) -> Array:
        a, b = coordinates
        return weighted_sums(slopes, [a - b for a, b in zip(a, b, strict=True)])

    rest = len(x) % COLUMNS
    groups = x[rest:].reshape(-1, COLUMNS), y[rest:].reshape(-1, COLUMNS, y.shape[1])
    parts = [pull((x[:rest], y[:rest]))] if rest else []
    return 2 * jnp.concatenate([*parts, jnp.ravel(jax.lax.map(pull, groups))])


def _profile(kernel: Radial) -> Callable[[Array], Array]:
    def checked(square: Float[Array, " n"]) -> Float[Array, " n"]:
        values = kernel.profile(square)
        if jnp.shape(values) != square.shape:
            raise ValueError(
                f"the profile of {type(kernel).__name__} must give a number for each squared "
                f"distance, got shape {jnp.shape(values)} for {square.shape}: let it work "
                "elementwise"
            )
        return values

    return checked


def _squared_distances(x: Float[Array, " d"], y: Float[Array, "d n"]) -> Float[Array, " n"]:
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add(total: Array, coordinate: tuple[Array, Array]) -> tuple[Array, None]:
        a, b = coordinate
        return total + (a - b) ** 2, None

    none = jnp.zeros(y.shape[1], jnp.result_type(x, y))
    # Those of one pass without a loop, so that they can be made within it; and the loops that XLA
    # makes for CPUs of two to twelve are three times slower.
    return jax.lax.scan(add, none, (x, y), unroll=COLUMNS)[0]


def _dot(values: Float[Array, " n"], w: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.dot(values, w, precision="highest")
