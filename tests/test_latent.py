"""From models to what is moved: supports, charts, plates, scans, handlers, minibatches."""

from __future__ import annotations

import functools
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.diagnostics import effective_sample_size
from numpyro.infer.reparam import LocScaleReparam

import mmfld_ppl as mm
from mmfld_ppl.functionals import OfMean
from tests import small_models as models
from tests.helpers import (  # noqa: F401
    KEY,
    check_energy,
    run,
    same,
    start,
    steps,
    z_score,
)


def chain_of_rates(length=4):
    """A random walk of positive values, each bounded by the last, and weights at each time."""
    top = numpyro.sample("top", dist.Gamma(3.0, 1.0))

    def step(level, _):
        level = numpyro.sample("level", dist.Uniform(0.0, 2 * level))
        numpyro.sample("mix", dist.Dirichlet(jnp.ones(2)))
        numpyro.deterministic("half", level / 2)
        return level, None

    scan(step, top, jnp.arange(length))


def particles_in_a_scan(size=3, length=4):
    plate = mm.particles("atom", size)
    with plate:
        first = numpyro.sample("first", dist.Gamma(3.0, 1.0))

    def step(level, _):
        with plate:
            level = numpyro.sample("level", dist.LogNormal(jnp.log(level), 0.5))
        return level, level

    _, levels = scan(step, first, jnp.arange(length))
    mm.objective("F", models.moments({"path": jnp.ones(length)}), {"path": levels.T})


def grid(size=4):
    """Plates on either side of the particles', and events of several ranks."""
    with numpyro.plate("kind", 3, dim=-2), mm.particles("atom", size, dim=-1) as _:
        a = numpyro.sample("a", dist.Gamma(2.0, 1.0))
        b = numpyro.sample("b", dist.Dirichlet(jnp.ones(2)))
        high = jnp.array([1.0, 2.0])
        c = numpyro.sample("c", dist.Uniform(jnp.zeros(2), high).to_event(1))
    points = {"a": a.T, "b": jnp.moveaxis(b, 1, 0), "c": jnp.moveaxis(c, 1, 0)}
    target = {"a": jnp.ones(3), "b": jnp.full((3, 2), 0.5), "c": jnp.ones((3, 2))}
    mm.objective("F", models.moments(target), points)


def columns(size=4):
    """A plate to the right of the particles', so that they are not the last axis."""
    with mm.particles("atom", size, dim=-2), numpyro.plate("kind", 3, dim=-1):
        a = numpyro.sample("a", dist.Uniform(0.0, jnp.array([1.0, 2.0, 3.0])))
    mm.objective("F", models.moments({"a": jnp.full(3, 0.7)}), {"a": a})


def intervals(size=1):
    """A support that depends on another variable of the same particle."""
    with mm.particles("atom", size):
        low = numpyro.sample("low", dist.Normal(0.0, 1.0))
        high = numpyro.sample("high", dist.TruncatedNormal(low, 1.0, low=low))
    mm.objective("F", models.moments({"width": 2.0}), {"width": high - low})


def charted():
    """Supports without a mirror map."""
    numpyro.sample("L", dist.LKJCholesky(3))
    with numpyro.plate("two", 2):
        numpyro.sample("angle", dist.VonMises(0.5, 2.0))


@pytest.mark.parametrize(
    "model",
    [
        charted,
        models.bounded,
        models.centred_cloud,
        chain_of_rates,
        particles_in_a_scan,
        grid,
        columns,
        intervals,
        functools.partial(intervals, size=3),
    ],
    ids=lambda m: getattr(m, "__name__", "several intervals"),
)
def test_draws_stay_inside_and_carry_their_density(model):
    kernel = mm.MMFLD(model)
    first, last, draws = steps(kernel, 60)
    check_energy(first, model)
    check_energy(last, model)
    assert not jnp.any(draws.diverging) or jnp.mean(draws.diverging) < 0.5
    z = draws.z
    assert len(np.unique(z[next(iter(z))])) > 10
    if model is models.bounded:
        assert np.all((z["part"] > 0) & (z["part"] < z["top"][:, None]))
        assert np.all(z["low"] < z["top"])
    if model is models.centred_cloud:
        assert np.all((z["x"] > 0) & (z["x"] < z["reach"][:, None]))
    if model is chain_of_rates:
        bounds = np.concatenate([z["top"][:, None], z["level"][:, :-1]], 1)
        assert np.all((z["level"] > 0) & (z["level"] < 2 * bounds))
        np.testing.assert_allclose(z["mix"].sum(-1), 1, rtol=1e-5)
        np.testing.assert_array_equal(z.deterministics["half"], z["level"] / 2)
    if model is grid:
        assert z["a"].shape == (60, 3, 4) and z["b"].shape == (60, 3, 4, 2)
        assert first.particles.particles["b"].shape == (4, 3, 2)
        assert np.all((z["c"] > 0) & (z["c"] < jnp.array([1.0, 2.0])))
        assert np.max(z["c"]) > 1
    if model is charted:
        np.testing.assert_allclose(np.sum(z["L"] ** 2, -1), 1, rtol=1e-4)
        assert np.all(np.abs(z["angle"]) <= np.pi)
        assert "unconstrained chart" in kernel.describe()
    if "high" in z:
        assert np.all(z["low"] < z["high"])
    if model is columns:
        assert np.all((z["a"] > 0) & (z["a"] < jnp.array([1.0, 2.0, 3.0])))
        assert np.max(z["a"][..., 2]) > 2


def test_supports_that_depend_on_others_are_sampled_exactly():
    z = run(mm.MMFLD(models.bounded), warmup=300, draws=400, chains=100).get_samples(True)
    assert abs(z_score(z["top"], 1.5)) < 4.5
    assert abs(z_score(z["top"] ** 2, 3.0)) < 4.5
    assert abs(z_score(z["part"][..., 1] / z["top"], 0.5)) < 4.5
    assert abs(z_score((z["part"][..., 0] / z["top"]) ** 2, 1 / 3)) < 4.5
    upper = dist.Normal().cdf(z["low"]) / dist.Normal().cdf(z["top"])
    assert abs(z_score(upper, 0.5)) < 4.5


def test_a_scan_is_sampled_exactly():
    z = run(mm.MMFLD(chain_of_rates), warmup=300, draws=400, chains=100).get_samples(True)
    before = jnp.concatenate([z["top"][..., None], z["level"][..., :-1]], -1)
    share = z["level"] / (2 * before)
    assert abs(z_score(z["top"], 3.0)) < 4.5
    for t in range(4):
        assert abs(z_score(share[..., t], 0.5)) < 4.5
        assert abs(z_score(share[..., t] ** 2, 1 / 3)) < 4.5
        assert abs(z_score(z["mix"][..., t, 0] ** 2, 1 / 3)) < 4.5


@pytest.mark.parametrize("plate", [False, True])
def test_a_chart_of_fewer_axes_in_a_scan(plate):
    """A correlation matrix a step, whose chart is a vector: each has a Jacobian of its own."""

    def model():
        def step(carry, _):
            with numpyro.plate("pair", 2) if plate else nullcontext():
                numpyro.sample("L", dist.LKJCholesky(2, 1.0))
            return carry, None

        scan(step, 0.0, jnp.arange(3))

    z = run(mm.MMFLD(model), warmup=200, draws=200, chains=100).get_samples(True)
    square = z["L"][..., 1, 0] ** 2
    square = square.mean(-1) if plate else square
    for t in range(3):
        assert abs(z_score(square[..., t], 1 / 3)) < 4.5


@pytest.mark.parametrize("rows", [None, 6])
def test_a_chart_of_fewer_axes_among_particles(rows):
    """Also beside a plate as large as theirs, whose rows were taken for particles (E r^2 = .14)."""

    def model():
        plate = nullcontext() if rows is None else numpyro.plate("row", rows, dim=-2)
        with plate, mm.particles("atom", 6, dim=-1):
            L = numpyro.sample("L", dist.LKJCholesky(2, 6.0))
        points = L if rows is None else jnp.moveaxis(L, 1, 0)
        F = OfMean(potential=lambda x: 0.0 * jnp.sum(x))
        mm.objective("F", F, points, temperature=1.0)

    mcmc = run(mm.MMFLD(model), warmup=500, draws=1000, chains=4)
    square = np.asarray(mcmc.get_samples(group_by_chain=True)["L"])[..., 1, 0] ** 2
    means = square.reshape(4, 1000, -1).mean(-1)
    error = means.std() / np.sqrt(effective_sample_size(means))
    assert abs(means.mean() - 1 / 13) < 4.5 * error


def shifted(seen=0.5):
    """A non-centred normal, particles around it, and an observation."""
    centre = numpyro.sample("centre", dist.Normal(0.0, 2.0))
    reach = numpyro.sample("reach", dist.Gamma(4.0, 2.0))
    with mm.particles("atom", 4):
        x = numpyro.sample("x", dist.Uniform(0.0, reach))
    numpyro.sample("seen", dist.Normal(centre, 1.0), obs=seen)
    mm.objective("F", models.moments({"x": 1.0}), {"x": x}, temperature=0.5)


HANDLED = {
    "scope": handlers.scope(shifted, prefix="here"),
    "condition": handlers.condition(shifted, {"centre": 0.3}),
    "scale": handlers.scale(shifted, scale=3.0),
    "mask": handlers.block(
        handlers.mask(shifted, mask=jnp.array(True)), hide_fn=lambda m: m["name"] == "F"
    ),
    "block": handlers.block(shifted, hide=["F"]),
    "reparam": handlers.reparam(shifted, config={"centre": LocScaleReparam(0)}),
}


@pytest.mark.parametrize("name", HANDLED)
def test_handlers_around_a_model(name):
    model = HANDLED[name]
    state = start(mm.MMFLD(model))
    check_energy(state, model)
    expected = {
        "scope": {"here/centre", "here/reach", "here/x"},
        "condition": {"reach", "x"},
        "reparam": {"centre_decentered", "reach", "x"},
    }
    assert set(state.z) == expected.get(name, {"centre", "reach", "x"})
    assert bool(state.particles) == (name not in ("block", "mask"))
    if name == "reparam":
        assert set(state.z.deterministics) == {"centre"}
    if name == "scale":
        # The law of the coordinates has the Jacobian of x = reach * t, once whatever the scale.
        expected = state.potential_energy - 4 * jnp.log(state.z["reach"])
        np.testing.assert_allclose(state.globals_.energy, expected, rtol=1e-4)


def test_a_scaled_objective_is_felt_as_such():
    scaled = mm.MMFLD(handlers.scale(models.pull, scale=4.0), metropolize=False)
    plain = mm.MMFLD(models.pull, metropolize=False)
    x = {"x": jnp.linspace(-1.0, 2.0, 5)}
    slopes = [start(k, init_params=x).particles.felt.slope["x"] for k in (scaled, plain)]
    np.testing.assert_allclose(slopes[0], 4 * slopes[1], rtol=1e-5)


def batches(size=8, batch=2):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", size, subsample_size=batch) as i:
        numpyro.deterministic("taken", i)
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=jnp.arange(8.0)[i])


def test_every_step_draws_a_minibatch():
    kernel = mm.MMFLD(batches, metropolize=False, step_size=0.01)
    _, _, draws = steps(kernel, 40)
    taken = draws.z.deterministics["taken"]
    assert taken.shape == (40, 2)
    assert len(np.unique(taken, axis=0)) > 20
    # The energy is that of the minibatch that is reported with it.
    mean, y = draws.z["mean"][:, None], taken.astype(float)
    log_density = 4 * dist.Normal(mean, 1.0).log_prob(y).sum(1)
    log_density += dist.Normal(0.0, 1.0).log_prob(mean[:, 0])
    np.testing.assert_allclose(-draws.potential_energy, log_density, rtol=1e-4)


def test_a_plate_that_takes_all_of_the_data_is_no_minibatch():
    assert start(mm.MMFLD(batches), batch=8).layout.value.stochastic is None


def cliff():
    """The density is not a number at x < 0, which is inside of the support."""
    x = numpyro.sample("x", dist.Normal(1.0, 1.0))
    root = numpyro.deterministic("root", jnp.sqrt(x))
    numpyro.factor("pull", -root)


def cliff_of_particles(size=4):
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Normal(0.5, 1.0))
        numpyro.factor("push", jnp.log(x))
    mm.objective("F", models.moments({"x": 1.0}), {"x": x})


@pytest.mark.parametrize("metropolize", [True, False])
@pytest.mark.parametrize("model", [cliff, cliff_of_particles], ids=lambda m: m.__name__)
def test_a_density_that_is_not_a_number_refuses_the_move(model, metropolize):
    kernel = mm.MMFLD(model, metropolize=metropolize, step_size=0.2, adapt_step_size=False)
    x = jnp.ones(() if model is cliff else (4,))
    first, last, draws = steps(kernel, 100, init_params={"x": x})
    x = np.concatenate([first.z["x"][None], draws.z["x"]])
    assert np.all(x > 0)
    refused = np.asarray(draws.num_refused)
    assert 0 < np.mean(refused > 0) < 1
    np.testing.assert_array_equal(draws.diverging, refused > 0)
    stayed = np.sum(x[1:] == x[:-1], axis=tuple(range(1, x.ndim)))
    assert np.all(stayed == refused) if not metropolize else np.all(stayed >= refused)
    assert all(np.all(np.isfinite(v)) for v in jax.tree.leaves((last.z, last.potential_energy)))


def interval_within():
    a = numpyro.sample("a", dist.Uniform(900.0, 1000.0))
    numpyro.sample("x", dist.Uniform(0.0, a))


def test_a_temperature_is_that_of_the_values_not_of_their_coordinates():
    """w ~ Gamma(3, 1) and u ~ Uniform(0, w) at temperature 2: w has density w^(3/2) e^(-w/2), and
    u = w t is uniform below it."""

    def model():
        w = numpyro.sample("w", dist.Gamma(3.0, 1.0))
        numpyro.sample("u", dist.Uniform(0.0, w))

    kernel = mm.MMFLD(model, temperature=lambda i: 2.0)
    mcmc = run(kernel, warmup=300, draws=300, chains=48)
    draws = mcmc.get_samples(group_by_chain=True)
    assert abs(z_score(draws["w"], 5.0)) < 4.5
    assert abs(z_score(draws["u"] / draws["w"], 0.5)) < 4.5
    # The energy of a chain's point is another one when the temperature has changed.
    kernel = mm.MMFLD(interval_within, temperature=lambda i: jnp.where(i < 300, 10.0, 1.0))
    mcmc = run(kernel, warmup=400, draws=300, chains=48)
    assert abs(z_score(mcmc.get_samples(group_by_chain=True)["x"], 475.0)) < 4.5
    flat = {"potential_fn": lambda x: 0.0, "support": dist.constraints.l1_ball}
    kernel = mm.MMFLD(**flat, temperature=lambda i: 5.0)
    mcmc = run(kernel, warmup=300, draws=300, chains=48, init_params=jnp.full((48, 2), 0.1))
    draws = mcmc.get_samples(group_by_chain=True)
    assert abs(z_score(draws[..., 0] ** 2, 1 / 6)) < 4.5
