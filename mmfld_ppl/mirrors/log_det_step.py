"""The symmetric step of -log det, on its cone and on affine slices of it, real or Hermitian."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..linalg import Matrix, congruence, inverse_lower, matmul, symmetric
from .half_line import barrier_growth
from .metric import DenseMetric
from .newton import newton_conjugate
from .spectral import Spectrum, eigen, from_eigen

Rows = Float[Array, "k r n"]
Multipliers = Float[Array, " k"]


def cone_step(factor: Matrix, push: Matrix) -> tuple[Matrix, Matrix]:
    """`MirrorMap.symmetric_step` from X = L L^T with the momentum P, by `push`, T = L^T P L.

    Z = L^-1 X' L^-T has Z - Z^-1 = 2T, and L^T P' L = T Z^-1."""
    t, vectors = eigen(push)
    z, _ = barrier_growth(t)
    moved = congruence(factor, from_eigen(z, vectors))
    pushed = congruence(inverse_lower(factor).T.conj(), from_eigen(t / z, vectors))
    return moved, pushed


def slice_step(factor: Matrix, momentum: Matrix, blocks: int) -> tuple[Matrix, Matrix]:
    """The same on the slice of all X whose diagonal blocks, `blocks` of one size, have the traces
    that they have at L L^T: the slice of a fixed diagonal for n blocks, of a fixed trace for one.

    It is the step on the cone with the momentum P - sum_k nu_k N_k, N_k the identity of block k, a
    member of the same class; Newton's method finds the multipliers nu. Cost of a Newton step: an
    eigendecomposition and, for k blocks, O(n^3 + k^2 n^2), the latter in one product of matrices.
    NaN where it does not converge."""
    columns = factor.T.conj()
    push = congruence(columns, symmetric(momentum))
    rows = factor.reshape(blocks, -1, len(factor))
    dual = _Slice(push, rows, columns)
    # The shortest T - sum_k nu_k A_k: the minimum to second order.
    squares = jnp.square(jnp.abs(matmul(factor, columns)))
    gram = jnp.sum(squares.reshape(*rows.shape[:2], *rows.shape[:2]), (1, 3))
    along = jnp.sum(jnp.real(matmul(rows, push) * rows.conj()), (1, 2))
    shortest = jnp.linalg.solve(gram, along)
    nu = newton_conjugate(dual, jnp.zeros_like(shortest), shortest, self_concordance=1.0)
    return cone_step(factor, dual.push_at(nu))


class _Slice(NamedTuple):
    """psi(nu) = sup_Z 2 <T - sum_k nu_k A_k, Z - I> + log det Z - |Z|_F^2 / 2, as far as
    `newton_conjugate` asks: at its minimiser <A_k, Z> = <A_k, I> for all k.

    A_k = L^H N_k L = R_k^H R_k for the rows R_k of L in block k.

    rows: all R_k. columns: L^H. It is not taken anew from the rows, because XLA would move that
    out of Newton's loop in two copies and no longer see that the gradient and the Hessian share
    an eigendecomposition.

    The supremum is attained at the Z of `cone_step`. psi is a conjugate of a self-concordant
    function on an affine set, hence itself self-concordant with M = 1 (Nesterov and Nemirovskii
    1994, theorem 2.4.1)."""

    push: Matrix
    rows: Rows
    columns: Matrix

    def push_at(self, nu: Multipliers) -> Matrix:
        """T - sum_k nu_k A_k."""
        weighted = nu[:, None, None] * self.rows
        return self.push - matmul(self.columns, weighted.reshape(self.push.shape))

    def slack(self, nu: Multipliers) -> Float[Array, ""]:
        return jnp.asarray(jnp.inf, nu.dtype)

    def grad(self, nu: Multipliers) -> Multipliers:
        t, rows = self._diagonalised(nu)
        _, rise = barrier_growth(t)
        return -2 * jnp.sum(jnp.square(jnp.abs(rows)) * rise, (1, 2))

    def metric(self, nu: Multipliers) -> DenseMetric:
        t, rows = self._diagonalised(nu)
        z, _ = barrier_growth(t)
        length = jnp.hypot(jnp.ones_like(t), t)
        # The divided differences of z = t + sqrt(1 + t^2), free of cancellation.
        slopes = (z[:, None] + z) / (length[:, None] + length)
        normals = matmul(rows.mT.conj(), rows)
        scaled, normals = (a.reshape(len(nu), -1) for a in (slopes * normals, normals))
        hessian = 2 * jnp.real(matmul(scaled, normals.T.conj()))
        return DenseMetric(jnp.linalg.cholesky(hessian), ravel_pytree(nu)[1])

    def _diagonalised(self, nu: Multipliers) -> tuple[Spectrum, Rows]:
        """Eigenvalues of the push, and the rows in the basis of its eigenvectors."""
        t, vectors = eigen(self.push_at(nu))
        return t, matmul(self.rows, vectors)
