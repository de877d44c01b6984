"""Correlation matrices: -log det on unit diagonals."""

from __future__ import annotations

import jax.numpy as jnp
import jax.scipy.linalg as jsl

from ..linalg import Matrix, log_det_from
from .base import Event, Observation, Scalar
from .log_det import LogDetMetric, MinusLogDet, entry_variance, negative_inverse
from .log_det_step import slice_step
from .metric import OnSubspace


class CorrelationMatrix(MinusLogDet):
    r"""phi(X) = -log det X on the symmetric positive definite matrices of unit diagonal.

    Y = -X^-1; dual vectors are classes modulo diagonal and antisymmetric matrices, and the
    conjugate is the maximum determinant completion, by Newton's method from the present point.
    Self-concordant with M = 1, see `MinusLogDet`. Cost: O(n^3) a Newton step of the
    conjugate; O(n^4), as one product of matrices, a Newton step of `symmetric_step` and an
    `observe`."""

    def restore(self, x: Event) -> Event:
        diagonal = jnp.diagonal(x)
        return x / jnp.sqrt(diagonal[:, None] * diagonal)

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        factor = jnp.linalg.cholesky(x)
        moved, pushed = slice_step(factor, momentum, blocks=len(x))
        return self.restore(moved), pushed

    def observe(self, x: Event) -> Observation:
        # The diagonal takes out the span of the n matrices G^-1 E_ii, whose entries are X_ia X_ib.
        lifted = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        whitened = jsl.solve_triangular(self.metric(x).gram, lifted, lower=True)
        variance = entry_variance(x) - jnp.sum(jnp.square(whitened), 0).reshape(x.shape)
        return Observation(x, variance - jnp.diag(jnp.diagonal(variance)))

    def log_det_grad(self, x: Event) -> Event:
        inverse_gram = jsl.cho_solve((self.metric(x).gram, True), jnp.eye(len(x), dtype=x.dtype))
        return (len(x) + 1) * negative_inverse(x) + 2 * x * inverse_gram

    def metric(self, x: Event) -> CorrelationMetric:
        return CorrelationMetric(LogDetMetric.at(x), jnp.linalg.cholesky(jnp.square(x)))


class CorrelationMetric(OnSubspace):
    """G[u] = X^-1 u X^-1 on symmetric matrices of zero diagonal.

    The normals are the n diagonal unit matrices; between them G^-1 has the entries X_ij^2, whose
    Cholesky factor is `gram`. The shortest member of a class is v - diag(c), where c makes
    G^-1 (v - diag(c)) have a zero diagonal."""

    ambient: LogDetMetric
    gram: Matrix

    def diagonal_of(self, u: Event) -> Event:
        """The diagonal dual vector whose G^-1 has the diagonal of u."""
        return jnp.diag(jsl.cho_solve((self.gram, True), jnp.diagonal(u)))

    def shortest(self, v: Event) -> Event:
        return v - self.diagonal_of(self.ambient.solve(v))

    def solve(self, v: Event) -> Event:
        # Twice: next to singular matrices dual vectors are large, and what their rounding leaves on
        # the diagonal of u is as large as the least eigenvalue. The last digits must not move it.
        u = super().solve(v)
        u = u - self.ambient.solve(self.diagonal_of(u))
        return u - jnp.diag(jnp.diagonal(u))

    def log_det(self) -> Scalar:
        return self.ambient.log_det() + log_det_from(self.gram)
