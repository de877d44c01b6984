"""Diagnostics that need the model, against quadrature on the simplex."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import mmfld_ppl as mm
from examples.paper.exact import simplex_mean_matching, simplex_rule
from mmfld_ppl.functionals import OfMean, PathSpace, Pushforward, SinkhornBarycenter
from mmfld_ppl.inference_data import dataset, diagnose, to_inference_data
from mmfld_ppl.inference_data.chain_gap import gap
from mmfld_ppl.inference_data.mean_field import mean_field_statistics
from mmfld_ppl.inference_data.proximal import FrozenModel
from mmfld_ppl.inference_data.thinning import early_and_late, evenly
from mmfld_ppl.inference_data.transport import transport_statistics
from mmfld_ppl.latent import Problem, read_model
from tests.helpers import run
from tests.inference_data.models import ATOMS, mixed

Q = np.array([0.7, 0.2, 0.1])
#: More than the particles of which a Stein discrepancy is computed.
SIZE = 320


def matching(size: int, tau: float) -> None:
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
    F = OfMean(outer=lambda m: jnp.sum(jnp.square(m - jnp.asarray(Q, m.dtype))))
    mm.objective("F", F, x, temperature=tau)


def frozen(model, tau: float) -> FrozenModel:
    layout, maps, supports = read_model(model, (), {}, jax.random.key(0), {}, False)
    return FrozenModel(Problem(model, (), {}, layout), maps, supports, {}, tau)


def problem_of(model) -> Problem:
    return frozen(model, 1.0).problem


class Exact:
    """By quadrature, for a density p on the nodes: L above its minimum, and both sides of the
    entropy sandwich, tau KL(p | p*) and tau KL(p | p_hat)."""

    def __init__(self, alpha, tau: float) -> None:
        x, w = simplex_rule(0.0, 100)
        w = w / w.sum() / 2
        p = stats.dirichlet(alpha).pdf(x.T)
        log_p, mass = np.log(p), w * p
        m = mass @ x
        energy = 2 * x @ (m - Q) / tau
        log_z = np.log(w @ np.exp(-energy))
        self.bound = tau * (mass @ (log_p + energy) + log_z)
        # KL from the uniform law, of density 2.
        free_energy = np.sum((m - Q) ** 2) + tau * (mass @ log_p - np.log(2))
        star = simplex_mean_matching(Q, tau, 0.0)
        log_z_star = np.log(w @ np.exp(x @ star.theta))
        entropy = star.theta @ star.mean - log_z_star - np.log(2)
        self.gap = free_energy - np.sum((star.mean - Q) ** 2) - tau * entropy
        self.lower = tau * (mass @ (log_p - x @ star.theta) + log_z_star)


@pytest.mark.parametrize("tau", [0.3, 0.1, 0.02])
@pytest.mark.parametrize("alpha", [(4.0, 2.0, 1.5), (2.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_the_gap_tracks_the_true_one_within_a_factor_of_two(alpha, tau) -> None:
    size, blocks = 500, 8
    exact = Exact(alpha, tau)
    assert exact.lower < exact.gap < exact.bound
    model = frozen(partial(matching, size, tau), tau)
    x = {"x": jax.random.dirichlet(jax.random.key(1), jnp.array(alpha), (blocks, size))}
    _, tangent = model.linearize(x)
    walk = model.draw(tangent, x, 0.3, jax.random.key(2))
    assert walk.memory < 0.15
    found, divergence = gap(model, tangent, x, walk.blocks, 0.3, jax.random.key(3))
    # The walkers remember a little, and the sample has a mean of its own.
    error = 4 * tau * divergence.error + 0.1 * exact.bound
    assert abs(tau * divergence.value - exact.bound) < error
    assert found.value > 0.8 * exact.gap
    assert found.value < 2 * exact.gap
    of_gap = [v / exact.gap for v in (exact.lower, found.value, exact.bound)]
    print(f"gap {exact.gap / tau:.3f} tau; of it:", *(f"{v:.2f}" for v in of_gap))


@pytest.fixture(scope="module")
def good():
    model = partial(matching, SIZE, 0.1)
    mcmc = run(mm.MMFLD(model), warmup=300, draws=300, chains=2)
    return to_inference_data(mcmc, diagnostics=True)


def test_the_free_energy_of_a_run_is_that_of_the_minimiser(good) -> None:
    tau = 0.1
    star = simplex_mean_matching(Q, tau, 0.0)
    x, w = simplex_rule(0.0, 100)
    w = w / w.sum() / 2
    log_star = star.points @ star.theta - np.log(w @ np.exp(x @ star.theta))
    best = np.sum((star.mean - Q) ** 2) + tau * (star.weights @ log_star - np.log(2))
    along = dataset(good, "mean_field")
    assert along["free_energy"].dims == ("chain", "draw")
    assert along.sizes["draw"] == 100
    assert int(along["draw"][-1]) == 299
    np.testing.assert_allclose(
        along["free_energy"], along["objective"] + tau * along["divergence"], atol=1e-6
    )
    error = float(along["free_energy_error"].mean())
    # Finite N raises F by about a temperature over N; the entropy is biased by less than its error.
    assert abs(float(along["free_energy"].mean()) - best) < error + 2 * tau / SIZE
    stats = dataset(good, "sample_stats")["objective"]
    np.testing.assert_allclose(along["objective"], stats.sel(draw=along["draw"]), rtol=1e-5)


def test_a_good_run_is_at_its_fixed_point(good) -> None:
    found = dataset(good, "mean_field")
    assert set(found.data_vars) == {
        *("objective", "free_energy", "free_energy_error", "divergence"),
        *("optimality_gap", "optimality_gap_error", "proximal_memory"),
        *("proximal_divergence", "proximal_divergence_error"),
        *("stein_statistic", "stein_threshold", "stein_p_value", "stein_along"),
        *("first_variation_ratio", "first_variation_rounding"),
        *("size", "objective_by_size", "objective_by_size_error"),
        *("slack", "proximal_slack", "pile_up"),
    }
    assert np.all(np.abs(found["optimality_gap"]) < 4 * found["optimality_gap_error"])
    assert np.all(found["optimality_gap_error"] < 0.1 * 0.05)
    assert np.all(found["stein_p_value"] > 1e-3)
    along = found["stein_along"]
    assert along.dims == ("chain", "stein_draw") and along["stein_draw"].values[
        [0, -1]
    ].tolist() == [0, 299]
    # Two chains of about twenty draws: unbiased, and one in twenty is above the level.
    assert abs(float(along.mean())) < float(found["stein_threshold"].mean()) / 4
    assert float((along > found["stein_threshold"]).mean()) < 0.25
    np.testing.assert_allclose(found["first_variation_ratio"], 1, atol=0.02)
    assert found["slack"].dims == ("chain", "bounded_site", "quantile")
    assert np.all(found["pile_up"] < 0.03)


def test_a_model_with_globals_has_its_free_energy_only(mixed_run) -> None:
    idata = to_inference_data(mixed_run, diagnostics=True)
    found = dataset(idata, "mean_field")
    assert set(found.data_vars) == {"objective", "free_energy", "free_energy_error", "divergence"}
    (check,) = [c for c in diagnose(idata).checks if c.name == "fixed point"]
    assert check.verdict == "not checked"
    assert "The particles follow 'c' from draw to draw" in check.advice
    assert found.sizes == {"chain": 2, "draw": 20}
    assert np.all(np.isfinite(found["free_energy"]))


def test_another_kernel_and_a_site_without_boundary(cloud_run) -> None:
    found = dataset(to_inference_data(cloud_run, diagnostics=True), "mean_field")
    assert "slack" not in found
    assert np.all(np.isfinite(found["optimality_gap"]))
    assert found.attrs["num_particles"] == ATOMS


def test_sites_whose_names_are_alike_have_their_own_slack() -> None:
    def model() -> None:
        with mm.particles("atom", 40):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
            numpyro.sample("x_proximal", dist.Gamma(10.0, 0.1))
        mm.objective("F", OfMean(lambda m: m[0] ** 2), x, temperature=1.0)

    mcmc = run(mm.MMFLD(model), warmup=100, draws=20)
    found = dataset(to_inference_data(mcmc, diagnostics=True), "mean_field")
    assert found["bounded_site"].values.tolist() == ["x", "x_proximal"]
    for name in ("slack", "proximal_slack"):
        assert np.all(found[name].sel(bounded_site="x") <= 1 / 3)
        assert np.all(found[name].sel(bounded_site="x_proximal", quantile=0.5) > 50)


def test_a_functional_of_several_measures_has_their_free_energy() -> None:
    """Particles at exact draws of N(0, 1) at each of two times, far apart: KL to N(0, 5^2) is the
    mean over the times, not that of the mixture, and nothing is pooled over times."""
    size, shift = 400, 8.0
    path = PathSpace(
        [np.zeros((1, 1)), np.full((1, 1), shift)],
        [0.0, 1.0],
        diffusivity=1.0,
        bandwidth=1.0,
        regularization=1.0,
    )

    def model() -> None:
        with mm.particles("cell", 2 * size):
            x = numpyro.sample("x", dist.Normal(jnp.zeros(1), 5.0).to_event(1))
        mm.objective("F", 0.5 * path + 0.5 * path, x, temperature=1.0)

    start = np.random.default_rng(0).normal(size=(2 * size, 1))
    start[size:] += shift
    kernel = mm.MMFLD(model, step_size=1e-6, adapt_step_size=False, adapt_metric=False)
    idata = mm.to_inference_data(
        run(kernel, warmup=0, draws=3, chains=1, init_params={"x": jnp.asarray(start)}),
        diagnostics=True,
    )
    found = dataset(idata, "mean_field")
    each = [np.log(5) - 0.5 + (1 + m**2) / 50 for m in (0, shift)]
    np.testing.assert_allclose(found["divergence"], np.mean(each), atol=0.15)
    assert "optimality_gap" not in found and "transport_converged" in found
    checks = {c.name: c for c in mm.diagnose(idata).checks}
    assert checks["fixed point"].verdict == "not checked"
    assert "2 measures" in checks["fixed point"].advice


def test_globals_that_are_held_leave_a_measure() -> None:
    # The way out that `diagnose` names: sites of particles alone have all of the diagnostics.
    held = numpyro.handlers.condition(mixed, {"c": jnp.asarray(0.3)})
    for model, names in ((mixed, {"c"}), (held, set())):
        assert {s.name for s in problem_of(model).layout.block(particles=False)} == names


def test_how_the_transport_problems_were_solved() -> None:
    rng, weights = np.random.default_rng(0), jnp.array([0.3, 0.7])
    x = rng.uniform(size=(2, 3, 16, 2)).astype(np.float32)
    targets = [
        mm.Measure.uniform(jnp.asarray(rng.uniform(size=(n, 2)), jnp.float32)) for n in (5, 8)
    ]
    loss = SinkhornBarycenter(targets, weights, epsilon=0.01, max_iterations=1)

    def model():
        with mm.particles("atom", 16):
            x = numpyro.sample("x", dist.Uniform(0, 1).expand([2]).to_event(1))
        mm.objective("F", 2.0 * loss + (lambda mu: jnp.sum(mu.mean(mu.points) ** 2)), x)

    found = transport_statistics(problem_of(model), {"x": x})

    def image():
        with mm.particles("atom", 16):
            x = numpyro.sample("x", dist.Uniform(0, 1).expand([2]).to_event(1))
        mm.objective("F", Pushforward(loss, lambda x: x), x)

    for name, (_, values) in transport_statistics(problem_of(image), {"x": x}).items():
        np.testing.assert_allclose(values, found[name][1], rtol=1e-6)
    assert {name: dims for name, (dims, _) in found.items()} == dict.fromkeys(
        [f"transport_{n}" for n in ("marginal_error", "iterations", "converged")],
        ("chain", "transport"),
    )
    values = {name: np.asarray(v) for name, (_, v) in found.items()}
    assert values["transport_converged"].shape == (2, 2)
    assert not np.any(values["transport_converged"])
    # From the draw before, as a run solves it.
    first, last = (mm.Measure.uniform(jnp.asarray(x[1, t])) for t in (1, 2))
    report = loss.report(last, loss.linearize(first, loss.init_carry(first)).carry)
    np.testing.assert_allclose(
        values["transport_marginal_error"][1], report.marginal_error, rtol=1e-2, atol=1e-5
    )
    flat = np.full((2, 1, 8, 3), 1 / 3, np.float32)
    assert not transport_statistics(problem_of(partial(matching, 8, 0.1)), {"x": flat})


def test_what_has_no_measure(mixed_run) -> None:
    def ordinary():
        numpyro.sample("b", dist.Beta(2.0, 3.0))

    with pytest.raises(ValueError, match="need a model with mm.particles"):
        to_inference_data(run(mm.MMFLD(ordinary)), diagnostics=True)
    draws = mixed_run.get_samples(group_by_chain=True)
    one = jax.tree.map(lambda v: v[0, 0], draws)
    with pytest.raises(ValueError, match=r"no draws of \['x'\]"):
        mean_field_statistics(mixed_run, {n: draws[n] for n in ("c", "g")}, one, None)


def test_draws_are_spread_evenly_to_the_last() -> None:
    assert evenly(10, 3).tolist() == [0, 4, 9]
    assert evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(7, 1).tolist() == [6]
    assert evenly(7, 0).tolist() == [6]
    assert early_and_late(100, 8).tolist() == [0, 4, 21, 33, 66, 99]
    assert early_and_late(2, 20).tolist() == [0, 1]
