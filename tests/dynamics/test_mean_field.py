"""The collective ratio: what it sees, what it must not, and the step that follows from it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.dynamics.mean_field import collective_ratio
from mmfld_ppl.functionals import MMD, EmpiricalRisk, OfMean, SinkhornBarycenter, kernels
from tests.helpers import run


def _dynamics(functional, h: float, temperature: float, **options) -> mm.dynamics.MeanFieldLangevin:
    field = mm.dynamics.FunctionalField(functional, lambda x: -jnp.sum(x**2) / 2)
    transition = mm.dynamics.Mirror(mm.mirrors.Euclidean())
    return mm.dynamics.MeanFieldLangevin(field, transition, h, temperature, **options)


def _ratios(dynamics: mm.dynamics.MeanFieldLangevin, start: jax.Array, steps: int) -> np.ndarray:
    def step(state, key):
        state, info = dynamics.step(key, state)
        return state, info.collective_ratio

    keys = jax.random.split(jax.random.key(1), steps)
    return np.asarray(jax.lax.scan(step, dynamics.init(start, keys[0]), keys)[1])


def test_rounding_alone_is_no_overshoot() -> None:
    """V of both measures differs by one unit of rounding, and its slopes too, at a million points
    with slopes that a step of any use has."""
    n, unit = 1_000_000, np.finfo(np.float32).eps
    for level in (1.0, 1e3, 1e9):
        corners = np.full((2, 2, n), level, np.float32)
        corners[0, 0, 0] = np.nextafter(np.float32(level), np.float32(np.inf))
        answers = np.full(n, 10 * unit**2, np.float32)
        assert 0 <= collective_ratio(jnp.asarray(answers), jnp.asarray(corners)) < 1e-3


def test_a_solver_that_goes_on_where_nothing_moved_is_no_answer() -> None:
    data = mm.Measure.uniform(jax.random.normal(jax.random.key(3), (40, 2)))
    dynamics = _dynamics(SinkhornBarycenter([data], epsilon=0.05), 0.3, 0.02)
    state = dynamics.init(jax.random.normal(jax.random.key(4), (2, 2)), jax.random.key(5))

    def step(state, key):
        new, info = dynamics.step(key, state)
        moved = jnp.any(new.particles != state.particles)
        return new, (moved, info.collective_ratio)

    keys = jax.random.split(jax.random.key(6), 500)
    moved, ratios = map(np.asarray, jax.lax.scan(step, state, keys)[1])
    assert 0 < np.sum(~moved)
    np.testing.assert_array_equal(ratios[~moved], 0)
    assert np.all(np.isfinite(ratios))


def test_values_that_are_not_finite_have_no_ratio() -> None:
    answers, corners = jnp.ones(3), jnp.ones((2, 2, 3))
    assert np.isnan(collective_ratio(answers, corners.at[1, 0, 0].set(jnp.inf)))
    assert np.isnan(collective_ratio(answers.at[0].set(jnp.nan), corners.at[0, 0, 0].set(2.0)))
    large = collective_ratio(answers, 1e30 * corners.at[0, 0, 0].set(2.0))
    assert 0 < large < 1e-20


def test_answers_below_zero_by_rounding_are_measured_as_others_are() -> None:
    corners = jnp.zeros((2, 2, 4)).at[0, 0].set(100.0)
    ratio = collective_ratio(jnp.full(4, -1e-3), corners)
    np.testing.assert_allclose(ratio, -1e-5, rtol=1e-3)


def test_nothing_that_answers_is_a_ratio_of_zero() -> None:
    linear = _dynamics(OfMean(lambda m: jnp.sum(m)), 0.1, 1.0)
    start = jax.random.normal(jax.random.key(0), (50, 2))
    np.testing.assert_array_equal(_ratios(linear, start, 20), 0)


@pytest.mark.parametrize("metropolize", [True, False])
def test_a_measure_that_is_refused_as_a_whole_stays_and_feels_the_next_temperature(
    metropolize,
) -> None:
    start = jax.random.normal(jax.random.key(0), (50, 1))

    def here_alone(mean: jax.Array) -> jax.Array:
        known = jnp.abs(mean - start.mean(axis=0)) < 1e-5
        return jnp.sum(jnp.where(known, mean, jnp.nan))

    options = {"metropolize": metropolize, "next_temperature": 0.01}
    dynamics = _dynamics(OfMean(here_alone), 0.1, 1.0, **options)
    state, info = dynamics.step(jax.random.key(2), dynamics.init(start, jax.random.key(3)))
    np.testing.assert_array_equal(state.particles, start)
    assert info.nonfinite == 50 and info.accept_prob == info.judged == 0
    # The slope of F's first variation is one, that of the base x.
    np.testing.assert_allclose(state.felt.slope, 1 / 0.01 + start, rtol=1e-5)


@pytest.mark.parametrize("metropolize", [True, False])
@pytest.mark.parametrize("next_temperature", [None, 0.3])
def test_it_is_the_share_that_the_drift_takes_back(x64, metropolize, next_temperature) -> None:
    """F = sum_j a_j m_j^2 of the mean m: mode j is corrected by c_j = 2 h a_j / temperature.
    That the temperature changes afterwards is no answer of the field."""
    h, temperature = 0.05, 0.5
    start = jax.random.normal(jax.random.key(0), (200, 2))
    options = {"metropolize": metropolize, "next_temperature": next_temperature}
    for curvature in ((1.0, 1.0), (0.5, 2.0), (-1.0, -1.0)):
        a = jnp.array(curvature)
        dynamics = _dynamics(OfMean(lambda m, a=a: jnp.sum(a * m**2)), h, temperature, **options)
        _, info = dynamics.step(jax.random.key(2), dynamics.init(start, jax.random.key(3)))
        low, high = np.sort(2 * h * np.asarray(a) / temperature)
        assert low - 1e-9 <= info.collective_ratio <= high + 1e-9


def test_the_ratio_of_some_particles_is_that_of_all(x64) -> None:
    start = jax.random.normal(jax.random.key(0), (2000, 1))
    dynamics = _dynamics(OfMean(lambda m: jnp.sum(m**2)), 0.05, 0.5)
    _, info = dynamics.step(jax.random.key(2), dynamics.init(start, jax.random.key(3)))
    np.testing.assert_allclose(info.collective_ratio, 2 * 0.05 / 0.5, rtol=1e-9)


def test_particles_do_not_change_ends_of_an_interval_together() -> None:
    """At a small temperature long steps take all particles from one end of their interval to the
    other and back, where the local norm of what moves them is next to nothing."""

    def model() -> None:
        with mm.particles("atom", 400):
            x = numpyro.sample("x", dist.Beta(2.0, 2.0))
        mm.objective("F", OfMean(lambda m: (m - 0.8) ** 2), x, temperature=1e-4)

    draws = run(mm.MMFLD(model), warmup=600, draws=200, chains=8).get_samples(group_by_chain=True)
    means = np.asarray(draws["x"], float).mean((1, 2))
    # The minimiser's mean is within tau of .8, and a mean of so few particles is off by less.
    np.testing.assert_allclose(means, 0.8, atol=0.01)


def test_minibatches_have_no_ratio() -> None:
    """Their noise would stand for an answer of the field."""
    data = jnp.linspace(-1, 1, 64)

    def model(batch_size) -> None:
        with mm.particles("atom", 20):
            x = numpyro.sample("x", dist.Normal(0, 1))
        F = EmpiricalRisk(
            lambda x, z: x * z, lambda f, z: (f - z) ** 2, data, batch_size=batch_size
        )
        mm.objective("F", F, x, temperature=0.1)

    kernel = mm.MMFLD(model, metropolize=False, step_size=0.01)
    states = {b: run(kernel, b, warmup=10, draws=60, chains=2) for b in (None, 8)}
    assert states[None].last_state.collective_ratio.shape == (2,)
    assert states[8].last_state.collective_ratio == ()
    idata = mm.to_inference_data(states[8])
    assert "r=" not in kernel.get_diagnostics_str(
        jax.tree.map(lambda x: x[0], states[8].last_state)
    )
    assert "collective" not in repr(mm.diagnose(idata))


@pytest.mark.parametrize("size", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_convex_objective_has_positive_ratios(size) -> None:
    """A kernel far narrower than the particles: no step of theirs is short on its scale, and the
    quotient is of the same order for many particles as for few."""
    data = mm.Measure.uniform(jax.random.normal(jax.random.key(5), (50, 1)))
    dynamics = _dynamics(MMD(data, kernels.Gaussian(0.5)), 0.05, 0.02)
    found = _ratios(dynamics, 2 * jax.random.normal(jax.random.key(6), (size, 1)), 100)
    assert np.all(found > 0) and np.quantile(found, 0.9) < 3 * np.median(found)


def test_a_constant_in_the_objective_changes_no_step() -> None:
    """In single precision F + 10,000 has noise of N / temperature times 1e-3, fifty in all."""
    target = jnp.array([0.5, 0.3, 0.2])

    def model(constant: float) -> None:
        with mm.particles("atom", 500):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        F = OfMean(outer=lambda m: constant + jnp.sum((m - target) ** 2))
        mm.objective("F", F, x, temperature=0.01)

    found = []
    for constant in (0.0, 1e4):
        mcmc = run(mm.MMFLD(model), constant, warmup=300, draws=50)
        found.append(np.mean(mcmc.get_extra_fields()["step_size"]))
    assert found[1] > found[0] / 1.5


@pytest.mark.parametrize(("size", "goal", "temperature"), [(200, 4.0, 2.0), (200, 2.0, 0.5)])
def test_the_mean_is_stable_where_the_base_balances_the_slope(size, goal, temperature) -> None:
    """F = (m - q)^2 under a standard normal base: the density exp(-N F / temperature) prod base of
    all particles gives the mean a variance of 1 / (N (1 + 2 / temperature)), and the dynamics one
    that is a fifth larger, without oscillations."""

    def model() -> None:
        with mm.particles("atom", size):
            x = numpyro.sample("x", dist.Normal(0, 1))
        mm.objective("F", OfMean(lambda m: (m - goal) ** 2), x, temperature=temperature)

    mcmc = run(mm.MMFLD(model), warmup=500, draws=1000, chains=4)
    mean = np.asarray(mcmc.get_samples(group_by_chain=True)["x"], float).mean(axis=2)
    off = mean - mean.mean(axis=1, keepdims=True)
    exact = 1 / (size * (1 + 2 / temperature))
    assert exact / 1.4 < np.mean(off**2) < 1.5 * exact
    assert np.mean(off[:, 1:] * off[:, :-1]) > 0.2 * np.mean(off**2)
