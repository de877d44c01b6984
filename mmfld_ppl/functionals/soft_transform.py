"""Entropic potentials at any point: soft minima over atoms, a block of points at a time.

    f(x) = -eps log sum_j b_j exp((g_j - C(x, y_j))/eps)

A cost matrix has the m atoms y_j along its rows and the n points x_i along its columns, as in
`transport`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.nn import logsumexp
from jaxtyping import Array, Float, PyTree

from ..devices import on_cpu
from ..linalg import total
from .blocks import by_blocks, fitting
from .distances import (
    Cost,
    centred_distances,
    flatten,
    half_squared_distance,
    pairwise,
    squared_distance,
    squared_distances,
)
from .one_pass import COLUMNS, in_rows, soft_maximum

#: Pairs in one block: on a CPU what stays in its caches, on other devices enough to keep them busy.
PAIRS = 2**18, 2**24
_SLOPE = "slope of a soft transform"


def transform(
    cost: Float[Array, "m n"], b: Float[Array, " m"], g: Float[Array, " m"], eps: Float[Array, ""]
) -> Float[Array, " n"]:
    """f_i = -eps log sum_j b_j exp((g_j - C_ji)/eps): makes the marginal on the columns exact."""
    return -eps * logsumexp((g / eps + jnp.log(b))[:, None] - cost / eps, axis=0)


def soft_transform(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    y: PyTree[Float[Array, "m ..."]],
    b: Float[Array, " m"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
) -> Float[Array, " n"]:
    """f at the x_i under any cost of two points, a block of them at a time.

    Its gradient, in the points or in the rest, holds no more than a block of pairs either."""

    def at(x: PyTree) -> Float[Array, " n"]:
        if cost is half_squared_distance:
            return extend(flatten(x), flatten(y), b, g, eps)
        if cost is squared_distance:
            return 2 * extend(flatten(x), flatten(y), b, g / 2, eps / 2)
        return transform(pairwise(cost, x, y), b, g, eps)

    # Differentiating computes the pairs of a block again, but for slopes that are known. In a loop
    # nothing else could be merged with that.
    known = jax.checkpoint_policies.save_only_these_names(_SLOPE)
    return by_blocks(jax.checkpoint(at, prevent_cse=False, policy=known), x, block_size(len(b)))


def block_size(atoms: int) -> int:
    """Points to compare with so many atoms at a time."""
    return fitting(PAIRS, atoms)


@jax.custom_jvp
def extend(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    b: Float[Array, " m"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
) -> Float[Array, " n"]:
    """f at the x_i, by `transform`, under the cost |x - y|^2 / 2.

    Its gradient there, x_i - E[y] under the masses b_j exp((g_j - C_ji)/eps), is computed beside
    it: a reverse pass would keep the whole matrix, and take twice as long."""
    if _fits_one_pass(y):
        return _in_one_pass(x, y, b, g, eps, False)[0]
    return transform(squared_distances(x, y) / 2, b, g, eps)


@functools.partial(extend.defjvp, symbolic_zeros=True)
def _extend_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, *rest = primals
    dx, *moved = tangents
    slopes = _in_one_pass if _fits_one_pass(rest[0]) else _by_products
    f, slope = slopes(*primals)
    slope = checkpoint_name(slope, _SLOPE)
    df = jnp.zeros_like(f) if _still(dx) else jnp.sum(slope * dx, axis=1)
    moving = [k for k, tangent in enumerate(moved) if not _still(tangent)]
    if moving:
        # A reverse pass needs the matrix here: made again, so that only one gap's is ever held.
        @jax.checkpoint
        def under(*values: Array) -> Array:
            # What stays is left out: the logarithm of no mass has no derivative, not even along 0.
            at = dict(enumerate(rest)) | dict(zip(moving, values, strict=True))
            y, b, g, eps = at.values()
            return transform(squared_distances(x, y) / 2, b, g, eps)

        df += jax.jvp(under, [rest[k] for k in moving], [moved[k] for k in moving])[1]
    return f, df


def _still(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _fits_one_pass(y: Float[Array, "m d"]) -> bool:
    return not on_cpu() and y.shape[1] <= COLUMNS


def _in_one_pass(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    b: Float[Array, " m"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
    sloped: bool = True,
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """f and its slope, if asked for."""

    def against(x: Float[Array, " d"], y: Float[Array, "d k"], top: Float[Array, " k"]) -> Any:
        apart = [a - b for a, b in zip(x, y, strict=True)]
        exponents = top - total([a * a for a in apart]) / (2 * eps)
        return soft_maximum(exponents, apart if sloped else [])

    rows = in_rows(y, g / eps + jnp.log(b), -jnp.inf)
    tops, means = jax.vmap(jax.vmap(against, (0, None, None)), (None, 0, 0))(x, *rows)
    share = jax.nn.softmax(tops, axis=0)
    return -eps * logsumexp(tops, axis=0), jnp.sum(share[:, :, None] * means, axis=0)


def _by_products(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    b: Float[Array, " m"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    # Not about the x: one that is far away would take all digits from the others.
    centre = jnp.mean(y, axis=0)
    x, y = x - centre, y - centre
    exponents = g / eps + jnp.log(b) - centred_distances(y, x) / (2 * eps)
    top = jax.lax.stop_gradient(jnp.max(exponents, axis=1))
    masses = jnp.exp(exponents - top[:, None])
    # One product for the sums of masses and of masses times atoms.
    sums = jnp.matmul(masses, jnp.column_stack([jnp.ones_like(y[:, 0]), y]), precision="highest")
    return -eps * (jnp.log(sums[:, 0]) + top), x - sums[:, 1:] / sums[:, :1]
