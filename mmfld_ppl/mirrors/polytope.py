"""Polytopes with an interior: the logarithmic barrier of linear inequalities."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, PyTree

from .base import Event, MirrorMap, Scalar
from .linalg import log_det_from, matmul
from .metric import Metric


class Polytope(MirrorMap):
    r"""phi(x) = -sum_i log s_i,  s = bound - matrix x, on a bounded polytope of full dimension.

    y = A^T (1/s); the conjugate is a damped Newton method from the present point; G = B^T B for
    B = diag(1/s) A, so that the noise, one number an inequality, needs no factorisation.
    Self-concordant with M = 1, as a sum of logarithms (Nesterov and Nemirovskii 1994, proposition
    2.1.1); attained at a facet. Changing coordinates or scaling rows changes no step.

    lengths: Euclidean norms of the rows, which turn slacks into distances."""

    self_concordance: ClassVar[float] = 1.0

    matrix: Float[Array, "m d"]
    bound: Float[Array, " m"]
    lengths: Float[Array, " m"]

    @classmethod
    def of(cls, matrix: Float[Array, "m d"], bound: Float[Array, " m"]) -> Polytope:
        """{x : matrix x <= bound}."""
        return cls(matrix, bound, jnp.linalg.norm(matrix, axis=1))

    def _slacks(self, x: Event) -> Float[Array, " m"]:
        return self.bound - matmul(self.matrix, x)

    def potential(self, x: Event) -> Scalar:
        return -jnp.sum(jnp.log(self._slacks(x)))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(self._slacks(x) / self.lengths)

    def grad(self, x: Event) -> Event:
        return matmul(self.matrix.T, 1 / self._slacks(x))

    def metric(self, x: Event) -> Metric:
        return PolytopeMetric.of(self.matrix / self._slacks(x)[:, None])

    def log_det_grad(self, x: Event) -> Event:
        # The share of each inequality in G, a squared length in its own metric.
        slacks = self._slacks(x)
        rows = self.matrix / slacks[:, None]
        factor = jnp.linalg.qr(rows, mode="r")
        leverage = jnp.sum(jnp.square(jsl.solve_triangular(factor, rows.T, trans=1)), axis=0)
        return matmul(self.matrix.T, 2 * leverage / slacks)

    def noise_like(self, x: Event) -> PyTree:
        return jnp.zeros_like(x, shape=self.bound.shape)


class PolytopeMetric(Metric):
    """G = B^T B, with B = Q R. R comes from B itself: B^T B has the square of its condition
    number, and in float32 no Cholesky factor once a slack is a thousandth of the others."""

    rows: Float[Array, "m d"]
    factor: Float[Array, "d d"]

    @classmethod
    def of(cls, rows: Float[Array, "m d"]) -> PolytopeMetric:
        return cls(rows, jnp.linalg.qr(rows, mode="r"))

    def apply(self, u: Event) -> Event:
        return matmul(self.rows.T, matmul(self.rows, u))

    def solve(self, v: Event) -> Event:
        return jsl.solve_triangular(self.factor, self._whiten(v))

    def sqrt(self, noise: PyTree) -> Event:
        return matmul(self.rows.T, noise)

    def log_det(self) -> Scalar:
        return log_det_from(self.factor)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return jnp.sum(jnp.square(self._whiten(v)))

    def _whiten(self, v: Event) -> Event:
        return jsl.solve_triangular(self.factor, v, trans=1)
