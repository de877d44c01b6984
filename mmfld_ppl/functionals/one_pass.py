"""Sums over atoms in one pass: what an atom adds is made where it is added, and never stored.

For devices other than CPUs. Their compiler takes what a reduction reads into its loop, if nothing
else reads it; here whatever several sums share is thus read by one reduction of them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import logsumexp
from jaxtyping import Array, Float

#: Atoms in a row: those of few dimensions stay in the cache of a core while points pass by.
ROW = 2**12
#: Coordinates that go through one pass. More would leave the registers.
COLUMNS = 16


def in_rows(
    y: Float[Array, "n d"], w: Float[Array, " n"], nothing: float
) -> tuple[Float[Array, "r d k"], Float[Array, "r k"]]:
    """Atoms, coordinates first, and their weights in rows of one length; it is filled up by copies
    of the last one that weigh `nothing`."""
    rows = -(-len(y) // ROW)
    missing = -len(y) % rows
    y = jnp.pad(y, ((0, missing), (0, 0)), mode="edge")
    w = jnp.pad(w, (0, missing), constant_values=nothing)
    return y.reshape(rows, -1, y.shape[1]).swapaxes(1, 2), w.reshape(rows, -1)


@jax.custom_jvp
def weighted_sums(
    weights: Float[Array, " n"], columns: Sequence[Float[Array, " n"]]
) -> Float[Array, " k"]:
    """sum_j weights[j] columns[k][j]. A pair (w, a) stands for w a: two of them make the pair
    (1, w a + w' a')."""

    def join(left: Sequence[Array], right: Sequence[Array]) -> Sequence[Array]:
        (w, *a), (v, *b) = left, right
        return (jnp.ones_like(w), *(w * a + v * b for a, b in zip(a, b, strict=True)))

    zero = np.zeros((), weights.dtype)
    start = (np.ones_like(zero), *(zero for _ in columns))
    return jnp.stack(jax.lax.reduce((weights, *columns), start, join, (0,))[1:])


@weighted_sums.defjvp
def _weighted_sums_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return weighted_sums(*primals), jax.jvp(_stored_sums, primals, tangents)[1]


def _stored_sums(weights: Array, columns: Sequence[Array]) -> Array:
    return jnp.array([jnp.sum(weights * column) for column in columns], weights.dtype)


@jax.custom_jvp
def soft_maximum(
    exponents: Float[Array, " n"], columns: Sequence[Float[Array, " n"]]
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """log sum_j exp(e_j), and the means of the columns under masses in proportion to exp(e_j).

    A triple (e, s, a) stands for exp(e) (s, a), the largest e being the one of two. Where there are
    no masses the means are zero."""

    def join(left: Sequence[Array], right: Sequence[Array]) -> Sequence[Array]:
        (e, *a), (f, *b) = left, right
        top = jnp.maximum(e, f)
        p, q = jnp.exp(e - top), jnp.exp(f - top)
        return (top, *(p * a + q * b for a, b in zip(a, b, strict=True)))

    least = np.array(jnp.finfo(exponents.dtype).min)
    zero = np.zeros_like(least)
    elements = (exponents, jnp.ones_like(exponents), *columns)
    start = (least, zero, *(zero for _ in columns))
    top, mass, *sums = jax.lax.reduce(elements, start, join, (0,))
    return top + jnp.log(mass), jnp.stack([mass, *sums])[1:] / jnp.where(mass > 0, mass, 1)


@soft_maximum.defjvp
def _soft_maximum_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    return soft_maximum(*primals), jax.jvp(_stored_maximum, primals, tangents)[1]


def _stored_maximum(exponents: Array, columns: Sequence[Array]) -> tuple[Array, Array]:
    top = logsumexp(exponents)
    masses = jnp.exp(exponents - jnp.where(jnp.isfinite(top), top, 0))
    return top, _stored_sums(masses, columns)
