"""Sums, products and solves. Matrices may be real or complex: a transpose is a
conjugate one.

Accelerators round float32 matrix products to fewer digits by default, which would put points
outside of their sets; here they are asked for full precision.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, PyTree

Matrix = Float[Array, "n n"]
Scalar = Float[Array, ""]

#: Entries of a point up to which they are added one by one.
FEW = 10


def total(values: Iterable[Array]) -> Array:
    """The sum of at least one array, in their own dtype."""
    return functools.reduce(operator.add, values)


def sum_entries(x: Float[Array, "..."]) -> Scalar:
    """The sum of all entries of a point.

    Over many particles it is one of short rows. On CPUs XLA leaves large sums to a library
    (YNNPACK), which takes up to sixty times as long over such rows as additions take: more than
    half of a step of 10,000 particles on a simplex of 3 (docs/speed.md)."""
    if not 1 < x.size <= FEW:
        return jnp.sum(x)
    entries = x.reshape(-1)
    return total(entries[i] for i in range(x.size))


def inner(a: PyTree, b: PyTree) -> Scalar:
    """<a, b>, summed over the leaves."""
    return total(jax.tree.leaves(jax.tree.map(lambda u, v: sum_entries(u * v), a, b)))


def root(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """r of r^2, with a derivative of zero where r is."""
    apart = square > 0
    # The square root never sees the zero, whose derivative would make a NaN of the other branch.
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def matmul(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a b, to the precision of the dtype."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def symmetric(a: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """The symmetric part: dual vectors of symmetric matrices are classes modulo the rest. It makes
    a matrix of standard normals standard in any orthonormal basis of symmetric matrices."""
    return 0.5 * (a + a.mT.conj())


def congruence(a: Matrix, b: Matrix) -> Matrix:
    """a b a^T for a symmetric b, symmetric to the last digit."""
    return symmetric(matmul(a, matmul(b, a.T.conj())))


def inverse_lower(factor: Matrix) -> Matrix:
    """L^-1 of a lower triangular L."""
    return jsl.solve_triangular(factor, jnp.eye(factor.shape[0], dtype=factor.dtype), lower=True)


def log_det_from(factor: Matrix) -> Scalar:
    """log det L L^T of a triangular factor L, whatever the signs of its diagonal."""
    return 2 * sum_entries(jnp.log(jnp.abs(jnp.diagonal(factor))))
