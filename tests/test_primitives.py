"""`particles` and `objective`: to other kernels and handlers an ordinary plate and factor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, DiscreteGibbs, Gibbs, Predictive
from numpyro.infer.inspect import get_model_relations
from numpyro.infer.util import log_density

import mmfld_ppl as mm
from tests import small_models as models
from tests.helpers import (  # noqa: F401
    KEY,
    check_energy,
    run,
    same,
    start,
    steps,
)


def value_of_cloud(w, rate):
    spread = jnp.sum((w.mean(0) - models.WEIGHTS) ** 2) + (rate.mean() - 2.0) ** 2
    base = dist.Dirichlet(jnp.ones(3)).log_prob(w) + dist.Gamma(2.0, 1.0).log_prob(rate)
    return spread, base.sum()


def test_density():
    """That of the N-particle problem: exp(-(N / tau) F) times the base."""
    tr = handlers.trace(handlers.seed(models.cloud, KEY)).get_trace()
    w, rate = tr["w"]["value"], tr["rate"]["value"]
    assert w.shape == (6, 3) and rate.shape == (6,)
    spread, base = value_of_cloud(w, rate)
    value, _ = log_density(models.cloud, (), {}, {"w": w, "rate": rate})
    np.testing.assert_allclose(value, base - 6 / 0.3 * spread, rtol=1e-5)
    assert tr["atom"]["type"] == "plate" and tr["F"]["is_observed"]


def test_statistics_of_a_state():
    state = start(mm.MMFLD(models.cloud))
    check_energy(state, models.cloud)
    spread, _ = value_of_cloud(state.z["w"], state.z["rate"])
    np.testing.assert_allclose(state.objective, spread, rtol=1e-5)
    np.testing.assert_allclose(
        state.z.deterministics["mean_rate"], state.z["rate"].mean(), rtol=1e-6
    )


def test_other_kernels_and_handlers():
    mcmc = MCMC(NUTS(models.cloud), num_warmup=20, num_samples=10, progress_bar=False)
    mcmc.run(KEY)
    draws = mcmc.get_samples()
    assert draws["w"].shape == (10, 6, 3)
    predictive = Predictive(models.cloud, posterior_samples=draws)(KEY)
    np.testing.assert_allclose(predictive["mean_rate"], draws["rate"].mean(1), rtol=1e-5)
    prior = Predictive(models.cloud, num_samples=4)(KEY)
    assert prior["rate"].shape == (4, 6)
    relations = get_model_relations(models.cloud)
    assert {"w", "rate", "F"} <= set(relations["sample_dist"])
    assert relations["plate_sample"]["atom"] == ["w", "rate"]


def test_rendering():
    pytest.importorskip("graphviz")
    assert "atom" in numpyro.render_model(models.cloud).source


def test_without_an_objective_particles_are_a_plate():
    def model():
        with mm.particles("atom", 3):
            numpyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.warns(UserWarning, match="has particles 'atom' and no mm.objective"):
        state = start(mm.MMFLD(model))
    assert state.particles == () and state.z["x"].shape == (3,)


def test_a_plain_callable_is_a_functional():
    def model():
        with mm.particles("atom", 5):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mm.objective("F", lambda mu: (mu.mean(mu.points["x"]) - 1.0) ** 2, {"x": x})

    x = {"x": jnp.linspace(-1.0, 1.0, 5)}
    ours, theirs = (
        start(mm.MMFLD(m), init_params=x, **kwargs).particles.felt.slope["x"]
        for m, kwargs in ((model, {}), (models.pull, {"temperature": 1.0}))
    )
    same(ours, theirs, 1e-5)


def test_base_and_functional_may_depend_on_global_sites_and_data():
    """The global sites feel the base density and the objective; checked by finite differences."""
    kernel = mm.MMFLD(models.centred_cloud)
    state = start(kernel)
    check_energy(state, models.centred_cloud)
    at, slope = state.z["centre"], state.globals_.slope["centre"]

    def energy(centre):
        z = {**state.z, "centre": centre}
        return -log_density(models.centred_cloud, (), {}, z)[0]

    np.testing.assert_allclose(slope, jax.grad(energy)(at), rtol=1e-4)


def test_a_table_of_the_sites():
    lines = mm.MMFLD(models.centred_cloud).describe(size=3).splitlines()
    assert lines[0].split() == ["site", "shape", "support", "moves", "in", "block"]
    assert [line.split()[0] for line in lines[1:]] == ["centre", "reach", "x"]
    assert "depends on other sites" in lines[3] and "affine image" in lines[3]
    assert "particles 'atom'" in lines[3] and "global" in lines[1]


def test_supports_have_the_names_that_numpyro_gives_them():
    def model():
        flat = dist.ImproperUniform(dist.constraints.ordered_vector, (), (3,))
        low = numpyro.sample("steps", flat)[0]
        numpyro.sample("pair", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
        numpyro.sample("above", dist.TruncatedNormal(0.0, 1.0, low=low))

    rows = mm.MMFLD(model).describe().splitlines()[1:]
    assert "  OrderedVector()  " in rows[0]
    assert "  independent(Positive(lower_bound=0.0), 1)  " in rows[1]
    assert "  GreaterThanEq (depends on other sites)  " in rows[2]


def test_a_measure_without_value_is_refused_as_a_whole():
    def model():
        with mm.particles("atom", 3):
            x = numpyro.sample("x", dist.Normal(0.2, 1.0))
        mm.objective("F", mm.functionals.OfMean(outer=lambda m: -jnp.log(m)), x)

    kernel = mm.MMFLD(model, metropolize=False, step_size=0.4)
    _, last, draws = steps(kernel, 60, init_params={"x": jnp.ones(3)})
    assert np.all(draws.z["x"].mean(1) > 0) and np.all(np.isfinite(draws.objective))
    assert set(np.unique(draws.num_refused)) == {0, 3}


def test_particles_beside_a_discrete_site():
    def model():
        heads = numpyro.sample("heads", dist.Bernoulli(0.5))
        with mm.particles("atom", 4):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mm.objective("F", mm.functionals.OfMean(outer=lambda m: (m - 3.0 * heads) ** 2), x)

    kernel = Gibbs([(DiscreteGibbs(model), ["heads"]), (mm.MMFLD(model), None)])
    mcmc = run(kernel, chains=1, draws=40)
    z = mcmc.get_samples()
    state = mcmc.last_state.block_states[1]
    # What the last sweep cached belongs to the value that the discrete site has now.
    expected = (z["x"][-1].mean() - 3.0 * z["heads"][-1]) ** 2
    np.testing.assert_allclose(state.objective, expected, rtol=1e-4)
