"""Reruns at half the step and with fewer particles, of Gaussian systems that are known exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from mmfld_ppl.functionals import OfMean
from mmfld_ppl.inference_data.rerun import particle_number_bias, step_size_bias
from tests.helpers import run


def pulled(size: int) -> None:
    """exp(-N m^2 / 2 - N (m - 1)^2 / 2) in the mean m, a normal law across it."""
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    mm.objective("F", OfMean(lambda m: (m - 1) ** 2 / 2), x)
    numpyro.deterministic("constant", np.ones(2))


def sd(h: float) -> float:
    """Of Euler's scheme with step h for the standard normal law."""
    return (1 - h / 2) ** -0.5


@pytest.fixture(scope="module", params=["number", "schedule"])
def unadjusted(request) -> MCMC:
    h = 0.4 if request.param == "number" else lambda i: 0.4
    kernel = mm.MMFLD(pulled, step_size=h, metropolize=False)
    return run(kernel, 200, warmup=50, draws=400, chains=4)


def test_the_bias_of_a_long_step(unadjusted) -> None:
    before = unadjusted.last_state
    table = step_size_bias(unadjusted, jax.random.key(5))
    assert unadjusted.last_state is before
    row = table.loc["sd(x)"]
    exact = {"at_step": sd(0.4), "at_half": sd(0.2), "bias": 2 * (sd(0.4) - sd(0.2))}
    assert row["mcse_bias"] < 0.1 * row["bias"]
    # Within a system of 200 the fluctuations of the mean are not seen.
    for name, value in exact.items():
        assert abs(row[name] - value) < 4 * row["mcse_bias"] + 1 / 200
    mean = table.loc["mean(x)"]
    assert abs(mean["bias"]) < 4 * mean["mcse_bias"]
    assert "lp" not in table.index


@pytest.mark.slow
def test_the_noise_of_minibatches_widens_a_posterior() -> None:
    """n data of variance 1, B at a time: the variance is 1 + h n^2 / (2 B) times what it should be,
    to first order, and the mean is right."""
    n, size, h = 100, 10, 1e-3
    data = np.random.default_rng(0).normal(size=n)
    data = jnp.asarray(data / data.std())

    def model(y) -> None:
        theta = numpyro.sample("theta", dist.Normal(0.0, 10.0))
        with numpyro.plate("data", n, subsample_size=size) as index:
            numpyro.sample("y", dist.Normal(theta, 1.0), obs=y[index])

    kernel = mm.MMFLD(model, metropolize=False, step_size=h)
    mcmc = run(kernel, data, warmup=100, draws=4000, chains=16)
    row = step_size_bias(mcmc, jax.random.key(1)).loc["sd(theta)"]
    exact = 0.1
    assert abs(row["limit"] - exact) < 4 * row["mcse_limit"] + 0.05 * exact
    assert abs(row["at_step"] / exact - (1 + h * n**2 / (2 * size)) ** 0.5) < 0.15
    assert row["bias"] > 4 * row["mcse_bias"]


def test_a_step_that_is_refused_at_the_boundary_has_no_bias_to_tell() -> None:
    def model(size: int) -> None:
        with mm.particles("atom", size):
            x = numpyro.sample("x", dist.Uniform(0.0, 1.0))
        mm.objective("F", OfMean(lambda m: (m - 0.7) ** 2), x, temperature=0.3)

    maps = {"x": mm.mirrors.EntropyInterval(0.0, 1.0)}
    kernel = mm.MMFLD(model, metropolize=False, step_size=0.05, mirror_maps=maps)
    with pytest.warns(UserWarning):
        mcmc = run(kernel, 50, warmup=200, draws=100)
    with pytest.warns(UserWarning, match="nothing is known of the bias of the step"):
        table = step_size_bias(mcmc, jax.random.key(7))
    assert table[["bias", "mcse_bias", "limit", "mcse_limit"]].isna().all(axis=None)
    assert table[["at_step", "at_half"]].notna().all(axis=None)


def test_a_measure_that_is_refused_has_no_bias_to_tell() -> None:
    def model() -> None:
        with mm.particles("atom", 50):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mm.objective("F", OfMean(lambda m: jnp.sqrt(0.3 - m)), x, temperature=0.1)

    mcmc = run(mm.MMFLD(model, metropolize=False, step_size=0.3), warmup=20, draws=100)
    with pytest.warns(UserWarning, match="nothing is known of the bias of the step"):
        table = step_size_bias(mcmc, jax.random.key(7))
    assert table[["bias", "limit"]].isna().all(axis=None)


def test_the_price_of_few_particles() -> None:
    h = 0.2
    mcmc = run(
        mm.MMFLD(pulled, step_size=h, metropolize=False), 32, warmup=50, draws=1500, chains=4
    )
    table = particle_number_bias(mcmc, jax.random.key(6))
    # What never varies has no error to weigh it by.
    assert not any("constant" in name for name in table.index)
    row = table.loc["objective"]
    # The mean of N particles is an autoregression with variance 1 / (2 N (1 - h)) around 1/2.
    exact = 1 / (4 * 32 * (1 - h))
    assert abs(row["limit"] - 1 / 8) < 4 * row["mcse_limit"]
    assert abs(row["bias"] - exact) < 4 * row["mcse_bias"]
    assert row["mcse_bias"] < 0.2 * exact


def test_reruns_that_cannot_be(nuts_run) -> None:
    for function in (step_size_bias, particle_number_bias):
        with pytest.raises(TypeError, match="a run of NUTS"):
            function(nuts_run, jax.random.key(0))
        fresh = MCMC(mm.MMFLD(pulled), num_warmup=1, num_samples=1)
        with pytest.raises(ValueError, match="has not been run"):
            function(fresh, jax.random.key(0))
    assert isinstance(nuts_run.sampler, NUTS)


def test_the_number_must_be_an_argument(mixed_run, cloud_run) -> None:
    with pytest.raises(ValueError, match="must take its number of particles, 12, as an argument"):
        particle_number_bias(mixed_run, jax.random.key(0))
    with pytest.raises(ValueError, match="argument 'spread' of the model is not its number"):
        particle_number_bias(cloud_run, jax.random.key(0), argument="spread")
