"""The oracles behind the page on the paper's theorems, and its commands."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from examples.paper.__main__ import THEORY
from examples.paper.exact import Solution, finite_particle_bias
from examples.paper.theory.escape import barrier, entropy, escape_rate
from examples.paper.theory.euler import step_law
from examples.paper.theory.flow import Grid, noise_response, rates
from examples.paper.theory.gibbs import bounds, particle_law
from examples.paper.theory.matching import (
    BARRIER,
    ENTROPY,
    Matching,
    log_sobolev_bound,
    minimiser,
    nodes_of,
)

#: A tilt so weak that the law is uniform.
FLAT = Matching(target=0.5, temperature=1e6)
MATCHING = Matching(target=0.8, temperature=0.2, repulsion=0.01)


def least_energy(matching: Matching) -> float:
    """L(mu*), from mu* and its definition."""
    exact = minimiser(matching)
    x, w = nodes_of(matching)
    log_mass = np.log(w @ np.exp(exact.theta * x))
    own = matching.temperature * (exact.theta * exact.mean - log_mass)
    return (exact.mean - matching.target) ** 2 + own


def test_the_law_of_one_and_of_two_particles():
    """Against sums over all their positions."""
    x, w = nodes_of(MATCHING, order=200)
    exact, tau, q = minimiser(MATCHING), MATCHING.temperature, MATCHING.target
    for size, means, weights in (
        (1, x, w),
        (2, (x[:, None] + x) / 2, np.outer(w, w)),
    ):
        joint = weights * np.exp(-size / tau * (means - q) ** 2)
        mean = np.sum(joint * means) / joint.sum()
        law = particle_law(MATCHING, size)
        energy = -tau / size * np.log(joint.sum()) - least_energy(MATCHING)
        np.testing.assert_allclose(law.free_energy, energy, atol=1e-10)
        np.testing.assert_allclose(law.mean, mean - exact.mean, atol=1e-10)
        spread = np.sum(joint * (means - mean) ** 2) / joint.sum()
        np.testing.assert_allclose(law.variance, spread, atol=1e-10)


def test_many_particles_are_as_the_expansion_has_them():
    exact, N = minimiser(MATCHING), 100_000
    law, coefficients = particle_law(MATCHING, N), bounds(MATCHING)
    solution = Solution(exact.nodes[:, None], exact.weights, np.array([exact.theta]))
    expected = finite_particle_bias(solution, MATCHING.temperature)
    np.testing.assert_allclose(N * law.mean, expected[0], rtol=1e-3)
    np.testing.assert_allclose(N * law.free_energy, coefficients.limit, rtol=1e-3)
    assert coefficients.limit < coefficients.variance < coefficients.theorem


def test_constants_of_the_uniform_law():
    """Under the entropy map its generator is that of the Legendre polynomials, of gap 2, which is
    also its log-Sobolev constant; under the log barrier its tails are exponential in the metric."""
    np.testing.assert_allclose(log_sobolev_bound(ENTROPY, FLAT), 2, rtol=1e-3)
    np.testing.assert_allclose(rates(ENTROPY, FLAT, 200), 2, rtol=1e-3)
    assert log_sobolev_bound(BARRIER, FLAT) == 0


@pytest.mark.parametrize("geometry", [ENTROPY, BARRIER], ids=lambda g: g.name)
def test_the_flow_falls_at_least_as_fast_as_the_bound(geometry):
    matching = Matching(repulsion=0.06 if geometry is BARRIER else 0.0)
    grid = Grid(geometry, matching, 400)
    best = grid.minimiser()
    np.testing.assert_allclose(best @ grid.x, minimiser(matching).mean, rtol=1e-3)
    times = np.linspace(0, 2, 21)
    flow = grid.run(grid.point(0.1), times, 0.01)
    np.testing.assert_allclose(flow.sum(axis=1), 1, rtol=1e-9)
    gap = np.array([grid.free_energy(p) for p in flow]) - grid.free_energy(best)
    seen = -np.diff(np.log(gap)) / np.diff(times)
    bound, own = log_sobolev_bound(geometry, matching), rates(geometry, matching, 400)
    # The constant is at most the gap of any of the laws it is for.
    assert 0 < bound < own.frozen < own.coupled
    assert seen.min() > 2 * bound
    # The eigenvalue, less what an implicit Euler step takes off it at most.
    assert 2 * np.log1p(0.01 * own.coupled) / 0.01 < seen[-1] < 2.001 * own.coupled


def test_far_starts_are_slow_under_the_barrier_alone():
    grid = Grid(BARRIER, Matching(), 600)
    least = grid.free_energy(grid.minimiser())
    slowest = []
    for distance in (1e-2, 1e-8):
        flow = grid.run(grid.point(distance), np.linspace(0, 1, 6), 0.02)
        gap = np.array([grid.free_energy(p) for p in flow]) - least
        slowest.append(np.min(-np.diff(np.log(gap)) / 0.2))
    assert slowest[1] < slowest[0] / 4


def test_the_bias_of_a_step_is_of_first_order_in_means_and_second_in_energy():
    whole, half = (step_law(BARRIER, Matching(), h, 500) for h in (0.025, 0.0125))
    for name, ratio in (("mean", 2), ("distance", 2), ("energy", 4)):
        found = getattr(whole, name) / getattr(half, name)
        np.testing.assert_allclose(found, ratio, rtol=0.2)


def test_particles_escape_under_the_entropy_map_alone():
    rng = np.random.default_rng(0)
    flat, error = escape_rate(entropy(0.0), 0.05, 1.0, 4000, rng)
    assert flat > 10 * error
    assert escape_rate(barrier(0.0, 0.0), 0.05, 1.0, 4000, rng)[0] == 0
    # Repulsion is too steep for a step that begins near the end.
    assert escape_rate(barrier(0.0, 0.2), 0.05, 1.0, 100, rng, start=0.003)[0] == np.inf


def test_noise_moves_the_mean_as_a_constant_push_would():
    """The response to white noise, against the mean's answer over time to a brief tilt."""
    matching, dt, push = Matching(repulsion=0.06), 5e-3, 1e-3
    grid = Grid(BARRIER, matching, 300)
    pushed = Grid(BARRIER, matching._replace(target=matching.target + push), 300)
    best = grid.minimiser()
    p, answers = pushed.advance(best, dt), []
    for _ in range(600):
        answers.append(p @ grid.x - best @ grid.x)
        p = grid.advance(p, dt)
    unit = 2 / matching.temperature * push * dt
    found = np.sum(np.square(np.array(answers) / unit)) * dt
    np.testing.assert_allclose(found, noise_response(BARRIER, matching, 300), rtol=0.03)


@pytest.mark.slow
@pytest.mark.unoptimised
@pytest.mark.parametrize("name", THEORY)
def test_a_command_runs(name, tmp_path, capsys):
    module = importlib.import_module(f"examples.paper.theory.{name}")
    module.main(["--quick", "--out", str(tmp_path)])
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".nc", ".png"]
    assert "nan" not in capsys.readouterr().out
