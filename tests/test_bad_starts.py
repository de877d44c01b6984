"""What is wrong with the data of a model, or with its start, is said by name."""

from __future__ import annotations

import contextlib
import warnings

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.distributions.distribution import validation_enabled

import mmfld_ppl as mm
from mmfld_ppl.functionals import OfMean
from tests.helpers import KEY, refused, start


def observed(law, data):
    """A model of data with one parameter."""

    def model():
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        numpyro.sample("y", law(rate), obs=jnp.asarray(data))

    return model


def shares(rate):
    return jnp.stack([rate, jnp.ones(()), jnp.ones(())]) / (2 + rate)


@pytest.mark.filterwarnings("ignore:.*Out-of-support values")
@pytest.mark.parametrize(
    ("law", "data", "words"),
    [
        (lambda r: dist.Gamma(r, 1.0), [-1.0, 2.0, jnp.nan], "1 of 3 .* Positive"),
        (lambda r: dist.Beta(r, 1.0), [2.0, 0.5], "1 of 2 .* UnitInterval"),
        (lambda r: dist.Gamma(r, 1.0).expand([2]).to_event(1), [-1.0, 0.0], "2 of 2 .*Positive"),
        (dist.Poisson, [1.5, 2.0, 3.0], r"1 of 3 .* IntegerNonnegative\(lower_bound=0\)"),
        (lambda r: dist.Multinomial(10, shares(r)), [1, 2, 3], r"1 of 1 .* Multinomial\(.*=10\)"),
        (lambda r: dist.Bernoulli(r / (1 + r)), [2, 0], "1 of 2 .* Boolean"),
        (lambda r: dist.Poisson(r).mask(jnp.arange(3) < 2), [1.5, 2.0, 2.5], "1 of 3 .*Integer"),
        (
            lambda r: dist.Poisson(r).expand([3]).mask(jnp.arange(3) < 2).to_event(1),
            [1.5, 2.0, 2.5],
            "1 of 3 .*Integer",
        ),
    ],
)
def test_data_outside_of_their_support_are_named(law, data, words):
    with pytest.raises(ValueError, match=f"no valid.* {words}.*: correct them"):
        start(mm.MMFLD(observed(law, data)))


def test_without_validation_data_have_the_density_that_a_formula_gives_them():
    with validation_enabled(False):
        start(mm.MMFLD(observed(dist.Poisson, [1.5, 2.0])))


def underflowing():
    """The rate is zero in floating point; y = 0 has a density then, and its gradient is none."""
    first = numpyro.sample("I0", dist.HalfNormal(1.0))
    numpyro.sample("other", dist.Normal(first, 1.0))
    numpyro.sample("y", dist.Poisson(first * jnp.exp(-1000.0)), obs=jnp.array([0, 0]))


def test_the_density_of_an_infinite_gradient_is_named():
    with pytest.raises(ValueError, match="at site 'I0' = .*; the log density of 'y' has a") as e:
        start(mm.MMFLD(underflowing))
    assert "'other' has a gradient" not in str(e.value)


GAPS = jnp.array([1.0, jnp.nan, jnp.nan])


def cloud(functional):
    def model():
        with mm.particles("atom", 4):
            x = numpyro.sample("x", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        mm.objective("F", functional, x)

    return model


@pytest.mark.parametrize(
    "functional",
    [
        OfMean(lambda mean: jnp.sum((mean - GAPS) ** 2)),
        OfMean(potential=lambda x: jnp.sum((x - GAPS) ** 2)),
        lambda mu: jnp.sum((mu.mean(mu.points) - GAPS) ** 2),
        OfMean(jax.jit(lambda mean: jnp.sum((mean - GAPS) ** 2 * GAPS))),
    ],
)
def test_gaps_in_a_functional_are_found(functional):
    found = (
        "objective 'F' is nan, and its functional holds an array of shape (3,) with 2 NaN: leave"
    )
    refused(mm.MMFLD(cloud(functional)), "no valid start", found)


def test_an_objective_without_a_value_says_where_to_look():
    functional = OfMean(lambda mean: jnp.sum(mean) * jnp.inf)
    refused(mm.MMFLD(cloud(functional)), "objective 'F' is", "gaps in the data and constants")


def rate():
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))


@pytest.mark.parametrize("given", [1.0, jnp.ones(3), [1.0]])
def test_one_start_for_several_chains(given):
    keys = jax.random.split(KEY, 2)
    words = "2 chains need a leading axis of 2: one start for each"
    refused(mm.MMFLD(rate), "['rate'] has shape", words, key=keys, init_params={"rate": given})
    potential = mm.MMFLD(potential_fn=lambda z: z, support=constraints.positive)
    refused(potential, words, key=keys, init_params=jnp.asarray(given))


def test_starts_of_several_chains_may_be_lists():
    state = start(mm.MMFLD(rate), key=jax.random.split(KEY, 2), init_params={"rate": [1.0, 2.0]})
    assert state.z["rate"].tolist() == [1.0, 2.0]


def test_data_that_are_broadcast_against_their_laws_are_warned_of() -> None:
    """A covariate of shape (n, 1) makes n * n terms of n data."""
    covariate, y = jnp.arange(5.0)[:, None], jnp.ones(5)

    def regression(x: jax.Array, data: jax.Array | float) -> None:
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=data)

    with pytest.warns(UserWarning, match=r"site 'y': data of batch shape \(5,\).* 25 terms"):
        start(mm.MMFLD(regression), covariate, y)

    def in_plates(x: jax.Array, data: jax.Array, *others: int) -> None:
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
        with contextlib.ExitStack() as plates:
            for k, size in enumerate((len(data), *others)):
                plates.enter_context(numpyro.plate(f"axis{k}", size))
            numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=data)

    with pytest.warns(UserWarning, match=r"site 'y': data of batch shape \(5,\).* 25 terms"):
        start(mm.MMFLD(in_plates), covariate, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start(mm.MMFLD(in_plates), covariate[:, 0], y)
        start(mm.MMFLD(in_plates), covariate, y, 5)
        for x, data in ((covariate[:, 0], y), (covariate, y[:, None]), (2.0, y), (covariate, 1.0)):
            start(mm.MMFLD(regression), x, data)
