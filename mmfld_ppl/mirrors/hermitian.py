"""-log det X on complex Hermitian positive definite matrices of trace one, as real arrays.

A point is M = Re X + Im X (see `constraints.hermitian`); so are dual points and noise. The
packing keeps inner products, so that a gradient in M is the packed gradient in X.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Complex

from ..constraints.hermitian import hermitian_spectraplex, to_complex, to_real
from .base import Event, MirrorMap, Scalar
from .linalg import log_det_from
from .metric import Metric, RestrictedMetric
from .registry import register
from .simplex import barrier_weights

ComplexMatrix = Complex[Array, "n n"]


def _matmul(a: ComplexMatrix, b: ComplexMatrix) -> ComplexMatrix:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _congruence(a: ComplexMatrix, b: ComplexMatrix) -> ComplexMatrix:
    """a b a^H."""
    return _matmul(a, _matmul(b, jnp.conj(a.T)))


def _inverse_lower(factor: ComplexMatrix) -> ComplexMatrix:
    return jsl.solve_triangular(factor, jnp.eye(len(factor), dtype=factor.dtype), lower=True)


class HermitianLogDetMetric(Metric):
    """G[u] = X^-1 u X^-1 on Hermitian matrices, X = L L^H.

    det G = det(X)^(-2n). S xi = L^-H xi L^-1."""

    factor: ComplexMatrix
    inverse_factor: ComplexMatrix

    @classmethod
    def at(cls, x: Event) -> HermitianLogDetMetric:
        """At a positive definite X; NaN at any other."""
        factor = jnp.linalg.cholesky(to_complex(x))
        return cls(factor, _inverse_lower(factor))

    def apply(self, u: Event) -> Event:
        inside = _congruence(self.inverse_factor, to_complex(u))
        return to_real(_congruence(jnp.conj(self.inverse_factor.T), inside))

    def solve(self, v: Event) -> Event:
        # Not X v X at once, for the reason given in `log_det`.
        inside = _congruence(jnp.conj(self.factor.T), to_complex(v))
        return to_real(_congruence(self.factor, inside))

    def sqrt(self, noise: Event) -> Event:
        return to_real(_congruence(jnp.conj(self.inverse_factor.T), to_complex(noise)))

    def log_det(self) -> Scalar:
        return -2 * len(self.factor) * log_det_from(self.factor)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return jnp.sum(jnp.square(to_real(_congruence(jnp.conj(self.factor.T), to_complex(v)))))


class HermitianSpectraplex(MirrorMap):
    r"""phi(M) = -log det X on the complex Hermitian positive definite X with tr X = 1.

    X = (nu I - Y)^-1 with the nu that makes the trace 1, as for `Spectraplex`. Dual vectors are
    classes modulo multiples of I. Self-concordant with M = 1 (Nesterov and Nemirovskii 1994,
    section 5.4)."""

    self_concordance: ClassVar[float] = 1.0

    def potential(self, x: Event) -> Scalar:
        return -log_det_from(jnp.linalg.cholesky(to_complex(x)))

    def restore(self, x: Event) -> Event:
        return x / jnp.trace(x)

    def slack(self, x: Event) -> Scalar:
        return jnp.linalg.eigvalsh(to_complex(x))[0]

    def grad(self, x: Event) -> Event:
        inverse = _inverse_lower(jnp.linalg.cholesky(to_complex(x)))
        return -to_real(_matmul(jnp.conj(inverse.T), inverse))

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = jnp.linalg.eigh(to_complex(y))
        shares = barrier_weights(values, jnp.ones_like(values))
        return to_real(_congruence(vectors, jnp.diag(shares).astype(vectors.dtype)))

    def metric(self, x: Event) -> Metric:
        X = to_complex(x)
        identity = jnp.eye(len(x), dtype=x.dtype)
        return RestrictedMetric(HermitianLogDetMetric.at(x), identity, to_real(_matmul(X, X)))


@register(type(hermitian_spectraplex))
def _hermitian_spectraplex(constraint, shape, dtype):
    return HermitianSpectraplex()
