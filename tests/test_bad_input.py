"""Misuse is told at once: which site, what was given, what is supported, and the way out."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.handlers import seed
from numpyro.infer import DiscreteGibbs, Gibbs

import mmfld_ppl as mm
from mmfld_ppl.mirrors import EntropyOrthant, EntropySimplex, Euclidean, HalfLine
from tests import small_models as models
from tests.helpers import KEY, refused, run, start

# Sites


def direction():
    numpyro.sample("v", dist.ProjectedNormal(jnp.ones(3)))


def correlations():
    numpyro.sample("L", dist.LKJCholesky(3))


def discrete():
    numpyro.sample("c", dist.Categorical(jnp.ones(3) / 3))
    numpyro.sample("x", dist.Normal(0.0, 1.0))


def discrete_in_a_plate():
    with numpyro.plate("coin", 3):
        numpyro.sample("c", dist.Categorical(jnp.ones(3) / 3))


def shifted(domain=constraints.real):
    """Above a number that is not known."""
    low = numpyro.sample("low", dist.Normal(0.0, 1.0))
    above = dist.transforms.AffineTransform(low, 2.0, domain=domain)
    with numpyro.plate("item", 3):
        r = numpyro.sample("r", dist.TransformedDistribution(dist.Exponential(1.0), above))
    numpyro.sample("y", dist.Normal(r, 0.5), obs=jnp.array([1.0, 1.5, 4.0]))


def latents_of_a_minibatch():
    with numpyro.plate("data", 10, subsample_size=3):
        numpyro.sample("x", dist.Normal(0.0, 1.0))


def minibatch():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", 10, subsample_size=3) as i:
        numpyro.sample("y", dist.Normal(x, 1.0), obs=jnp.arange(10.0)[i])


def own_key():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.factor("noise", x * jax.random.normal(numpyro.prng_key()))


def without_latents():
    numpyro.sample("x", dist.Normal(0.0, 1.0), obs=1.0)


def normal():
    numpyro.sample("b", dist.Normal(0.0, 1.0))


def test_images_of_laws_on_a_stated_domain_are_taken():
    """Those of laws on the whole line need state none."""
    mcmc = run(mm.MMFLD(shifted), constraints.positive, draws=20, warmup=20)
    draws = mcmc.get_samples()
    assert jnp.all(draws["r"] > draws["low"][:, None])

    def images():
        image = dist.transforms.AffineTransform(1.0, 2.0)
        numpyro.sample("x", dist.TransformedDistribution(dist.Cauchy(), image))
        exponential = dist.transforms.ExpTransform()
        base = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
        numpyro.sample("v", dist.TransformedDistribution(base, exponential))

    assert "Positive" in mm.MMFLD(images).describe()


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (direction, {}, ["site 'v'", "Sphere", "neither", "reparametrise", "Simplex"]),
        (correlations, {"strict": True}, ["site 'L'", "CorrCholesky", "strict", "register"]),
        (
            discrete,
            {},
            ["site 'c' is discrete", "Gibbs([(DiscreteGibbs(model), ['c'])", "'sequential'"],
        ),
        (discrete_in_a_plate, {}, ["site 'c' is discrete (CategoricalProbs)", "MixtureSameFamily"]),
        (shifted, {}, ["site 'r'", "on Positive(lower_bound=0.0)", "domain=base.support"]),
        (latents_of_a_minibatch, {}, ["site 'x'", "plate 'data'", "subsampled"]),
        (minibatch, {}, ["metropolize=False", "plate 'data' is subsampled"]),
        (own_key, {}, ["metropolize=False", "'noise' depends on random keys", "seed(model, 0)"]),
        (without_latents, {}, ["no latent site"]),
        (
            models.coin,
            {"mirror_maps": {"q": Euclidean()}},
            ["mirror_maps names ['q']", "none of the latent sites ['p']"],
        ),
        (
            models.bounded,
            {"mirror_maps": {"part": Euclidean()}},
            ["mirror_maps['part']", "depends on other latent sites"],
        ),
        (
            models.cloud,
            {"mirror_maps": {"w": mm.mirrors.Simplex.of_size(4, jnp.float32)}},
            ["mirror_maps['w']", "shape (3,)", "Simplex"],
        ),
        (
            models.coin,
            {"mirror_maps": {"p": mm.mirrors.OrderedVector.of_size(1, jnp.float32)}},
            ["mirror_maps['p']", "shape ()", "OrderedVector"],
        ),
        (
            models.line,
            {"mirror_maps": {"slope": HalfLine.above(0.0, jnp.float32)}},
            ["mirror_maps['slope']", "shape (2,)", "Independent.of"],
        ),
        (
            normal,
            {"mirror_maps": {"b": HalfLine.above(0.0, jnp.float32)}},
            ["mirror_maps['b']", "HalfLine", "smaller set", "state the smaller set"],
        ),
        (
            models.coin,
            {"diffusion": "exact", "metropolize": False},
            ["site 'p'", "closed-form", "Interval", "sub-steps"],
        ),
    ],
)
def test_sites(model, options, words):
    arguments = {"x": jnp.ones((4, 2))} if model is models.line else {}
    refused(mm.MMFLD(model, **options), *words, **arguments)


def test_a_map_that_is_none():
    kernel = mm.MMFLD(models.coin, mirror_maps={"p": "Interval"})
    refused(kernel, "mirror_maps['p']", "'Interval'", error=TypeError)


def test_supports_across_blocks_of_gibbs():
    def model():
        c = numpyro.sample("c", dist.Bernoulli(0.5))
        numpyro.sample("x", dist.Uniform(0.0, 1.0 + c))

    kernel = Gibbs([(DiscreteGibbs(model), ["c"]), (mm.MMFLD(model), None)])
    with pytest.raises(ValueError, match=r"'x' depends on \['c'\].*one block"):
        run(kernel, chains=1)


def test_supports_without_projection():
    def model():
        numpyro.sample("L", dist.LKJCholesky(3))

    def correlation():
        numpyro.sample("R", dist.LKJ(3))

    refused(mm.ProjectedMFLD(model, step_size=0.1), "site 'L'", "no mirror map")
    refused(mm.ProjectedMFLD(correlation, step_size=0.1), "site 'R'", "projection", "supported")


# Where a chain may start


def half():
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("mix", dist.Dirichlet(jnp.ones(2)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rate": 0.0}, ["site 'rate' is on or outside", "Positive", "0.0"]),
        ({"rate": -2.0}, ["site 'rate' is on or outside", "-2.0"]),
        ({"mix": jnp.array([1.0, 0.0])}, ["site 'mix' is on or outside", "Simplex"]),
        ({"mix": jnp.array([0.7, 0.7])}, ["site 'mix' is on or outside", "0.7"]),
        ({"rate": jnp.nan}, ["site 'rate'", "nan"]),
        (
            {"ratio": 1.0},
            ["init_params names ['ratio']", "none of the latent sites ['mix', 'rate']"],
        ),
        ({"rate": jnp.ones(3)}, ["init_params['rate']", "shape (3,)", "takes ()"]),
        ({"mix": 0.5}, ["init_params['mix']", "shape ()", "takes (2,)"]),
    ],
)
def test_initial_values(given, words):
    refused(mm.MMFLD(half), *words, init_params=given)


def test_initial_values_of_chains():
    keys, kernel = jax.random.split(KEY, 2), mm.MMFLD(half)
    given = {"rate": jnp.ones((2, 3))}
    refused(kernel, "shape (3,)", "leading axis of chains", key=keys, init_params=given)
    given = {"rate": jnp.array([1.0, -1.0])}
    refused(kernel, "site 'rate'", "-1.0", key=keys, init_params=given)
    refused(kernel, "dictionary", "list", error=TypeError, init_params=[1.0])


def test_particles_on_the_boundary_are_named():
    w = jnp.array([[0.5, 0.3, 0.2]] * 5 + [[1.0, 0.0, 0.0]])
    refused(mm.MMFLD(models.cloud), "site 'w'", "[1. 0. 0.]", init_params={"w": w})


def nowhere():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.factor("hole", jnp.log(-(x**2)))


def objective_without_value():
    with mm.particles("atom", 4):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    mm.objective("F", mm.functionals.OfMean(outer=lambda m: m * jnp.inf), x)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nowhere, ["no valid starting point", "log density of 'hole'", "init_strategy"]),
        (objective_without_value, ["no valid starting point", "objective 'F' is"]),
    ],
)
def test_densities_that_are_nowhere_finite(model, words):
    refused(mm.MMFLD(model), *words)


def test_inside_of_a_trace_a_start_without_density_is_reported():
    mcmc = run(mm.MMFLD(nowhere), method=jax.vmap)
    assert jnp.all(mcmc.get_extra_fields()["diverging"])


def test_a_strategy_of_another_shape():
    strategy = numpyro.infer.init_to_value(values={"mix": 0.5})
    refused(mm.MMFLD(half, init_strategy=strategy), "site 'mix'", "shape ()", "(2,)")


# Arguments of the kernels


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "exactly one"),
        ({"model": models.coin, "potential_fn": jnp.sum}, "exactly one"),
        ({"potential_fn": jnp.sum}, "support="),
        ({"model": models.coin, "support": constraints.real}, "support="),
        ({"step_size": 0.0}, "step_size must be a positive number"),
        ({"step_size": -1.0}, "step_size must be a positive number"),
        ({"step_size": "auto"}, "step_size must be a positive number .* got auto"),
        ({"step_size": lambda i: 0.0 * i}, "got 0.0 at step 0"),
        ({"temperature": lambda i: -1.0 - i}, "temperature must be .* got -1.0 at step 0"),
        ({"diffusion": "two-step", "metropolize": False}, "'one-step', 'exact' or a positive"),
        ({"diffusion": 0, "metropolize": False}, "positive number of sub-steps"),
        ({"diffusion": "exact"}, "pass metropolize=False"),
        ({"diffusion": 4}, "pass metropolize=False"),
        ({"target_accept_prob": 1.0}, r"in \(0, 1\), got 1.0"),
        ({"adapt_step_size": True, "step_size": lambda i: 0.1}, "not adapted"),
        ({"adapt_step_size": True, "metropolize": False}, "no acceptance to adapt"),
    ],
)
def test_arguments(arguments, words):
    if not {"model", "potential_fn"} & set(arguments) and arguments:
        arguments = {"model": models.coin, **arguments}
    with pytest.raises(ValueError, match=words):
        mm.MMFLD(**arguments)


def test_a_temperature_that_is_no_schedule():
    with pytest.raises(TypeError, match=r"schedule.*got 0.5.*mm.objective"):
        mm.MMFLD(models.coin, temperature=0.5)


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "a", lambda i: 5.0])
@pytest.mark.parametrize("name", ["path_length", "step_size"])
def test_numbers_that_are_not_positive(name, value):
    if name == "step_size" and callable(value):
        value = lambda i: None  # noqa: E731
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        mm.MMFLD(models.coin, **{name: value})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "coin"}, "the model must be a function .* got 'coin'"),
        ({"init_strategy": "uniform"}, "init_strategy must be a function .* got 'uniform'"),
        ({"mirror_maps": ["w"]}, "mirror_maps must be a dictionary of maps by site name, got list"),
    ],
)
def test_arguments_of_another_kind(arguments, words):
    with pytest.raises(TypeError, match=words):
        mm.MMFLD(**{"model": models.coin, **arguments})


def test_a_model_that_was_called():
    with pytest.raises(ValueError, match="passed as the function itself"):
        mm.MMFLD(seed(models.coin, 0)())


@pytest.mark.parametrize("temperature", [None, "0.1", lambda i: 0.1, jnp.inf, [0.1], 0.1j])
def test_a_temperature_of_an_objective_that_is_no_number(temperature):
    def model():
        with mm.particles("atom", 3):
            x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mm.objective("F", lambda mu: mu.mean(mu.points) ** 2, x, temperature=temperature)

    refused(mm.MMFLD(model), "objective 'F'", "one positive number, got", "temperature=schedule")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"barrier": -1.0}, "barrier must be zero or a positive number"),
        ({"barrier": float("nan")}, "barrier must be zero or a positive number, got nan"),
        ({"barrier": "a"}, "barrier must be zero or a positive number, got 'a'"),
        ({"inset": 0.0}, r"inset must be in \(0, 1\)"),
        ({"step_size": 0.0}, "step_size must be a positive number"),
    ],
)
def test_arguments_of_the_baseline(arguments, words):
    with pytest.raises(ValueError, match=words):
        mm.ProjectedMFLD(models.coin, **{"step_size": 0.1, **arguments})


def test_a_metric_is_not_adapted_without_adjustment():
    with pytest.raises(ValueError, match="adapt_metric=True takes adjusted moves.*leave adapt"):
        mm.MMFLD(models.coin, metropolize=False, adapt_metric=True)


def test_symmetric_steps_by_name_need_maps_that_have_them():
    maps = {"w": EntropySimplex()}
    kernel = mm.MMFLD(models.cloud, diffusion="symmetric", mirror_maps=maps)
    refused(kernel, "site 'w'", "EntropySimplex", "mirror_maps=", "leave diffusion out")


# Advice


def test_unadjusted_entropy_maps_come_with_advice():
    maps = {"w": EntropySimplex(), "rate": EntropyOrthant(jnp.zeros(()))}
    with pytest.warns(UserWarning) as caught:
        start(mm.MMFLD(models.cloud, metropolize=False, mirror_maps=maps))
    text = " ".join(str(w.message) for w in caught)
    for word in ("site 'w'", "site 'rate'", "EntropySimplex", "metropolize", "not the drift"):
        assert word in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start(mm.MMFLD(models.cloud, metropolize=False))
        start(mm.MMFLD(models.cloud, mirror_maps=maps))
        start(mm.MMFLD(models.cloud, metropolize=False, diffusion="exact", mirror_maps=maps))
