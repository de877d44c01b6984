"""Samplers with one mistake each: the comparisons of this folder must reject every one of them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from mmfld_ppl.dynamics import Langevin, Mirror, Move
from mmfld_ppl.trees import add

from .helpers import Comparison, assert_law, assert_rejected, compare_all
from .mean_field import CELLS, compare_moments, exact, exact_moments, run_dynamics, simplex

pytestmark = pytest.mark.optimised

STEP = 0.3


class HalfDeterminant(Mirror):
    """1/2 in place of 3/2 in the ratio: forgets that the target lives in dual coordinates too."""

    def advance(self, x, slope, noise, h):
        move = super().advance(x, slope, noise, h)
        return move._replace(log_forward=move.log_forward + self.map.metric(x).log_det())

    def log_backward(self, move, slope, h):
        return super().log_backward(move, slope, h) + self.map.metric(move.position).log_det()


class NoDeterminant(Mirror):
    """The Euclidean ratio: no determinant at all."""

    def advance(self, x, slope, noise, h):
        move = super().advance(x, slope, noise, h)
        return move._replace(log_forward=move.log_forward + 1.5 * self.map.metric(x).log_det())

    def log_backward(self, move, slope, h):
        shift = 1.5 * self.map.metric(move.position).log_det()
        return super().log_backward(move, slope, h) + shift


class EuclideanNoise(Mirror):
    """Noise of the identity, weighed as if it were that of the metric."""

    def advance(self, x, slope, noise, h):
        metric, y = self.map.metric(x), self.map.grad(x)
        y_new = add(add(y, slope, -h), noise, 3 * jnp.sqrt(2 * h))
        log_forward = -0.5 * metric.inverse_norm_sq(3 * noise) - 1.5 * metric.log_det()
        return Move(self.map.conjugate_grad(y_new, x), log_forward, y, y_new)


class ShortNoise(Mirror):
    """sqrt(h) in place of sqrt(2h)."""

    def advance(self, x, slope, noise, h):
        metric, y = self.map.metric(x), self.map.grad(x)
        kick = metric.sqrt(noise)
        y_new = add(add(y, slope, -h), kick, jnp.sqrt(h))
        log_forward = -0.5 * metric.inverse_norm_sq(kick) - 1.5 * metric.log_det()
        return Move(self.map.conjugate_grad(y_new, x), log_forward, y, y_new)


class StaleMetric(Mirror):
    """The backward density under the metric of the old point."""

    def log_backward(self, move, slope, h):
        metric = self.map.metric(self.map.conjugate_grad(move.dual, move.position))
        residual = add(add(move.dual, move.dual_position, -1), slope, h)
        return -metric.inverse_norm_sq(residual) / (4 * h) - 1.5 * metric.log_det()


class OneWayDrift(Mirror):
    """The backward move without its drift."""

    def log_backward(self, move, slope, h):
        still = jax.tree.map(jnp.zeros_like, slope)
        return super().log_backward(move, still, h)


class WrongSlope(Mirror):
    """A drift up the slope in the forward move only."""

    def advance(self, x, slope, noise, h):
        return super().advance(x, jax.tree.map(jnp.negative, slope), noise, h)


FAST = (HalfDeterminant, EuclideanNoise)
MUTANTS = (*FAST, NoDeterminant, ShortNoise, StaleMetric, OneWayDrift, WrongSlope)

A = np.array([1.5, 1.0, 3.0])


def _dirichlet(kind: Callable = Mirror, metropolize: bool = True) -> list[Comparison]:
    """Comparisons of a run on a Dirichlet target with its moments."""

    def potential(x, key):
        return -jnp.sum(jnp.asarray(A - 1, jnp.float32) * jnp.log(x)), ()

    langevin = Langevin(potential, kind(simplex()), STEP, metropolize=metropolize)

    def chain(key):
        keys = jax.random.split(key, 2501)
        state = langevin.init(jnp.full(3, 1 / 3), keys[0])
        _, x = jax.lax.scan(lambda s, k: (langevin.step(k, s)[0], s.position), state, keys[1:])
        return x[500:]

    x = np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), 64)))
    total = A.sum()
    return compare_all(
        {"x": x},
        {
            **{f"E x_{i + 1}": (lambda d, i=i: d["x"][..., i], A[i] / total) for i in range(3)},
            "E x_1 x_3": (
                lambda d: d["x"][..., 0] * d["x"][..., 2],
                A[0] * A[2] / (total * (total + 1)),
            ),
            "E log x_2": (lambda d: np.log(d["x"][..., 1]), digamma(A[1]) - digamma(total)),
        },
    )


def test_the_original_passes() -> None:
    assert_law(_dirichlet())


@pytest.mark.parametrize(
    "mutant",
    [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in MUTANTS],
)
def test_mutant_is_rejected(mutant: type[Mirror]) -> None:
    assert_rejected(_dirichlet(mutant))


@pytest.mark.slow
def test_leaving_out_the_adjustment_is_rejected() -> None:
    assert_rejected(_dirichlet(metropolize=False))


def _matching(kind: type[Mirror]) -> list[Comparison]:
    cell = CELLS[0]
    (run,) = run_dynamics(
        kind(simplex()), [(*cell, STEP)], particles=200, warmup=200, draws=400, chains=4
    )
    return compare_moments(kind.__name__, run["moments"], exact_moments(exact(*cell)))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", (HalfDeterminant, ShortNoise, StaleMetric))
def test_mutant_of_the_mean_field_dynamics_is_rejected(mutant: type[Mirror]) -> None:
    assert_rejected(_matching(mutant))
