"""Where a chain starts: NumPyro's strategies, and values that the user gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.distributions import constraints
from numpyro.infer import (
    MCMC,
    init_to_feasible,
    init_to_mean,
    init_to_median,
    init_to_sample,
    init_to_uniform,
    init_to_value,
)

import mmfld_ppl as mm
from tests import small_models as models
from tests.helpers import KEY, run, start


def mixed():
    top = numpyro.sample("top", dist.Gamma(3.0, 2.0))
    numpyro.sample("part", dist.Uniform(0.0, top))
    numpyro.sample("mix", dist.Dirichlet(jnp.ones(3)))
    numpyro.sample("free", dist.ImproperUniform(constraints.real, (), (2,)))


STRATEGIES = [
    init_to_uniform,
    init_to_uniform(radius=0.1),
    init_to_sample,
    init_to_median(num_samples=5),
    init_to_mean,
    init_to_feasible,
    init_to_value(values={"top": 2.0, "part": 1}),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies(strategy):
    z = start(mm.MMFLD(mixed, init_strategy=strategy)).z
    assert 0 < z["part"] < z["top"] and z["free"].shape == (2,)
    np.testing.assert_allclose(z["mix"].sum(), 1, rtol=1e-5)
    if strategy is STRATEGIES[-1]:
        assert (z["top"], z["part"]) == (2.0, 1.0)
    if strategy is init_to_mean:
        np.testing.assert_allclose(z["top"], 1.5)


def test_values_are_constrained_and_may_be_partial():
    kernel = mm.MMFLD(mixed)
    whole = {
        "top": 2,  # an integer is a number like another
        "part": 0.5,
        "mix": np.array([0.5, 0.3, 0.2]),
        "free": jnp.array([1, -4]),
    }
    z = start(kernel, init_params=whole).z
    for name, value in whole.items():
        np.testing.assert_allclose(z[name], value, rtol=1e-6)
        assert z[name].dtype == jnp.float32
    z = start(kernel, init_params={"top": 0.01}).z
    assert z["top"] == 0.01 and 0 < z["part"] < 0.01


def test_values_of_each_chain():
    keys = jax.random.split(KEY, 3)
    x = jnp.arange(15.0).reshape(3, 5)
    state = start(mm.MMFLD(models.pull), key=keys, init_params={"x": x})
    np.testing.assert_array_equal(state.z["x"], x)
    assert len(np.unique(jax.random.key_data(state.rng_key)[:, 0])) == 3


def test_a_start_without_density_is_drawn_again():
    """Half of the draws of the strategy are outside of what the density allows."""

    def model():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        numpyro.factor("positive", jnp.sum(jnp.log(x)))

    for single in (True, False):
        key = KEY if single else jax.random.split(KEY, 8)
        assert jnp.all(start(mm.MMFLD(model), key=key).z["x"] > 0)
    traced = jax.jit(lambda key: start(mm.MMFLD(model), key=key).z["x"])
    assert all(jnp.all(traced(key) > 0) for key in jax.random.split(KEY, 4))
    together = traced(jax.random.split(KEY, 8))
    assert jnp.all(together > 0) and len(jnp.unique(together[:, 0])) == 8


def test_a_start_whose_energy_is_mostly_rounding_is_drawn_again():
    """A path that grows exponentially from parameters drawn between -2 and 2: some starts are
    at 1e7 nats and more. From 1e18 on chains of single precision stood still."""

    def model():
        growth = numpyro.sample("growth", dist.Normal(0.0, 0.1).expand([40]).to_event(1))
        rate = jnp.exp(3.0 + 2 * jnp.cumsum(growth))
        numpyro.sample("cases", dist.Poisson(rate), obs=jnp.full(40, 20))

    keys = jax.random.split(KEY, 64)
    for begin in (start, jax.jit(start, static_argnums=0)):
        assert jnp.all(begin(mm.MMFLD(model), key=keys).potential_energy < 8.4e6)
    draws = run(mm.MMFLD(model), warmup=300, draws=50, chains=64).get_samples(group_by_chain=True)
    assert np.all(np.std(draws["growth"], axis=1) > 0)


def test_so_it_is_where_ordinary_variables_stand_beside_particles():
    """Scales of less than .35 have more nats than single precision can tell, of which a quarter of
    the draws are."""

    def model():
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        with mm.particles("p", 20):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        far = lambda mu: mu.mean((mu.points - 3.0) ** 2) / (2 * scale**2) + jnp.log(scale)  # noqa: E731
        mm.objective("F", far, x, temperature=1e-4)

    states = start(mm.MMFLD(model, init_strategy=init_to_sample), key=jax.random.split(KEY, 64))
    assert jnp.all(states.globals_.energy < 8.4e6)


def test_every_attempt_draws_other_numbers():
    """Four sites of which the first is far out: an attempt must not hand its numbers on."""
    seen = []

    def model():
        x = [numpyro.sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(4)]
        jax.debug.callback(lambda *x: seen.append(tuple(map(float, x))), *x)
        numpyro.factor("far", jnp.where(x[0] > 1.8, 0.0, -jnp.inf))

    kernel = mm.MMFLD(model)
    eager = start(kernel).z
    jax.effects_barrier()
    attempts = set(seen)
    numbers = [number for attempt in attempts for number in attempt]
    assert len(attempts) > 3 and len(set(numbers)) == len(numbers)
    for name, value in jax.jit(lambda key: start(kernel, key=key).z)(KEY).items():
        np.testing.assert_allclose(value, eager[name], rtol=1e-6)


def test_matrices_start_well_inside() -> None:
    """Least eigenvalues of starts: NumPyro's own get below what single precision can move."""

    def matrices():
        numpyro.sample("R", dist.LKJ(6, 1.0))
        numpyro.sample("S", dist.Wishart(8.0, jnp.eye(5)))

    def least(strategy) -> float:
        kernel = mm.MMFLD(matrices, **strategy)
        z = kernel.init(jax.random.split(KEY, 40), 1, None, (), {}).z
        return min(float(np.linalg.eigvalsh(np.asarray(z[n], float)).min()) for n in ("R", "S"))

    assert least({}) > 0.01
    assert least({"init_strategy": init_to_uniform}) < 1e-3


def heteroscedastic(x, y):
    """A scale that is not positive for all values of the sites."""
    a = numpyro.sample("a", dist.Normal(1.0, 1.0))
    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(0.0, a + b * x), obs=y)


def test_parameters_that_are_not_valid_everywhere() -> None:
    x = jnp.linspace(0, 1, 20)
    for k in range(4):
        z = start(mm.MMFLD(heteroscedastic), x, jnp.sin(20 * x), key=jax.random.key(k)).z
        assert np.all(z["a"] + z["b"] * x > 0)
    given = {"a": jnp.array(0.1), "b": jnp.array(-1.0)}
    with pytest.raises(ValueError, match="log density of 'y' has 18 entries of 20"):
        start(mm.MMFLD(heteroscedastic), x, jnp.sin(20 * x), init_params=given)


def test_parameters_that_are_never_valid() -> None:
    def negative():
        numpyro.sample("x", dist.Normal(numpyro.sample("a", dist.Normal()), -1.0), obs=0.0)

    with pytest.raises(ValueError, match="'scale' of the Normal of site 'x' is invalid in 1 of 1"):
        start(mm.MMFLD(negative))

    def regression(x):
        slope = numpyro.sample("slope", dist.Normal())
        with numpyro.plate("row", 4):
            numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=jnp.zeros(4))

    with pytest.raises(ValueError, match="'loc' .* 'y' is invalid in 1 of 4 places, with 1 NaN"):
        start(mm.MMFLD(regression), jnp.array([1.0, jnp.nan, 2.0, 3.0]))


def test_a_gradient_that_is_not_finite_is_located() -> None:
    def model():
        numpyro.sample("scale", dist.HalfNormal(1.0))
        x = numpyro.sample("x", dist.Normal(jnp.zeros(2), 1.0))
        numpyro.factor("kink", jnp.sqrt(jnp.sum((x - x) ** 2)))

    with pytest.raises(ValueError, match=r"finite: the gradient at site 'x' = \[.*\] is not fin"):
        start(mm.MMFLD(model))


def test_a_strategy_that_goes_wrong() -> None:
    kernel = mm.MMFLD(heteroscedastic, init_strategy=init_to_value(values={"a": -3.0, "b": 0.0}))
    with pytest.raises(ValueError, match="no valid starting point.*the log density of 'y'"):
        start(kernel, jnp.zeros(3), jnp.zeros(3))
    kernel = mm.MMFLD(heteroscedastic, init_strategy=init_to_value(values={"a": jnp.ones(2)}))
    with pytest.raises(ValueError, match=r"site 'a' a value of shape \(2,\), the site takes \(\)"):
        start(kernel, jnp.zeros(3), jnp.zeros(3))
    with pytest.raises(TypeError, match=r"init_params\['a'\] must be numbers"):
        start(mm.MMFLD(heteroscedastic), jnp.zeros(3), jnp.zeros(3), init_params={"a": None})


@pytest.mark.parametrize("far", [2500.0, 101325.0])
def test_a_start_where_energies_are_mostly_rounding(far: float) -> None:
    """A float32 sees no difference below 2 at 3e7 nats, or below thousands at 5e10, and no step
    seems short enough; one that shrank for that never arrived (step sizes of 1e-12; of the nearer
    start 3 of 12 chains)."""
    rng = np.random.default_rng(0)
    y = far + 10 * rng.normal(size=1000)

    def model():
        mu = numpyro.sample("mu", dist.Normal(0.0, 1e6))
        numpyro.sample("y", dist.Normal(mu, 10.0), obs=jnp.asarray(y, jnp.float32))

    mcmc = run(mm.MMFLD(model), warmup=500, draws=500, chains=12)
    draws = np.asarray(mcmc.get_samples(group_by_chain=True)["mu"], float)
    exact = 10 / np.sqrt(1000)
    error = exact / np.sqrt([effective_sample_size(chain[None]) for chain in draws])
    # The numbers themselves are known to 1/128.
    assert np.all(np.abs(draws.mean(1) - y.mean()) < 5 * error + 1 / 128)
    np.testing.assert_allclose(draws.std(1), exact, rtol=0.3)


def test_a_constant_in_the_density_does_not_lead_the_step_astray() -> None:
    """Next to a constant of 2e8 nats energies are known to 16. The step is what it is without the
    constant (it was ten times as long), though moves are refused by rounding."""

    def steps(constant: float) -> float:
        def model():
            numpyro.sample("x", dist.Normal(jnp.zeros(100), 1.0))
            numpyro.factor("constant", jnp.float32(constant))

        mcmc = run(mm.MMFLD(model), warmup=500, draws=1, chains=16, fields=("step_size",))
        return np.exp(np.mean(np.log(mcmc.get_extra_fields()["step_size"])))

    # That of one chain varies by a factor of two: their geometric mean.
    np.testing.assert_allclose(steps(2e8), steps(0.0), rtol=0.5)


def test_particles_that_start_where_energies_are_mostly_rounding() -> None:
    """As above, of each particle: a start near 0 is 5e8 nats from the minimiser at temperature 10
    (means of .7 and step sizes of 5e-10)."""

    def model():
        with mm.particles("p", 100):
            x = numpyro.sample("x", dist.Normal(0.0, 1e5))
        mm.objective("F", lambda mu: mu.mean((mu.points - 101325.0) ** 2) / 2, x, temperature=10.0)

    mcmc = MCMC(mm.MMFLD(model), num_warmup=500, num_samples=500, progress_bar=False)
    mcmc.run(KEY)
    draws = np.asarray(mcmc.get_samples()["x"], float)
    means = draws.mean(1)
    error = means.std() / np.sqrt(effective_sample_size(means[None]))
    np.testing.assert_allclose(means.mean(), 101325.0, atol=5 * error + 1 / 128)
    np.testing.assert_allclose(draws.std(), np.sqrt(10), rtol=0.1)


def test_particles_that_start_in_a_strong_field_arrive() -> None:
    """Mean matching 2000 nats above the minimum, beside a vertex. With all of the slope most chains
    end at other means, some of their particles never having moved and some having run into a
    corner."""
    target, temperature = jnp.array([0.9, 0.08, 0.02]), 2e-4

    def model():
        with mm.particles("p", 256):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        F = mm.functionals.OfMean(outer=lambda mean: jnp.sum((mean - target) ** 2))
        mm.objective("F", F, x, temperature=temperature)

    mcmc = run(mm.MMFLD(model), warmup=100, draws=100, chains=16, fields=("objective",))
    values = mcmc.get_extra_fields(group_by_chain=True)["objective"] / temperature
    assert values.shape[0] == 16
    assert np.all(values.mean(1) < 1)


def test_steps_that_came_to_nothing_far_out_are_searched_anew():
    """Single precision, 1e5 standard deviations away. Half of the chains stood still there when
    each search went on from the step of the last."""

    def model():
        numpyro.sample("b", dist.Beta(0.3, 0.4))
        numpyro.sample("e", dist.HalfNormal(jnp.array([1.0, 1e-5])).to_event(1))

    mcmc = run(mm.MMFLD(model), warmup=500, draws=1, chains=32)
    arrived = mcmc.get_samples()["e"][:, 1] < 1e-4
    assert arrived.mean() > 0.75


def test_many_particles_start_on_growing_positive_vectors():
    def model():
        with mm.particles("atom", 400):
            x = numpyro.sample(
                "x", dist.ImproperUniform(constraints.positive_ordered_vector, (), (4,))
            )
        mm.objective("F", mm.functionals.OfMean(potential=lambda x: x[-1]), x)

    start(mm.MMFLD(model))


def test_long_vectors_of_growing_positive_entries_have_a_start():
    def model():
        numpyro.sample("x", dist.ImproperUniform(constraints.positive_ordered_vector, (), (90,)))
        x = numpyro.sample("y", dist.Normal(0.0, 1.0))
        numpyro.sample("obs", dist.Normal(x, 1.0), obs=0.0)

    x = start(mm.MMFLD(model)).z["x"]
    assert jnp.all(jnp.diff(x) > 0) and x[0] > 0 and x[-1] < 200


def test_gaps_in_the_data_are_named():
    def model(y):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(ValueError, match="'y' has 2 entries of 3 .* its data 2 that are NaN"):
        run(mm.MMFLD(model), jnp.array([0.1, jnp.nan, jnp.nan]))
