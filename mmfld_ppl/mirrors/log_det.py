"""-log det X on symmetric positive definite matrices of trace one."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from ..linalg import Matrix, congruence, inverse_lower, log_det_from, matmul, sum_entries, symmetric
from .base import Event, MirrorMap, Observation, Scalar
from .log_det_step import slice_step
from .metric import Metric, RestrictedMetric
from .simplex import barrier_weights
from .spectral import eigen, from_eigen


class LogDetMetric(Metric):
    """G[u] = X^-1 u X^-1 on symmetric matrices, X = L L^T.

    det G = det(X)^-(n+1). S xi = L^-T xi L^-1 for a symmetrised xi."""

    factor: Matrix
    inverse_factor: Matrix

    @classmethod
    def at(cls, x: Event) -> LogDetMetric:
        """At a positive definite x; NaN at any other."""
        factor = jnp.linalg.cholesky(x)
        return cls(factor, inverse_lower(factor))

    def apply(self, u: Event) -> Event:
        return congruence(self.inverse_factor.T, congruence(self.inverse_factor, symmetric(u)))

    def solve(self, v: Event) -> Event:
        # Not X v X at once: its rounding errors would be as large across the nearest boundary as
        # along it, where far larger steps are small.
        return congruence(self.factor, congruence(self.factor.T, symmetric(v)))

    def sqrt(self, noise: Event) -> Event:
        return congruence(self.inverse_factor.T, symmetric(noise))

    def log_det(self) -> Scalar:
        return -(self.factor.shape[0] + 1) * log_det_from(self.factor)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return sum_entries(jnp.square(congruence(self.factor.T, symmetric(v))))


def negative_inverse(x: Event) -> Event:
    """-X^-1, the gradient of -log det, through the Cholesky factor of X."""
    inverse_factor = inverse_lower(jnp.linalg.cholesky(x))
    return -matmul(inverse_factor.T.conj(), inverse_factor)


def least_eigenvalue(x: Event) -> Scalar:
    """Distance to the boundary of the positive semidefinite cone, negative outside of it."""
    return jnp.linalg.eigvalsh(symmetric(x))[0]


def entry_variance(x: Event) -> Event:
    """Diagonal of the inverse Hessian of -log det, in entries: (X_ab^2 + X_aa X_bb) / 2."""
    diagonal = jnp.diagonal(x)
    return 0.5 * (jnp.square(x) + diagonal[:, None] * diagonal)


class MinusLogDet(MirrorMap):
    """What maps by phi(X) = -log det X share, on the cone or a slice of it.

    Self-concordant with M = 1, which restriction keeps (Nesterov and Nemirovskii 1994, proposition
    5.4.5); attained where an eigenvalue tends to 0."""

    self_concordance: ClassVar[float] = 1.0

    def potential(self, x: Event) -> Scalar:
        return -log_det_from(jnp.linalg.cholesky(x))

    def slack(self, x: Event) -> Scalar:
        return least_eigenvalue(x)

    def grad(self, x: Event) -> Event:
        return negative_inverse(x)


class Spectraplex(MinusLogDet):
    r"""phi(X) = -log det X on the symmetric positive definite matrices with tr X = 1.

    Y = -X^-1; X = (nu I - Y)^-1 with the nu that makes the trace 1, the root that `Simplex`
    solves for, on eigenvalues. Dual vectors are classes modulo multiples of I and antisymmetric
    matrices. Self-concordant with M = 1, see `MinusLogDet`.

    A matrix of condition number k carries its small eigenvalues, and its dual point the large
    ones, to a relative accuracy of k times rounding."""

    def restore(self, x: Event) -> Event:
        return x / jnp.trace(x)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = eigen(y)
        return from_eigen(barrier_weights(values, jnp.ones_like(values)), vectors)

    def metric(self, x: Event) -> Metric:
        identity = jnp.eye(x.shape[0], dtype=x.dtype)
        return RestrictedMetric(LogDetMetric.at(x), identity, matmul(x, x))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        factor = jnp.linalg.cholesky(x)
        moved, pushed = slice_step(factor, momentum, blocks=1)
        return self.restore(moved), pushed

    def log_det_grad(self, x: Event) -> Event:
        return (len(x) + 1) * negative_inverse(x) + 2 * x / sum_entries(jnp.square(x))

    def observe(self, x: Event) -> Observation:
        # The trace takes out the direction G^-1 I = X^2.
        square = matmul(x, x)
        fixed = jnp.square(square) / jnp.trace(square)
        return Observation(x, entry_variance(x) - fixed)
