"""What the paper's experiments are measured with, against closed forms and quadrature."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from examples.paper import ablations, simplex, spectraplex, tomography, xor_methods
from examples.paper.__main__ import EXPERIMENTS, THEORY
from examples.paper.compare import compare, verdicts
from examples.paper.exact import Rule, match_mean, simplex_mean_matching
from examples.paper.looks import LOOKS, look
from examples.paper.reference import (
    drawn_spectraplex_reference,
    simplex_reference,
    spectraplex_reference,
)
from examples.paper.runs import Part, SideBySide
from mmfld_ppl import Measure
from mmfld_ppl.dynamics import FunctionalField
from tests.models.test_tomography import bloch_rule

TAU, BETA = 0.05, 0.01


def test_weighted_draws_find_the_minimiser_on_the_simplex():
    """Of three coordinates, two of them in a group, which quadrature knows too."""
    drawn = simplex_reference((0.5, 0.25), (1, 2), TAU, BETA)
    exact = simplex_mean_matching((0.5, 0.25, 0.25), TAU, BETA)
    expected = np.array([exact.mean[0], np.sqrt(2) * exact.mean[1]])
    np.testing.assert_allclose(drawn.mean, expected, atol=2e-3)
    whole = simplex_reference((0.5, 0.25, 0.25), (1, 1, 1), TAU, BETA)
    np.testing.assert_allclose(whole.mean, exact.mean, rtol=1e-12)
    np.testing.assert_allclose(drawn.value, whole.value, atol=TAU * 0.02)


@pytest.mark.parametrize("complex_entries", [False, True])
def test_weighted_draws_of_matrices_find_the_minimiser(complex_entries):
    """Of size two, where quadrature knows it."""
    problem = (2, 0.9, 0.05, 2.0, complex_entries)
    drawn, exact = drawn_spectraplex_reference(*problem), spectraplex_reference(*problem)
    np.testing.assert_allclose(drawn.mean, exact.mean, atol=1e-3)
    np.testing.assert_allclose(drawn.value, exact.value, atol=0.05 * 0.003)


def test_quadrature_on_the_bloch_ball():
    """Against another rule, of all three coordinates: X_11 = (1 + r_z) / 2."""
    top, tau, gamma = 0.9, 0.05, 2.0
    points, weights = bloch_rule()
    y = np.stack([(1 + points[:, 2]) / 2, (1 - points[:, 2]) / 2], axis=-1)
    squares = (1 + np.sum(points**2, axis=1)) / 2
    expected = match_mean(
        Rule(y, weights), np.array([top, 1 - top]), 2 * tau, lambda _: squares / gamma
    )
    found = spectraplex_reference(2, top, tau, gamma, complex_entries=True)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-8)


def test_weighted_draws_integrate_the_uniform_law():
    """Of real matrices of size four, where the diagonal is Dirichlet(5/2)."""
    rule = spectraplex_reference(4, 0.5, 0.2, 2.0)
    weights = np.exp(rule.log_weights)
    error = np.sqrt(len(weights)) * weights.std()
    assert abs(weights.sum() - 1) < 5 * error
    assert abs(weights @ rule.features[:, 0] - 1 / 4) < 5 * error


def test_the_least_free_energy_is_that_of_the_tilted_law():
    """Zero at mu*; at another law of the family its free energy; nowhere negative."""
    reference = simplex_reference((0.5, 0.3, 0.2), (1, 1, 1), TAU, BETA)
    rng = np.random.default_rng(0)
    for shift in (np.zeros(4), rng.normal(size=4)):
        best = match_mean(
            Rule(reference.features[:, :3], np.exp(reference.log_weights)),
            np.array([0.5, 0.3, 0.2]),
            TAU,
            lambda _: BETA * reference.features[:, 3],
        )
        p = best.weights * np.exp(reference.features @ shift)
        p /= p.sum()
        averages = p @ reference.features
        objective = np.sum((averages[:3] - [0.5, 0.3, 0.2]) ** 2) + BETA * averages[3]
        divergence = np.sum(p * (np.log(p) - reference.log_weights))
        gap, found = reference.least_free_energy(np.array([objective]), averages[None])
        np.testing.assert_allclose(found, divergence, atol=1e-8)
        expected = objective + TAU * divergence - reference.value
        np.testing.assert_allclose(gap[0], expected, atol=1e-8)
        assert (expected > 1e-4) == bool(np.any(shift))


def test_ensembles_side_by_side_do_not_feel_one_another():
    problem = simplex.problem((1, 1, 1))
    parameters = {"target": jnp.array([0.5, 0.3, 0.2]), "beta": jnp.asarray(0.1)}
    functional = problem.functional(parameters)
    x = problem.base.sample(jax.random.key(0), (10,))
    key = jax.random.key(1)
    together = SideBySide(functional, jnp.asarray(4), 3, 10)
    frozen = together.linearize(x, None, key)
    variation, _ = together.potentials(frozen, x, key)
    alone = FunctionalField(functional)
    values = []
    for part in (slice(0, 4), slice(4, 8)):
        own = alone.linearize(x[part], None, key)
        values.append(own.value)
        expected, _ = alone.potentials(own, x[part], key)
        np.testing.assert_allclose(variation[part], expected, rtol=1e-5)
    np.testing.assert_allclose(frozen.value, np.mean(values), rtol=1e-5)
    np.testing.assert_allclose(functional(Measure.uniform(x[:4])), values[0], rtol=1e-5)


def test_a_part_moves_in_the_field_of_all():
    """One particle in three: those that stay count in the field, each in its own ensemble."""
    problem = simplex.problem((1, 1, 1))
    functional = problem.functional({"target": jnp.array([0.5, 0.3, 0.2]), "beta": 0.1})
    x, key = problem.base.sample(jax.random.key(0), (12,)), jax.random.key(1)
    whole = SideBySide(functional, jnp.asarray(6), 2, 12)
    part = Part(whole, x, jnp.asarray(1), 3)
    moved = problem.base.sample(jax.random.key(2), (4,))
    everyone = x.at[1::3].set(moved)
    np.testing.assert_array_equal(part.put(moved), everyone)
    frozen = part.linearize(moved, None, key)
    expected = whole.linearize(everyone, None, key)
    np.testing.assert_allclose(frozen.value, expected.value)
    own, _ = part.potentials(frozen, moved, key)
    np.testing.assert_allclose(own, whole.potentials(expected, everyone, key)[0][1::3])


def test_the_comparison_reaches_the_minimiser():
    """The minimiser is reached up to the error of N."""
    problem, cells = simplex.problem((1, 1, 1)), simplex.cells(["q=(.5, .3, .2)"])[1:2]
    several = simplex.candidates(problem.base, None)[:1]
    arguments = SimpleNamespace(particles=[64, 128], seeds=10, seed=0, methods=None)
    data = compare(problem, cells, several, arguments, 200)
    assert data["gap"].dims == ("method", "cell", "particles", "replicate")
    assert data["setting"].item() in ("adjusted", "burn-in")
    gap = data["gap"].mean("replicate") / cells[0].temperature
    adjusted = gap.sel({"method": simplex.CHAMPION}).isel(cell=0)
    # Two degrees of freedom of the mean, of which the functional damps some.
    assert 0 < adjusted.sel(particles=64) < 4 / 64
    assert 0 < adjusted.sel(particles=128) < 4 / 128
    assert np.all(data["edge"] < 0.05)


def test_verdicts():
    gap = np.array([[[[1.0, 1.1, 0.9]]], [[[0.5, 0.6, 0.4]]], [[[1.0, 3.0, 0.5]]]])
    data = xr.Dataset(
        {"gap": (("method", "cell", "particles", "replicate"), gap)},
        {"method": ["ours", "better", "wide"], "cell": ["c"], "particles": [8]},
    ).assign(temperature=("cell", [1.0]))
    won, lost = verdicts(data, "ours")
    assert won == 0 and len(lost) == 1 and "'better' is lower by 500.00" in lost[0]
    assert verdicts(data, "better") == (1, [])


@pytest.mark.slow
@pytest.mark.unoptimised
@pytest.mark.parametrize("name", sorted(set(EXPERIMENTS) - set(THEORY)))
def test_the_quick_versions_run(tmp_path, name, capsys):
    program = importlib.import_module(f"examples.paper.{name}")
    program.main(["--quick", "--out", str(tmp_path)])
    assert {path.suffix for path in tmp_path.iterdir()} == {".nc", ".png"}
    assert capsys.readouterr().out


def test_linear_inversion_of_exact_frequencies():
    settings, _, state = tomography.simulate(np.random.default_rng(0), 1)
    operators = np.stack([tomography.pauli_measurement(s) for s in settings])
    exact = np.einsum("skij,ji->sk", operators, state).real
    np.testing.assert_allclose(tomography.linear_inversion(operators, exact), state, atol=1e-8)
    # A pure state cos(a)|00> + sin(a)|11> has concurrence sin(2a); mixing it lowers that.
    pure = np.array([np.cos(0.4), 0, 0, np.sin(0.4)])
    np.testing.assert_allclose(
        tomography.concurrence(np.outer(pure, pure)[None].astype(complex)), np.sin(0.8), atol=1e-7
    )


def test_every_method_that_is_drawn_has_a_look_of_its_own():
    simplices, matrices = simplex.problem((1, 1, 1)).base, spectraplex.problem(2).base
    minibatches = [f"{size} of {ablations.ROWS}" for size in ablations.BATCHES]
    figures = [
        [c.name for c in simplex.candidates(simplices, 2)],
        [c.name for c in spectraplex.candidates(matrices, 2)],
        [c.name for c in xor_methods.candidates()],
        [c.name for c in ablations.candidates()],
        [*minibatches, "all"],
    ]
    for names in figures:
        assert len({LOOKS[name] for name in names}) == len(names)
    assert look("one step, log det")["color"] == look("one step, log barrier")["color"]
