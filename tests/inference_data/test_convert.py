"""What `to_inference_data` puts where."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer import MCMC, NUTS, DiscreteHMCGibbs
from numpyro.infer.util import log_density

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset, to_inference_data
from mmfld_ppl.mirrors import mirror_map
from tests.helpers import run
from tests.inference_data.models import ATOMS, DATA, FIXED, cloud, mixed


def dims_of(idata, group: str) -> dict[str, tuple]:
    return {str(name): v.dims for name, v in dataset(idata, group).data_vars.items()}


@pytest.fixture(scope="module")
def exported(mixed_run):
    return to_inference_data(
        mixed_run,
        log_likelihood=True,
        dual=True,
        dims={"gx": ["corner"], "mean": ["corner"], "q": ["corner"]},
        coords={"corner": ["a", "b", "c"]},
        constant_data={"q": np.array([0.6, 0.3, 0.1])},
    )


SAMPLE = ("chain", "draw")
SITES = {
    "c": SAMPLE,
    "x": (*SAMPLE, "atom", "corner"),
    "g": (*SAMPLE, "atom"),
}


def test_groups_variables_and_dimensions(exported) -> None:
    groups = {
        "posterior": SITES | {"gx": (*SAMPLE, "atom", "corner"), "mean": (*SAMPLE, "corner")},
        "sample_stats": dict.fromkeys(
            (
                "lp",
                "acceptance_rate",
                "step_size",
                "diverging",
                "objective",
                "collective_ratio",
                "boundary_slack",
            ),
            SAMPLE,
        )
        | {"boundary_slack_by_site": (*SAMPLE, "bounded_site")},
        "observed_data": {"y": ("record",)},
        "constant_data": {"q": ("corner",)},
        "log_likelihood": {"y": (*SAMPLE, "record")},
        "unconstrained_posterior": SITES,
    }
    names = exported.children if hasattr(exported, "children") else exported.groups()
    assert set(names) == set(groups)
    for group, dims in groups.items():
        assert dims_of(exported, group) == dims, group


def test_coordinates_count_or_are_the_given_ones(exported) -> None:
    posterior = dataset(exported, "posterior")
    assert posterior["corner"].values.tolist() == ["a", "b", "c"]
    assert posterior["atom"].values.tolist() == list(range(ATOMS))
    assert posterior["draw"].values.tolist() == list(range(20))
    assert dataset(exported, "sample_stats")["bounded_site"].values.tolist() == ["g", "x"]


def test_values_are_those_of_the_run_in_model_order(mixed_run, exported) -> None:
    posterior = dataset(exported, "posterior")
    samples = mixed_run.get_samples(group_by_chain=True)
    assert list(posterior.data_vars) == ["c", "x", "g", "gx", "mean"]
    for name, values in samples.items():
        np.testing.assert_array_equal(posterior[name], values)
    np.testing.assert_allclose(posterior["mean"], posterior["x"].mean("atom"), rtol=1e-5)


@pytest.mark.parametrize("fixture", ["mixed_run", "nuts_run"])
def test_particles_are_never_chains(fixture, request) -> None:
    idata = to_inference_data(request.getfixturevalue(fixture))
    for group in ("posterior", "sample_stats"):
        assert dataset(idata, group).sizes["chain"] == 2
    assert dataset(idata, "posterior")["g"].sizes["atom"] == ATOMS
    assert dataset(idata, "posterior").attrs["particle_plate"] == "atom"
    assert dataset(idata, "posterior").attrs["num_particles"] == ATOMS


def test_lp_is_the_log_density_of_the_draw(mixed_run, exported) -> None:
    samples = mixed_run.get_samples(group_by_chain=True)
    lp = dataset(exported, "sample_stats")["lp"]
    for chain, draw in ((0, 0), (0, 7), (1, 19)):
        values = {name: samples[name][chain, draw] for name in ("c", "x", "g")}
        expected, _ = log_density(mixed, (), {}, values)
        np.testing.assert_allclose(lp[chain, draw], expected, rtol=1e-5)


def test_boundary_slack_is_the_least_over_particles_and_sites(mixed_run, exported) -> None:
    samples, stats = mixed_run.get_samples(True), dataset(exported, "sample_stats")
    by_site = np.stack([samples["g"].min(-1), samples["x"].min((-2, -1))], axis=-1)
    np.testing.assert_allclose(stats["boundary_slack_by_site"], by_site, rtol=1e-6)
    np.testing.assert_allclose(stats["boundary_slack"], by_site.min(-1), rtol=1e-6)


@pytest.mark.parametrize(("last", "scale"), [(7, 0.25), (8, 4.0)])
def test_a_schedule_of_the_temperature_says_where_it_ended(last, scale) -> None:
    """At the last of the steps 0 to 7."""
    schedule = lambda i: jnp.where(i < last, 4.0, 0.25)  # noqa: E731
    mcmc = run(mm.MMFLD(cloud, **FIXED, temperature=schedule), warmup=4, draws=4)
    attrs = dataset(mm.to_inference_data(mcmc), "posterior").attrs
    assert attrs["temperature_scale"] == scale


def test_a_scaled_objective_has_another_temperature() -> None:
    plain, scaled = (
        dataset(mm.to_inference_data(run(mm.MMFLD(model, **FIXED))), "posterior").attrs
        for model in (cloud, numpyro.handlers.scale(cloud, 0.2))
    )
    np.testing.assert_allclose(scaled["temperature"], 5 * plain["temperature"], rtol=1e-6)


def test_dual_variables_of_particles_and_global_sites(mixed_run, exported) -> None:
    samples, dual = mixed_run.get_samples(True), dataset(exported, "unconstrained_posterior")
    np.testing.assert_allclose(dual["x"], -1 / samples["x"], rtol=1e-5)
    np.testing.assert_array_equal(dual["c"], samples["c"])


def test_log_likelihood_is_of_each_observation(mixed_run, exported) -> None:
    c = mixed_run.get_samples(True)["c"]
    expected = dist.Normal(c[..., None], 1.0).log_prob(DATA)
    np.testing.assert_allclose(dataset(exported, "log_likelihood")["y"], expected, rtol=1e-5)
    np.testing.assert_array_equal(dataset(exported, "observed_data")["y"], DATA)


def test_attributes_are_strings_and_numbers(mixed_run, exported) -> None:
    attrs = exported.attrs
    assert attrs == dataset(exported, "posterior").attrs
    assert all(type(value) in (str, int, float) for value in attrs.values())
    assert attrs["kernel"] == "MMFLD"
    assert attrs["objective"] == "F"
    assert attrs["functional"] == "OfMean"
    assert attrs["temperature"] == 0.5
    assert attrs["phase"] == "sample"
    assert json.loads(attrs["mirror_maps"]) == {"c": "Euclidean", "x": "Simplex", "g": "HalfLine"}
    settings = json.loads(attrs["kernel_settings"])
    assert settings["metropolize"] is True
    assert settings["path_length"] == mixed_run.sampler.settings.path_length
    assert settings["target_accept_prob"] == 0.8
    np.testing.assert_allclose(json.loads(attrs["step_size"]), mixed_run.last_state.step_size)
    assert (
        json.loads(attrs["last_rng_key"])
        == jax.random.key_data(mixed_run.last_state.rng_key).tolist()
    )


def test_a_run_without_boundary_or_data(cloud_run) -> None:
    idata = to_inference_data(cloud_run)
    assert "observed_data" not in idata
    assert "boundary_slack" not in dataset(idata, "sample_stats")
    # Thinning by 2 leaves 10 of 20 draws.
    assert dataset(idata, "posterior")["x"].shape == (2, 10, ATOMS)
    assert dataset(idata, "sample_stats")["lp"].shape == (2, 10)
    assert idata.attrs["thinning"] == 2


def test_another_kernel_exports_what_it_has(nuts_run) -> None:
    idata = to_inference_data(nuts_run, log_likelihood=True, dual=True)
    assert set(dims_of(idata, "sample_stats")) == {
        "diverging",
        "boundary_slack",
        "boundary_slack_by_site",
    }
    assert dims_of(idata, "log_likelihood") == {"y": (*SAMPLE, "record")}
    assert idata.attrs["kernel"] == "NUTS"
    assert idata.attrs["temperature"] == 0.5
    assert "kernel_settings" not in idata.attrs


def test_the_projected_baseline() -> None:
    kernel = mm.ProjectedMFLD(mixed, step_size=0.001, barrier=0.1)
    idata = to_inference_data(run(kernel, warmup=0, draws=10))
    assert dataset(idata, "sample_stats")["boundary_slack"].min() > 0
    settings = json.loads(idata.attrs["kernel_settings"])
    assert settings["barrier"] == 0.1
    assert settings["metropolize"] is False


def ordinary() -> None:
    a = numpyro.sample("a", dist.Gamma(3.0, 2.0))
    u = numpyro.sample("u", dist.Uniform(0, a).expand([2]).to_event(1))
    numpyro.sample("L", dist.LKJCholesky(2))
    with numpyro.plate("group", 3, dim=-2):
        numpyro.sample("b", dist.Beta(2.0, 2.0))
    numpyro.deterministic("both", {"first": u[0], "rest": {"sum": a + u.sum()}})


@pytest.fixture(scope="module")
def ordinary_run() -> MCMC:
    return run(mm.MMFLD(ordinary))


def test_an_ordinary_model(ordinary_run) -> None:
    idata = to_inference_data(ordinary_run, dual=True)
    assert dims_of(idata, "posterior") == {
        "a": SAMPLE,
        "u": (*SAMPLE, "u_dim_0"),
        "L": (*SAMPLE, "L_dim_0", "L_dim_1"),
        "b": (*SAMPLE, "group", "b_dim_0"),
        "both.first": SAMPLE,
        "both.rest.sum": SAMPLE,
    }
    assert "objective" not in dataset(idata, "sample_stats")
    assert "temperature" not in idata.attrs
    posterior = dataset(idata, "posterior")
    # u moves as a u' with u' in (0, 1), whose distance from its ends counts; L in a chart that has
    # no boundary.
    scaled = posterior["u"] / posterior["a"]
    slack = {
        "a": posterior["a"],
        "b": np.minimum(posterior["b"], 1 - posterior["b"]).min(("group", "b_dim_0")),
        "u": np.minimum(scaled, 1 - scaled).min("u_dim_0"),
    }
    found = dataset(idata, "sample_stats")["boundary_slack_by_site"]
    assert sorted(found["bounded_site"].values) == ["a", "b", "u"]
    for name, expected in slack.items():
        np.testing.assert_allclose(found.sel(bounded_site=name), expected, rtol=1e-4, atol=1e-6)
    assert dims_of(idata, "unconstrained_posterior")["L"] == (*SAMPLE, "L_dim_0")


def test_dual_variables_are_of_the_map_before_adaptation(ordinary_run) -> None:
    before = mirror_map(constraints.positive, (), jnp.float32)
    after = ordinary_run.last_state.adaptation["globals"].map.parts["a"]
    a = ordinary_run.get_samples(True)["a"]
    adapted = jax.vmap(lambda map, x: map.grad(x))(after, a[:, 0])
    assert not np.allclose(adapted, jax.vmap(before.grad)(a[:, 0]), rtol=1e-2)
    dual = dataset(to_inference_data(ordinary_run, dual=True), "unconstrained_posterior")
    np.testing.assert_allclose(dual["a"], jnp.vectorize(before.grad)(a), rtol=1e-5)


def test_sites_that_were_not_collected() -> None:
    mcmc = run(mm.MMFLD(mixed, **FIXED), draws=5, fields=("~z.x", "num_refused", "accepted"))
    idata = to_inference_data(mcmc)
    assert set(dims_of(idata, "posterior")) == {"c", "g", "gx", "mean"}
    stats = dataset(idata, "sample_stats")
    assert {"num_refused", "accepted.globals", "accepted.particles"} <= set(stats.data_vars)
    np.testing.assert_allclose(stats["boundary_slack"], mcmc.get_samples(True)["g"].min(-1))
    with pytest.raises(ValueError, match=r"no draws of \['x'\]"):
        to_inference_data(mcmc, log_likelihood=True)


def minibatch(data) -> None:
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    with numpyro.plate("record", len(data), subsample_size=2) as index:
        numpyro.deterministic("batch", data[index])
        numpyro.sample("y", dist.Normal(loc, 1.0), obs=data[index])


def test_minibatches_export_all_of_the_data() -> None:
    kernel = mm.MMFLD(minibatch, metropolize=False, step_size=0.01)
    mcmc = run(kernel, jnp.asarray(DATA), draws=20)
    idata = to_inference_data(mcmc, log_likelihood=True)
    np.testing.assert_array_equal(dataset(idata, "observed_data")["y"], DATA)
    assert dataset(idata, "log_likelihood")["y"].shape == (2, 20, len(DATA))
    assert dims_of(idata, "posterior")["batch"] == (*SAMPLE, "batch_dim_0")


@pytest.mark.parametrize(
    ("start", "potential", "dims"),
    [
        (
            {"u": jnp.full((2,), 0.5), "v": {"w": jnp.ones((2, 3))}},
            lambda z: 0.5 * jnp.sum(z["v"]["w"] ** 2) + z["u"] ** 2,
            {"u": SAMPLE, "v.w": (*SAMPLE, "v.w_dim_0")},
        ),
        (jnp.ones((2, 3)), lambda z: 0.5 * jnp.sum(z**2), {"z": (*SAMPLE, "z_dim_0")}),
    ],
    ids=["dict", "array"],
)
def test_potential_functions(start, potential, dims) -> None:
    kernel = mm.MMFLD(potential_fn=potential, support=constraints.positive, **FIXED)
    mcmc = run(kernel, init_params=start)
    idata = to_inference_data(mcmc, dual=True)
    assert dims_of(idata, "posterior") == dims
    assert dims_of(idata, "unconstrained_posterior") == dims
    least = min(dataset(idata, "posterior")[name].values.min() for name in dims)
    assert dataset(idata, "sample_stats")["boundary_slack"].min() == least
    with pytest.raises(ValueError, match="needs observed sites"):
        to_inference_data(mcmc, log_likelihood=True)


def test_slashes_in_names_become_dots() -> None:
    scoped = numpyro.handlers.scope(cloud, "left")
    idata = to_inference_data(run(mm.MMFLD(scoped, **FIXED), draws=5))
    assert dims_of(idata, "posterior") == {"left.x": (*SAMPLE, "left.atom")}
    assert idata.attrs["particle_plate"] == "left.atom"


def test_particles_inside_another_plate_keep_the_order_of_the_model() -> None:
    def model():
        with numpyro.plate("side", 2, dim=-2), mm.particles("atom", ATOMS):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        F = mm.functionals.OfMean(outer=lambda m: jnp.sum(m**2))
        mm.objective("F", F, jnp.swapaxes(x, 0, 1))

    mcmc = run(mm.MMFLD(model, **FIXED), draws=5)
    idata = to_inference_data(mcmc, dual=True)
    expected = {"x": (*SAMPLE, "side", "atom", "x_dim_0")}
    assert dims_of(idata, "posterior") == expected
    assert dims_of(idata, "unconstrained_posterior") == expected
    dual = dataset(idata, "unconstrained_posterior")["x"]
    np.testing.assert_allclose(dual, -1 / mcmc.get_samples(True)["x"], rtol=1e-5)


def test_the_warm_up_is_called_so() -> None:
    mcmc = MCMC(mm.MMFLD(cloud, **FIXED), num_warmup=8, num_samples=5, progress_bar=False)
    with pytest.raises(ValueError, match="has not been run"):
        to_inference_data(mcmc)
    mcmc.warmup(jax.random.key(0))
    with pytest.raises(ValueError, match="collect_warmup=True"):
        to_inference_data(mcmc)
    mcmc.warmup(jax.random.key(0), collect_warmup=True)
    warm = to_inference_data(mcmc)
    assert warm.attrs["phase"] == "warmup"
    assert dataset(warm, "posterior").sizes["draw"] == 8
    mcmc.run(jax.random.key(1))
    assert to_inference_data(mcmc).attrs["phase"] == "sample"
    # Whose own warm-up would have been longer, and does not take place.
    other = MCMC(mm.MMFLD(cloud, **FIXED), num_warmup=50, num_samples=5, progress_bar=False)
    other.post_warmup_state = mcmc.post_warmup_state
    other.run(jax.random.key(2))
    assert to_inference_data(other).attrs["phase"] == "sample"


def test_a_model_with_discrete_sites_has_no_geometry() -> None:
    def model():
        p = numpyro.sample("p", dist.Beta(2.0, 2.0))
        z = numpyro.sample("z", dist.Bernoulli(p))
        numpyro.sample("y", dist.Normal(z, 1.0), obs=0.3)

    mcmc = run(DiscreteHMCGibbs(NUTS(model)), warmup=5, draws=5, method="sequential")
    assert set(dims_of(to_inference_data(mcmc), "posterior")) == {"p", "z"}
    with pytest.raises(ValueError, match="dual=True needs the mirror maps"):
        to_inference_data(mcmc, dual=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dims": {"nothing": ["a"]}}, r"dims names \['nothing'\]"),
        ({"coords": {"nothing": [1]}}, r"coords names \['nothing'\]"),
        ({"dims": {"x": ["a"]}}, "'x' has 0 axes without a plate"),
        ({"coords": {"atom": [1, 2]}}, r"coords\['atom'\] has 2 entries"),
        ({"constant_data": {"k": np.ones(3)}, "dims": {"k": ["atom"]}}, None),
        (
            {"constant_data": {"k": np.ones(3), "l": np.ones(2)}, "dims": {"k": ["s"], "l": ["s"]}},
            "give their axes different names",
        ),
    ],
)
def test_names_that_do_not_fit(cloud_run, options, words) -> None:
    if words is None:  # Another group may give a dimension another size.
        to_inference_data(cloud_run, **options)
        return
    with pytest.raises(ValueError, match=words):
        to_inference_data(cloud_run, **options)


def test_a_plate_may_be_named_again(cloud_run) -> None:
    """As ArviZ asks for it, a name for each axis."""
    named = to_inference_data(cloud_run, dims={"x": ["atom"]})
    assert dims_of(named, "posterior") == dims_of(to_inference_data(cloud_run), "posterior")
    with pytest.raises(ValueError, match="2 names were given for them.*a plate names its axis"):
        to_inference_data(cloud_run, dims={"x": ["a", "atom"]})


@pytest.mark.parametrize(("chains", "method"), [(1, "vectorized"), (2, "sequential")])
def test_other_shapes_of_a_run(chains, method) -> None:
    def model():
        numpyro.sample("b", dist.Beta(2.0, 3.0))

    mcmc = run(mm.MMFLD(model), chains=chains, method=method)
    stats = dataset(to_inference_data(mcmc), "sample_stats")
    b = np.asarray(mcmc.get_samples(True)["b"])
    np.testing.assert_allclose(stats["boundary_slack"], np.minimum(b, 1 - b), rtol=1e-6)
