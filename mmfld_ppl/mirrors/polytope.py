"""Polytopes with an interior: the logarithmic barrier of linear inequalities."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..linalg import log_det_from, matmul, sum_entries
from .base import Event, MirrorMap, Scalar
from .half_line import barrier_growth
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
        return -sum_entries(jnp.log(self._slacks(x)))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(self._slacks(x) / self.lengths)

    def grad(self, x: Event) -> Event:
        return matmul(self.matrix.T, 1 / self._slacks(x))

    def metric(self, x: Event) -> PolytopeMetric:
        return PolytopeMetric.of(self.matrix / self._slacks(x)[:, None])

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        # With the growth r_i = s'_i / s_i of the slacks and t_i = (r_i - 1/r_i) / 2:
        # p = -B^T t and p' = -B^T (t / r).
        metric = self.metric(x)
        stretch, move = _stretch(metric.orthonormal(), metric.whiten(momentum))
        pushed = -matmul(metric.rows.T, stretch / barrier_growth(stretch)[0])
        return x + jsl.solve_triangular(metric.factor, move), pushed

    def log_det_grad(self, x: Event) -> Event:
        # The share of each inequality in G, a squared length in its own metric.
        metric = self.metric(x)
        leverage = jnp.sum(jnp.square(metric.orthonormal()), axis=1)
        return matmul(metric.rows.T, 2 * leverage)

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
        return jsl.solve_triangular(self.factor, self.whiten(v))

    def sqrt(self, noise: PyTree) -> Event:
        return matmul(self.rows.T, noise)

    def log_det(self) -> Scalar:
        return log_det_from(self.factor)

    def inverse_norm_sq(self, v: Event) -> Scalar:
        return sum_entries(jnp.square(self.whiten(v)))

    def whiten(self, v: Event) -> Event:
        """R^-T v, whose length is that of v."""
        return jsl.solve_triangular(self.factor, v, trans=1)

    def orthonormal(self) -> Float[Array, "m d"]:
        """Q = B R^-1."""
        return jsl.solve_triangular(self.factor, self.rows.T, trans=1).T


class _Iterate(NamedTuple):
    stretch: Float[Array, " m"]
    move: Float[Array, " d"]
    change: Float[Array, ""]
    steps: Int[Array, ""]


def _stretch(
    orthonormal: Float[Array, "m d"], momentum: Float[Array, " d"], max_steps: int = 50
) -> tuple[Float[Array, " m"], Float[Array, " d"]]:
    """t and u with Q^T t = -p and r(t) = 1 - Q u, for the r of `barrier_growth`.

    Newton's method with r, not t, made linear: the slope of r is bounded and r is positive for
    every t, so that full steps do, of any length. Three or four of them at lengths that are
    accepted, and at most eighteen were found at fifteen times as much. Q^T diag(1/r') Q has the
    condition number of the growths alone, whatever that of the metric. NaN where `max_steps` do
    not suffice."""
    transposed = orthonormal.T
    tolerance = jnp.finfo(momentum.dtype).eps ** 0.4

    def unfinished(it: _Iterate) -> Bool[Array, ""]:
        return (it.change > tolerance) & (it.steps < max_steps)

    def iterate(it: _Iterate) -> _Iterate:
        t, root = it.stretch, jnp.hypot(jnp.ones_like(it.stretch), it.stretch)
        growth, _ = barrier_growth(t)
        slope = growth / root
        factor = jnp.linalg.cholesky(matmul(transposed, orthonormal / slope[:, None]))
        load = momentum + matmul(transposed, t + (1 - growth) / slope)
        move = jsl.cho_solve((factor, True), load)
        added = (1 - matmul(orthonormal, move) - growth) / slope
        return _Iterate(t + added, move, jnp.max(jnp.abs(added / root)), it.steps + 1)

    # The first step, from t = 0, needs no factor.
    change = jnp.full_like(momentum, jnp.inf, shape=())
    begin = _Iterate(-matmul(orthonormal, momentum), momentum, change, jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, iterate, begin)
    converged = end.change <= tolerance
    return end.stretch, jnp.where(converged, end.move, jnp.nan)
