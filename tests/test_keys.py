"""Models that ask for random keys of their own: refused under adjustment where a density changes
with the keys, and only there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

import mmfld_ppl as mm
from tests.helpers import refused, start, steps

SHIFT = jnp.array(0.7)


def shapes_only():
    shape = jax.random.normal(numpyro.prng_key(), (2,)).shape
    numpyro.sample("x", dist.Normal(0.0, 1.0).expand(shape))


def unused_param():
    numpyro.param("w", lambda key: jax.random.normal(key))
    numpyro.sample("x", dist.Normal(0.0, 1.0))


def shifted():
    w = numpyro.param("w", lambda key: jax.random.normal(key))
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x + w, 1.0), obs=1.0)


def reported_noise():
    numpyro.deterministic("noise", jax.random.normal(numpyro.prng_key()))
    numpyro.sample("x", dist.Normal(0.0, 1.0))


def walk(noise):
    """A key in each step of a scan, which answers it by a seed of its own."""

    def step(x, _):
        drift = noise * jax.random.normal(numpyro.prng_key()) if noise else 0.0
        numpyro.prng_key()
        return numpyro.sample("x", dist.Normal(x + drift, 1.0)), None

    scan(step, 0.0, None, length=3)


def hidden_site():
    with handlers.block():
        drift = numpyro.sample("drift", dist.Normal(0.0, 1.0))
    numpyro.sample("x", dist.Normal(drift, 1.0))


def flat_on_a_random_interval():
    end = 1 + jax.random.uniform(numpyro.prng_key())
    numpyro.sample("x", dist.ImproperUniform(dist.constraints.interval(0.0, end), (), ()))


def two_that_are_shifted():
    shift = jax.random.normal(numpyro.prng_key())
    z = numpyro.sample("z", dist.Normal(shift, 1.0))
    numpyro.sample("a", dist.Normal(z + shift, 1.0))


def cloud(in_functional=0.0, in_temperature=0.0):
    noise = jax.random.uniform(numpyro.prng_key())
    with mm.particles("atom", 3):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    goal = in_functional * noise if in_functional else 0.0
    temperature = 1 + in_temperature * noise if in_temperature else 1.0
    F = mm.functionals.OfMean(outer=lambda mean: (mean - goal) ** 2)
    mm.objective("F", F, x, temperature=temperature)


@pytest.mark.parametrize(
    ("model", "kwargs"),
    [
        (shapes_only, {}),
        (unused_param, {}),
        (reported_noise, {}),
        (walk, {"noise": 0.0}),
        (cloud, {}),
        (handlers.seed(shifted, 0), {}),
        (handlers.seed(walk, 0), {"noise": 1.0}),
        (handlers.substitute(shifted, {"w": SHIFT}), {}),
    ],
)
def test_a_density_that_does_not_change_is_taken(model, kwargs):
    assert start(mm.MMFLD(model), **kwargs).layout.value.stochastic is None


@pytest.mark.parametrize(
    ("model", "kwargs", "words"),
    [
        (shifted, {}, ["site 'y' depends on", "param 'w'", "substitute(model, {'w': value})"]),
        (walk, {"noise": 1.0}, ["site 'x' depends on", "seed(model, 0)", "metropolize=False"]),
        (hidden_site, {}, ["site 'x' depends on"]),
        (two_that_are_shifted, {}, ["site 'z' depends on"]),  # The first in the model.
        (flat_on_a_random_interval, {}, ["site 'x' depends on"]),
        (cloud, {"in_functional": 1.0}, ["objective 'F' depends on"]),
        (cloud, {"in_temperature": 1.0}, ["objective 'F' depends on"]),
    ],
)
def test_a_density_that_changes_is_refused(model, kwargs, words):
    refused(mm.MMFLD(model), *words, **kwargs)


def test_a_seed_holds_the_density():
    model = handlers.seed(shifted, 0)
    w = handlers.trace(model).get_trace()["w"]["value"]
    _, _, draws = steps(mm.MMFLD(model), 20)
    x = draws.z["x"]
    expected = dist.Normal(0.0, 1.0).log_prob(x) + dist.Normal(x + w, 1.0).log_prob(1.0)
    np.testing.assert_allclose(-draws.potential_energy, expected, rtol=1e-4, atol=1e-4)
