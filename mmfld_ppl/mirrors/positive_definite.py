"""Symmetric positive definite matrices: -log det with a quadratic tail."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from ..linalg import congruence, log_det_from, sum_entries, symmetric
from .base import (
    Event,
    MirrorMap,
    Moments,
    Observation,
    Scalar,
    Weighted,
    interpolate_scale,
)
from .half_line import barrier_root
from .half_line_arc import UNTAILED, tail_trust
from .log_det import (
    LogDetMetric,
    MinusLogDet,
    entry_variance,
    least_eigenvalue,
    negative_inverse,
)
from .log_det_step import cone_step
from .metric import Metric
from .spectral import SpectralMetric, eigen, from_eigen


class PositiveDefinite(MirrorMap):
    r"""phi(X) = -log det X + |X|_F^2 / (2 s^2) on symmetric positive definite matrices.

    Y = -X^-1 + X / s^2, whose inverse is that of `HalfLine` on eigenvalues. The quadratic makes
    the dual space all symmetric matrices, so that every dual point has a primal one. Dual vectors
    are classes modulo antisymmetric matrices. Self-concordant with M = 1, as -log det is (Nesterov
    and Nemirovskii 1994, proposition 5.4.5): the quadratic only adds to the metric. Attained where
    an eigenvalue tends to 0. Warm-up adapts s to the root mean square eigenvalue.

    A matrix of condition number k carries its small eigenvalues, and its dual point the large
    ones, to a relative accuracy of k times rounding."""

    self_concordance: ClassVar[float] = 1.0

    scale: Float[Array, ""]

    def potential(self, x: Event) -> Scalar:
        tail = 0.5 * sum_entries(jnp.square(x / self.scale))
        return tail - log_det_from(jnp.linalg.cholesky(x))

    def slack(self, x: Event) -> Scalar:
        return least_eigenvalue(x)

    def grad(self, x: Event) -> Event:
        return negative_inverse(x) + x / jnp.square(self.scale)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = eigen(y)
        return from_eigen(barrier_root(values, self.scale), vectors)

    def metric(self, x: Event) -> Metric:
        values, vectors = eigen(x)
        inverse_root = 1 / jnp.sqrt(values)
        barrier = inverse_root[:, None] * inverse_root
        return SpectralMetric(vectors, jnp.hypot(barrier, 1 / self.scale))

    def stepping(self) -> MirrorMap:
        """Without the quadratic, with which the symmetric step has no closed form."""
        return LogDet()

    def log_det_grad(self, x: Event) -> Event:
        # Through the eigenvalues by hand: derivatives of eigenvectors fail where two are equal.
        values, vectors = eigen(x)
        barrier = 1 / (values[:, None] * values)
        slopes = -barrier / values[:, None] / (barrier + 1 / jnp.square(self.scale))
        return from_eigen(jnp.sum(slopes, 1) + jnp.diagonal(slopes), vectors)

    def observe(self, x: Event) -> Observation:
        # Where all eigenvalues are s the quadratic halves the inverse Hessian. The present s must
        # not enter, since it is what adaptation replaces.
        return Observation(x, 0.5 * entry_variance(x))

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return Weighted(PositiveDefinite(jnp.full((), UNTAILED, dtype)), jnp.ones((), dtype))

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        if moments.variance is None:
            return self
        squares = jnp.square(moments.mean) + moments.variance
        rms = jnp.sqrt(sum_entries(squares) / squares.shape[0])
        return PositiveDefinite(interpolate_scale(self.scale, rms, tail_trust(trust)))

    @classmethod
    def with_unit_scale(cls, dtype: DTypeLike) -> PositiveDefinite:
        """s = 1."""
        return cls(jnp.ones((), dtype))


class LogDet(MinusLogDet):
    r"""phi(X) = -log det X on symmetric positive definite matrices, for symmetric steps.

    They reach every X' from any X, at the cost of a Cholesky factor and an eigendecomposition; of
    dual points only the negative definite have a primal one, so that `PositiveDefinite` is the
    default. Self-concordant with M = 1, see `MinusLogDet`."""

    def metric(self, x: Event) -> Metric:
        return LogDetMetric.at(x)

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        factor = jnp.linalg.cholesky(x)
        return cone_step(factor, congruence(factor.T, symmetric(momentum)))

    def log_det_grad(self, x: Event) -> Event:
        return (len(x) + 1) * negative_inverse(x)

    def observe(self, x: Event) -> Observation:
        # Half, so that weights mean what they do for `PositiveDefinite`.
        return Observation(x, 0.5 * entry_variance(x))
