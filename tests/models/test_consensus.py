"""Consensus posteriors: what comes out, whitening, calibration, misuse."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.distributions import constraints as nc

from mmfld_ppl.inference_data import dataset
from models.consensus import calibrated_temperature, consensus_posterior
from models.subposteriors import Subposterior, site_supports, whitening
from tests.models.helpers import barycenter_variance

KEY = jax.random.key(4)
SUPPORTS = {
    "slopes": nc.independent(nc.real, 1),
    "sd": nc.positive,
    "shares": nc.simplex,
}
SHORT = {"num_warmup": 15, "num_samples": 20, "thinning": 10, "particles": 12, "key": KEY}


def draws(k, n=40):
    rng = np.random.default_rng(k)
    return {
        "slopes": 100 + 20 * rng.normal(size=(n, 2)) + 5 * k,
        "sd": 1e-3 * rng.gamma(3.0, size=n),
        "shares": rng.dirichlet([4.0, 1.0 + k, 0.5], size=n),
    }


PARTS = [draws(k) for k in range(3)]


def exported(values, chains=2, part="part"):
    """As a user's InferenceData, with names for a dimension."""
    data = {n: v.reshape(chains, -1, *v.shape[1:]) for n, v in values.items()}
    dims = {"slopes": ("predictor",), "shares": (part,)}
    variables = {n: (("chain", "draw", *dims.get(n, ())), v) for n, v in data.items()}
    posterior = xr.Dataset(variables, coords={"predictor": ["age", "dose"]})
    from mmfld_ppl.inference_data.groups import from_groups

    return from_groups({"posterior": posterior}, {})


@pytest.fixture(scope="module")
def consensus():
    return consensus_posterior([exported(p) for p in PARTS], SUPPORTS, **SHORT)


def test_one_chain():
    found = consensus_posterior([exported(p) for p in PARTS], SUPPORTS, **SHORT, num_chains=1)
    assert dataset(found.posterior, "posterior").sizes["chain"] == 1


def test_the_posterior_is_an_ordinary_one(consensus, tmp_path):
    posterior = dataset(consensus.posterior, "posterior")
    assert posterior.sizes == {"chain": 2, "draw": 24, "predictor": 2, "part": 3}
    assert posterior["predictor"].values.tolist() == ["age", "dose"]
    assert posterior.attrs["num_particles"] == 12 and posterior.attrs["num_measures"] == 2
    for name, support in SUPPORTS.items():
        assert np.all(support(jnp.asarray(posterior[name].values))), name
    assert len(az.summary(consensus.posterior)) == 6
    consensus.posterior.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    back = az.from_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    xr.testing.assert_equal(dataset(back, "posterior"), posterior)


def test_the_draws_are_the_particles(consensus):
    posterior, run = (dataset(part, "posterior") for part in consensus)
    assert run.sizes["particle"] == 12 and run.sizes["draw"] == 2
    np.testing.assert_array_equal(posterior["sd"][:, :12], run["sd"].isel(draw=0))
    np.testing.assert_array_equal(posterior["slopes"][1, 12:], run["slopes"][1, 1])
    transport = dataset(consensus.run, "transport")
    assert transport.sizes["input"] == 3 and transport["converged"].all()


@pytest.mark.slow
def test_dictionaries_and_a_choice_of_sites():
    found = consensus_posterior(
        [{n: v for n, v in p.items() if n != "sd"} for p in PARTS],
        SUPPORTS,
        var_names=["shares"],
        weights=jnp.array([0.2, 0.3, 0.5]),
        debiased=True,
        **SHORT,
    )
    assert list(dataset(found.posterior, "posterior").data_vars) == ["shares"]
    assert dataset(found.run, "transport")["weight"].values[2] == pytest.approx(0.5)


def test_white_coordinates_do_not_know_units():
    weights = np.array([0.5, 0.3, 0.2])
    parts = [Subposterior(p, {}, {}) for p in PARTS]
    white = whitening(parts, weights, SUPPORTS)
    z = [np.asarray(white(p)) for p in PARTS]
    assert z[0].shape == (40, 5)  # the shares have two dimensions
    covariance = np.tensordot(weights, [np.cov(x, rowvar=False) for x in z], axes=1)
    np.testing.assert_allclose(covariance, np.eye(5), atol=2e-3)
    scaled = [{**p, "sd": 1e4 * p["sd"]} for p in PARTS]
    again = whitening([Subposterior(p, {}, {}) for p in scaled], weights, SUPPORTS)
    distances = [
        np.sum((x[0][:, None] - x[1]) ** 2, axis=-1) for x in (z, [again(p) for p in scaled])
    ]
    np.testing.assert_allclose(*distances, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("variances", [(1.0, 1.0), (0.4, 1.9)])
def test_the_temperature_makes_up_for_the_transport(epsilon, variances):
    weights = np.array([0.7, 0.3])
    tau = calibrated_temperature(epsilon, variances, weights)
    exact = (weights @ np.sqrt(variances)) ** 2
    found = barycenter_variance(epsilon, tau, np.sqrt(variances), weights)
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_supports_of_a_model():
    def model(x):
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        with numpyro.plate("groups", 3):
            numpyro.sample("rate", dist.Beta(1.0, 1.0))
        numpyro.sample("kind", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Normal(0, scale), obs=x)

    found = site_supports(model, jnp.ones(2))
    assert found == {"scale": nc.positive, "rate": nc.unit_interval}

    def moving():
        a = numpyro.sample("a", dist.HalfNormal(1.0))
        numpyro.sample("b", dist.Uniform(0.0, a))

    with pytest.raises(ValueError, match=r"supports of \['b'\] depend on other latent sites"):
        site_supports(moving)


def changed(k, name, value):
    return [p if i != k else {**p, name: value} for i, p in enumerate(PARTS)]


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ([], {}, "at least one subposterior"),
        (
            [*PARTS[:2], {"sd": PARTS[2]["sd"]}],
            {},
            r"subposterior 2 has no draws of \['shares', 's",
        ),
        (changed(1, "sd", -PARTS[1]["sd"]), {}, "subposterior 1, site 'sd': 40 of 40 draws"),
        (changed(1, "sd", PARTS[1]["sd"] * np.nan), {}, "subposterior 1: 40 values of site 'sd'"),
        (changed(0, "shares", np.ones((40, 3))), {}, "site 'shares': 40 of 40 draws are outside"),
        (changed(2, "sd", PARTS[2]["sd"][:30]), {}, "subposterior 2 must have the same number"),
        (changed(2, "slopes", np.ones((40, 3))), {}, r"shape \(3,\) in subposterior 2 and \(2,\)"),
        ([{**p, "sd": np.ones(40)} for p in PARTS], {}, "'sd' is the same in all draws"),
        ([{n: v[:2] for n, v in p.items()} for p in PARTS[:2]], {}, "have 5 dimensions and"),
        (PARTS, {"weights": jnp.array([0.5, 0.5])}, "weights: 2 entries for 3 subposteriors"),
        (
            PARTS,
            {"weights": jnp.array([0.5, 0.7, -0.2])},
            "weights must be non-negative and sum to one, got minimum -0.2",
        ),
        (PARTS, {"num_samples": 20, "thinning": 30}, "thinning=30 leaves 0 of 20"),
        (PARTS, {"var_names": ["slope"]}, r"no support is given for \['slope'\]"),
    ],
)
def test_misuse_is_explained(parts, options, message):
    with pytest.raises(ValueError, match=message):
        consensus_posterior(parts, SUPPORTS, **{**SHORT, **options})


@pytest.mark.parametrize("taken", ["particle", "measure"])
def test_a_dimension_of_its_own_is_refused_before_the_run(taken):
    parts = [exported(p, part=taken) for p in PARTS]
    with pytest.raises(ValueError, match=f"site 'shares' has a dimension '{taken}', which is that"):
        consensus_posterior(parts, SUPPORTS, **SHORT)


def test_a_support_that_is_not_convex():
    parts = [{"angle": np.random.default_rng(k).uniform(-3, 3, 40)} for k in range(2)]
    with pytest.raises(ValueError, match="site 'angle'.*not known to be convex"):
        consensus_posterior(parts, {"angle": nc.circular}, **SHORT)


def test_one_posterior_is_not_a_list():
    with pytest.raises(TypeError, match="must be a list"):
        consensus_posterior(PARTS[0], SUPPORTS, **SHORT)
