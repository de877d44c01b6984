"""-log det X on complex Hermitian positive definite matrices of trace one, as real arrays.

A point is M = Re X + Im X (see `constraints.hermitian`); so are dual points and noise. The
packing keeps inner products, so that a gradient in M is the packed gradient in X.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Complex

from ..constraints.hermitian import to_complex, to_real
from ..linalg import congruence, inverse_lower, log_det_from, matmul, sum_entries
from .base import Event, MirrorMap, Observation, Scalar
from .log_det import least_eigenvalue, negative_inverse
from .log_det_step import slice_step
from .metric import Metric, RestrictedMetric
from .simplex import barrier_weights
from .spectral import eigen, from_eigen

ComplexMatrix = Complex[Array, "n n"]


class HermitianLogDetMetric(Metric):
    """G[u] = X^-1 u X^-1 on Hermitian matrices, X = L L^H.

    det G = det(X)^(-2n). S xi = L^-H xi L^-1."""

    factor: ComplexMatrix
    inverse_factor: ComplexMatrix

    @classmethod
    def at(cls, x: Event) -> HermitianLogDetMetric:
        """At a positive definite X; NaN at any other."""
        factor = jnp.linalg.cholesky(to_complex(x))
        return cls(factor, inverse_lower(factor))

    def apply(self, u: Event) -> Event:
        inside = congruence(self.inverse_factor, to_complex(u))
        return to_real(congruence(jnp.conj(self.inverse_factor.T), inside))

    def solve(self, v: Event) -> Event:
        # Not X v X at once, for the reason given in `log_det`.
        inside = congruence(jnp.conj(self.factor.T), to_complex(v))
        return to_real(congruence(self.factor, inside))

    def sqrt(self, noise: Event) -> Event:
        return to_real(congruence(jnp.conj(self.inverse_factor.T), to_complex(noise)))

    def log_det(self) -> Scalar:
        return -2 * len(self.factor) * log_det_from(self.factor)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return sum_entries(jnp.square(to_real(congruence(jnp.conj(self.factor.T), to_complex(v)))))


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
        return least_eigenvalue(to_complex(x))

    def grad(self, x: Event) -> Event:
        return to_real(negative_inverse(to_complex(x)))

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = eigen(to_complex(y))
        return to_real(from_eigen(barrier_weights(values, jnp.ones_like(values)), vectors))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        factor = jnp.linalg.cholesky(to_complex(x))
        moved, pushed = slice_step(factor, to_complex(momentum), blocks=1)
        return self.restore(to_real(moved)), to_real(pushed)

    def log_det_grad(self, x: Event) -> Event:
        return 2 * len(x) * self.grad(x) + 2 * x / sum_entries(jnp.square(x))

    def observe(self, x: Event) -> Observation:
        # <H, X H X> = M_aa M_bb + (M_ab^2 - M_ba^2) / 2 for the H that the entry M_ab stands for;
        # the trace takes out the direction G^-1 I = X^2.
        diagonal, squares, X = jnp.diagonal(x), jnp.square(x), to_complex(x)
        variance = diagonal[:, None] * diagonal + 0.5 * (squares - squares.T)
        lifted = to_real(matmul(X, X))
        return Observation(x, variance - jnp.square(lifted) / jnp.trace(lifted))

    def metric(self, x: Event) -> Metric:
        X = to_complex(x)
        identity = jnp.eye(len(x), dtype=x.dtype)
        return RestrictedMetric(HermitianLogDetMetric.at(x), identity, to_real(matmul(X, X)))
