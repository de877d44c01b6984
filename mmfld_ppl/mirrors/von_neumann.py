"""Negative von Neumann entropy: the paper's map for the spectraplex, and for the whole cone.

Not self-concordant, for the reasons given in `entropy`. Points are kept as matrices, which carry
eigenvalues down to rounding times the largest only; a point with a smaller one is outside to
working precision, and its dual is NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..linalg import Matrix, sum_entries, symmetric
from .base import Event, MirrorMap, Scalar
from .log_det import least_eigenvalue
from .metric import Metric, RestrictedMetric
from .spectral import SpectralMetric, Spectrum, eigen, from_eigen


class VonNeumannPSD(MirrorMap):
    r"""phi(X) = tr(X log X - X) on symmetric positive definite matrices.

    Y = log X, X = exp Y. G has the divided differences of the logarithm in the eigenbasis of X.
    Dual vectors are classes modulo antisymmetric matrices."""

    def potential(self, x: Event) -> Scalar:
        values = jnp.linalg.eigvalsh(symmetric(x))
        return sum_entries(values * jnp.log(values) - values)

    def slack(self, x: Event) -> Scalar:
        return least_eigenvalue(x)

    def grad(self, x: Event) -> Event:
        values, vectors = eigen(x)
        return from_eigen(jnp.log(values), vectors)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = eigen(y)
        return from_eigen(jnp.exp(values), vectors)

    def metric(self, x: Event) -> Metric:
        values, vectors = eigen(x)
        return SpectralMetric(vectors, jnp.sqrt(log_differences(values)))


class VonNeumannSpectraplex(MirrorMap):
    r"""phi(X) = tr(X log X) on the symmetric positive definite matrices with tr X = 1.

    Y = log X up to a multiple of I, X = exp(Y) / tr exp(Y). Dual vectors are classes modulo
    multiples of I and antisymmetric matrices."""

    def potential(self, x: Event) -> Scalar:
        values = jnp.linalg.eigvalsh(symmetric(x))
        return sum_entries(values * jnp.log(values))

    def slack(self, x: Event) -> Scalar:
        return least_eigenvalue(x)

    def grad(self, x: Event) -> Event:
        values, vectors = eigen(x)
        return from_eigen(jnp.log(values), vectors)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        values, vectors = eigen(y)
        return from_eigen(jax.nn.softmax(values), vectors)

    def metric(self, x: Event) -> Metric:
        values, vectors = eigen(x)
        ambient = SpectralMetric(vectors, jnp.sqrt(log_differences(values)))
        # The divided difference at an eigenvalue l with itself is 1/l, so that G^-1 I = X.
        return RestrictedMetric(ambient, jnp.eye(x.shape[0], dtype=x.dtype), x)


def log_differences(values: Spectrum) -> Matrix:
    """(log a - log b) / (a - b) for all pairs of eigenvalues, 1/a where they coincide."""
    low = jnp.minimum(values[:, None], values)
    high = jnp.maximum(values[:, None], values)
    # log1p(t) / t is accurate for every t > 0, so that only t = 0 needs care.
    t = (high - low) / low
    apart = t > 0
    return jnp.where(apart, jnp.log1p(t) / jnp.where(apart, t, 1), 1) / low
