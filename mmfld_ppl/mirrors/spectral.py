"""Functions of the eigenvalues of a symmetric matrix, and their Hessians."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..linalg import Matrix, congruence, matmul, sum_entries, symmetric
from .base import Event, Scalar
from .metric import Metric

Spectrum = Float[Array, " n"]


def eigen(x: Event) -> tuple[Spectrum, Matrix]:
    """Eigenvalues, rising, and eigenvectors of the symmetric part.

    Eigenvalues are exact to eps |x|, so those below eps |x| have no correct digit."""
    values, vectors = jnp.linalg.eigh(symmetric(x))
    return values, vectors


def from_eigen(
    values: Float[Array, "*batch n"], vectors: Float[Array, "*batch n n"]
) -> Float[Array, "*batch n n"]:
    """U diag(values) U^T, symmetric to the last digit."""
    return symmetric(matmul(vectors * values[..., None, :], vectors.mT.conj()))


class SpectralMetric(Metric):
    """G[u] = U (root^2 * (U^T u U)) U^T on symmetric matrices, `*` entry by entry.

    The Hessian of tr f(X) at X = U diag(l) U^T has the divided differences
    root_ij^2 = (f'(l_i) - f'(l_j)) / (l_i - l_j). Dual vectors are classes modulo antisymmetric
    matrices. The root is the symmetric one, so that shared noise gives close steps at close
    points, whatever signs and order the eigenvectors come in."""

    vectors: Matrix
    root: Matrix

    def _conjugate(self, factor: Matrix, v: Event) -> Event:
        inside = congruence(self.vectors.T, symmetric(v))
        return congruence(self.vectors, factor * inside)

    def apply(self, u: Event) -> Event:
        return self._conjugate(jnp.square(self.root), u)

    def solve(self, v: Event) -> Event:
        return self._conjugate(1 / jnp.square(self.root), v)

    def sqrt(self, noise: Event) -> Event:
        return self._conjugate(self.root, noise)

    def log_det(self) -> Scalar:
        # Each pair i < j stands for one direction.
        logs = jnp.log(self.root)
        return sum_entries(logs) + jnp.trace(logs)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return sum_entries(jnp.square(congruence(self.vectors.T, symmetric(v)) / self.root))
