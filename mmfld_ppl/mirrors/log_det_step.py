"""The symmetric step of -log det, on its cone and on affine slices of it, real or Hermitian."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .half_line import barrier_growth
from .linalg import Matrix, congruence, inverse_lower, matmul, symmetric
from .metric import DenseMetric
from .newton import newton_conjugate
from .spectral import Spectrum, eigen, from_eigen

Normals = Float[Array, "k n n"]
Multipliers = Float[Array, " k"]


def cone_step(factor: Matrix, push: Matrix) -> tuple[Matrix, Matrix]:
    """`MirrorMap.symmetric_step` from X = L L^T with the momentum P, by `push`, T = L^T P L.

    Z = L^-1 X' L^-T has Z - Z^-1 = 2T, and L^T P' L = T Z^-1."""
    t, vectors = eigen(push)
    z, _ = barrier_growth(t)
    moved = congruence(factor, from_eigen(z, vectors))
    pushed = congruence(inverse_lower(factor).T.conj(), from_eigen(t / z, vectors))
    return moved, pushed


def slice_step(factor: Matrix, momentum: Matrix, normals: Normals) -> tuple[Matrix, Matrix]:
    """The same on the slice of all X with <N_k, X> as it is at L L^T, k = 1, 2, ...

    It is the step on the cone with the momentum P - sum_k nu_k N_k, a member of the same class;
    Newton's method finds the multipliers nu. normals: A_k = L^T N_k L. Cost: an eigendecomposition
    and O(k n^3 + k^2 n^2) a Newton step. NaN where it does not converge."""
    push = congruence(factor.T.conj(), symmetric(momentum))
    dual = _Slice(push, normals)
    shortest = jnp.linalg.solve(_products(normals, normals), _products(normals, push[None])[:, 0])
    nu = newton_conjugate(dual, jnp.zeros_like(shortest), shortest, self_concordance=1.0)
    return cone_step(factor, dual.push_at(nu))


class _Slice(NamedTuple):
    """psi(nu) = sup_Z 2 <T - sum_k nu_k A_k, Z - I> + log det Z - |Z|_F^2 / 2, as far as
    `newton_conjugate` asks: at its minimiser <A_k, Z> = <A_k, I> for all k.

    The supremum is attained at the Z of `cone_step`. psi is a conjugate of a self-concordant
    function on an affine set, hence itself self-concordant with M = 1 (Nesterov and Nemirovskii
    1994, theorem 2.4.1)."""

    push: Matrix
    normals: Normals

    def push_at(self, nu: Multipliers) -> Matrix:
        """T - sum_k nu_k A_k."""
        return self.push - jnp.sum(nu[:, None, None] * self.normals, 0)

    def slack(self, nu: Multipliers) -> Float[Array, ""]:
        return jnp.asarray(jnp.inf, nu.dtype)

    def grad(self, nu: Multipliers) -> Multipliers:
        t, normals = self._diagonalised(nu)
        _, rise = barrier_growth(t)
        return -2 * _products(normals, jnp.diag(rise)[None])[:, 0]

    def metric(self, nu: Multipliers) -> DenseMetric:
        t, normals = self._diagonalised(nu)
        z, _ = barrier_growth(t)
        length = jnp.hypot(jnp.ones_like(t), t)
        # The divided differences of z = t + sqrt(1 + t^2), free of cancellation.
        slopes = (z[:, None] + z) / (length[:, None] + length)
        hessian = 2 * _products(slopes * normals, normals)
        return DenseMetric(jnp.linalg.cholesky(hessian), ravel_pytree(nu)[1])

    def _diagonalised(self, nu: Multipliers) -> tuple[Spectrum, Normals]:
        """Eigenvalues of the push, and the normals in the basis of its eigenvectors."""
        t, vectors = eigen(self.push_at(nu))
        return t, jax.vmap(congruence, (None, 0))(vectors.T.conj(), self.normals)


def _products(a: Normals, b: Float[Array, "l n n"]) -> Float[Array, "k l"]:
    """<A_k, B_l> = Re tr A_k B_l^H."""
    return jnp.real(matmul(a.reshape(len(a), -1), b.reshape(len(b), -1).T.conj()))
