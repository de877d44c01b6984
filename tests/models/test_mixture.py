"""Mixture programs: kernels, bad input, and the results of a run."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.distributions import constraints as nc
from numpyro.handlers import seed, trace
from scipy import stats

import mmfld_ppl as mm
from mmfld_ppl.functionals import MixtureLikelihood
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.inference_data.datasets import dataset_of
from mmfld_ppl.inference_data.groups import from_groups
from models.mixture import distinct, mixture
from models.mixture_result import mixture_result
from tests.helpers import run

RNG = np.random.default_rng(0)
SHARES = RNG.dirichlet([4.0, 3.0, 2.0], 12)
PAIR = {"loc": dist.Normal(0.0, 2.0), "scale": dist.Gamma(3.0, 3.0)}


def two_parts(theta):
    return dist.Normal(theta["loc"], theta["scale"])


# Data, kernel, base, and the log density of the data at one theta by SciPy.
FAMILIES = {
    "Normal": (
        RNG.normal(size=12),
        lambda t: dist.Normal(t, 0.5),
        dist.Normal(0.0, 2.0),
        lambda t, z: stats.norm.logpdf(z, t, 0.5),
    ),
    "Normal in the plane": (
        RNG.normal(size=(12, 2)),
        lambda t: dist.Normal(t, 0.5).to_event(1),
        dist.Normal(jnp.zeros(2), 2.0).to_event(1),
        lambda t, z: stats.norm.logpdf(z, t, 0.5).sum(-1),
    ),
    "Normal, both parameters": (
        RNG.normal(size=12),
        two_parts,
        PAIR,
        lambda t, z: stats.norm.logpdf(z, t["loc"], t["scale"]),
    ),
    "Poisson": (RNG.poisson(3.0, 12), dist.Poisson, dist.Gamma(1.0, 0.3), None),
    "Binomial": (
        RNG.binomial(7, 0.3, 12),
        lambda t: dist.Binomial(7, t),
        dist.Uniform(0.0, 1.0),
        lambda t, z: stats.binom.logpmf(z, 7, t),
    ),
    "Gamma": (
        RNG.gamma(2.0, size=12),
        lambda t: dist.Gamma(3.0, 3.0 / t),
        dist.LogNormal(0.0, 1.0),
        lambda t, z: stats.gamma.logpdf(z, 3, scale=t / 3),
    ),
    "Beta": (
        RNG.beta(2.0, 3.0, 12),
        lambda t: dist.Beta(20 * t, 20 * (1 - t)),
        dist.Beta(2.0, 2.0),
        lambda t, z: stats.beta.logpdf(z, 20 * t, 20 * (1 - t)),
    ),
    "Dirichlet": (
        SHARES,
        lambda t: dist.Dirichlet(30 * t),
        dist.Dirichlet(jnp.ones(3)),
        lambda t, z: stats.dirichlet.logpdf((z / z.sum(-1, keepdims=True)).T, 30 * t),
    ),
    "LogNormal": (
        RNG.lognormal(size=12),
        lambda t: dist.LogNormal(t, 0.4),
        dist.StudentT(4.0),
        lambda t, z: stats.lognorm.logpdf(z, 0.4, scale=np.exp(t)),
    ),
    "negative binomial": (
        RNG.poisson(3.0, 12),
        lambda t: dist.NegativeBinomial2(t, 2.0),
        dist.Gamma(1.0, 0.3),
        lambda t, z: stats.nbinom.logpmf(z, 2, 2 / (2 + t)),
    ),
}
FAMILIES["Poisson"] = (*FAMILIES["Poisson"][:3], lambda t, z: stats.poisson.logpmf(z, t))


def objective_of(*args, **kwargs):
    """Points and functional that the model states at a draw from its base."""
    site = trace(seed(mixture, jax.random.key(0))).get_trace(*args, **kwargs)["loss"]
    return site["infer"]["objective"]


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels(family, x64):
    data, kernel, base, log_density = FAMILIES[family]
    stated = objective_of(data, kernel, base, particles=4)
    atoms = jax.tree.map(np.asarray, stated.points)
    logs = np.stack([log_density(jax.tree.map(lambda a, i=i: a[i], atoms), data) for i in range(4)])
    expected = -np.mean(np.log(np.mean(np.exp(logs), axis=0)))
    # NumPyro keeps some constants in single precision.
    np.testing.assert_allclose(stated.functional(mm.Measure.uniform(atoms)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "family",
    ["Dirichlet", pytest.param("Normal, both parameters", marks=pytest.mark.slow)],
)
def test_programs_run(family):
    data, kernel, base, _ = FAMILIES[family]
    mcmc = run(mm.MMFLD(mixture), data, kernel, base, model_kwargs={"particles": 10})
    assert np.all(np.isfinite(mcmc.get_extra_fields()["objective"]))


def test_ties_are_counted():
    data = np.array([2, 0, 2, 2, 5])
    stated = objective_of(data, dist.Poisson, dist.Gamma(1.0, 0.3), particles=3)
    assert isinstance(stated.functional, MixtureLikelihood)
    np.testing.assert_array_equal(stated.functional.data[0], [0, 2, 5])
    np.testing.assert_array_equal(stated.functional.counts, [1, 3, 1])
    rows, counts, inverse = distinct(({"a": SHARES[[0, 1, 0]], "b": np.arange(3) % 2}, None))
    np.testing.assert_array_equal(rows[0]["a"][inverse], SHARES[[0, 1, 0]])
    assert counts.sum() == 3 and len(counts) == 2


def test_covariates_reach_the_kernel():
    trials, data = np.array([4.0, 9.0, 9.0]), np.array([1.0, 2.0, 9.0])
    stated = objective_of(
        data, lambda t, n: dist.Binomial(n, t), dist.Uniform(), covariates=trials, particles=2
    )
    atoms = np.asarray(stated.points)
    p = stats.binom.pmf(data, trials, atoms[:, None]).mean(axis=0)
    np.testing.assert_allclose(
        stated.functional(mm.Measure.uniform(atoms)), -np.log(p).mean(), rtol=1e-5
    )


BAD = {
    "outside": (np.array([1.0, 2.0, -3.0]), dist.Poisson, r"1 data are outside .* row 2: -3.0"),
    "fractions": (np.array([1.0, 2.5]), dist.Poisson, "of Poisson, the first in row 1: 2.5"),
    "no simplex": (
        2 * SHARES,
        lambda t: dist.Dirichlet(t * jnp.ones(3)),
        "12 data are outside of the support",
    ),
    "nan": (np.array([1.0, np.nan]), dist.Poisson, "data must be finite, got nan in row 1"),
    "batch": (
        SHARES,
        lambda t: dist.Normal(t * jnp.ones(3), 1.0),
        r"batch shape \(3,\).*to_event\(1\)",
    ),
    "shape": (SHARES, dist.Poisson, r"a datum has shape \(3,\), and Poisson gives .* \(\)"),
    "moving support": (
        np.array([0.1, 1.5]),
        lambda t: dist.Uniform(0.0, t),
        "support of Uniform moves with theta",
    ),
    "on the boundary": (
        np.array([0.5, 0.0]),
        lambda t: dist.Beta(1 + t, 2.0),
        "log density of Beta is not finite at the datum of row 1, 0.0",
    ),
    "no data": (np.zeros(0), dist.Poisson, "at least one row"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(case):
    data, kernel, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        objective_of(data, kernel, dist.Gamma(2.0, 1.0))


def with_covariate(theta, covariate):
    return dist.Poisson(theta * covariate)


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (lambda t: t, {}, "must give a NumPyro distribution"),
        (dist.Poisson(2.0), {}, r"for each theta, got one distribution, Poisson\(...\)"),
        (
            dist.Poisson,
            {"covariates": np.ones(2)},
            r"called as kernel\(theta, covariate\), as there",
        ),
        (
            with_covariate,
            {},
            r"called as kernel\(theta\), as there are no covariates=.*'covariate'",
        ),
        (dist.Poisson, {"masses": 1.0}, "masses must be a NumPyro distribution.*, got 1.0"),
        (dist.Poisson, {"base": nc.positive}, "base must be .* got the constraint Positive"),
        (dist.Poisson, {"base": {"theta": 2.0}}, r"base\['theta'\] must be a NumPyro.*got 2.0"),
        (
            dist.Poisson,
            {"base": dist.ImproperUniform(nc.positive, (), ())},
            "base is uniform on the constraint .*Positive.* has no draws",
        ),
    ],
)
def test_kernels_and_laws_that_are_none(kernel, options, message):
    options = {"base": dist.Gamma(2.0, 1.0)} | options
    with pytest.raises(TypeError, match=message):
        objective_of(np.ones(2), kernel, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": dist.Exponential(jnp.ones(2))}, r"base must be .* batch shape \(2,\).*to_event"),
        ({"masses": dist.Dirichlet(jnp.ones(2))}, r"masses must be .* got event shape \(2,\)"),
    ],
)
def test_laws_of_several_particles(options, message):
    options = {"base": dist.Gamma(2.0, 1.0)} | options
    with pytest.raises(ValueError, match=message):
        objective_of(np.ones(2), dist.Poisson, **options)


@pytest.mark.parametrize("form", [lambda z: pd.Series(z, index=range(5, 15)), lambda z: z.tolist()])
def test_data_may_be_data_frames_and_lists(form, poisson_run):
    def kernel(theta, covariate):
        return dist.Poisson(theta * covariate["exposure"])

    exposure = np.linspace(0.5, 1.5, len(VISITS))
    plain = (VISITS, kernel, GAMMA), {"covariates": {"exposure": exposure}}
    given = (form(VISITS), kernel, GAMMA), {"covariates": {"exposure": form(exposure)}}
    one, other = (objective_of(*a, particles=3, **k).functional for a, k in (plain, given))
    mu = mm.Measure.uniform(jnp.array([0.5, 1.0, 4.0]))
    np.testing.assert_allclose(one(mu), other(mu), rtol=1e-6)
    one, other = (
        dataset(mixture_result(poisson_run, *a, **k), "log_likelihood")["obs"].values
        for a, k in (plain, given)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_columns_with_missing_values():
    for column in (pd.Series([1, None, 2], dtype="Int64"), pd.Series([1, None, 2], dtype=object)):
        with pytest.raises(ValueError, match="data must be .* got .* in row 1 and 1 such entries"):
            objective_of(column, dist.Poisson, GAMMA)


def test_covariates_of_another_length():
    with pytest.raises(ValueError, match=r"share a leading axis.*\(2,\), \(3,\)"):
        objective_of(
            np.ones(2), lambda t, n: dist.Poisson(n * t), dist.Gamma(1.0), covariates=np.ones(3)
        )


VISITS = np.array([0, 0, 0, 1, 1, 2, 5, 9, 0, 3])
GAMMA = dist.Gamma(1.0, 0.3)


@pytest.fixture(scope="module")
def poisson_run():
    setting = {"particles": 20, "masses": dist.Exponential(1.0)}
    mcmc = run(mm.MMFLD(mixture), VISITS, dist.Poisson, GAMMA, draws=15, model_kwargs=setting)
    return mm.to_inference_data(mcmc)


@pytest.fixture(scope="module")
def poisson_result(poisson_run):
    grid = np.arange(15.0)
    return mixture_result(
        poisson_run, VISITS, dist.Poisson, GAMMA, grid=grid, theta_grid=np.array([0.5, 2.0, 7.0])
    )


def measures_of(result):
    """Theta and weights, each with a last axis for observations."""
    posterior = dataset(result, "posterior")
    mass = posterior["mass"].values if "mass" in posterior else np.ones(posterior["loc"].shape)
    return posterior, (mass / mass.sum(axis=-1, keepdims=True))[..., None]


def test_results_of_each_draw(poisson_result):
    posterior, w = measures_of(poisson_result)
    theta = posterior["theta"].values[..., None]
    k = w * stats.poisson.pmf(VISITS, theta)  # chain, draw, atom, observation
    p = k.sum(axis=2)
    log_likelihood = dataset(poisson_result, "log_likelihood")["obs"]
    assert log_likelihood.dims == ("chain", "draw", "observation")
    np.testing.assert_allclose(log_likelihood, np.log(p), rtol=1e-4)
    means = dataset(poisson_result, "empirical_bayes")["theta"]
    np.testing.assert_allclose(means, (theta * k).sum(axis=2) / p, rtol=1e-4)
    density = dataset(poisson_result, "density")
    expected = (w * stats.poisson.pmf(density["points"].values, theta)).sum(axis=2)
    np.testing.assert_allclose(density["density"], expected, rtol=1e-4, atol=1e-7)
    assert density["density"].dims == ("chain", "draw", "grid")
    alike = (w * np.sqrt(stats.poisson.pmf(VISITS, theta))).sum(axis=2) ** 2 / p
    components = dataset(poisson_result, "sample_stats")["components"]
    np.testing.assert_allclose(components, 1 / alike.mean(axis=-1), rtol=1e-4)
    gradient = dataset(poisson_result, "gradient")
    at = stats.poisson.pmf(VISITS, gradient["theta_points"].values[:, None])
    expected = (at / p[:, :, None]).mean(axis=-1) - 1
    np.testing.assert_allclose(gradient["gradient"], expected, rtol=1e-3, atol=1e-5)


def test_the_certificate_of_each_draw(poisson_result):
    posterior, w = measures_of(poisson_result)
    p = (w * stats.poisson.pmf(VISITS, posterior["theta"].values[..., None])).sum(axis=2)
    fine = np.r_[1e-6, np.linspace(0.001, 20, 4000)]
    exact = np.log((stats.poisson.pmf(VISITS, fine[:, None]) / p[:, :, None]).mean(-1).max(-1))
    found = dataset(poisson_result, "sample_stats")
    np.testing.assert_allclose(found["certificate"], exact, rtol=1e-3, atol=1e-4)
    assert found["certificate_at_theta"].dims == ("chain", "draw")


def test_counts_are_those_of_the_model(poisson_run):
    """A datum that is counted five times is as good as five rows of it."""
    data, counts = np.array([0, 2, 9]), np.array([5, 1, 2])
    found = mixture_result(poisson_run, data, dist.Poisson, GAMMA, counts=counts)
    rows = mixture_result(poisson_run, np.repeat(data, counts), dist.Poisson, GAMMA)
    for name in ("certificate", "components"):
        one, other = (dataset(r, "sample_stats")[name].values for r in (found, rows))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_replicates_have_the_mean_of_the_mixture(poisson_result):
    replicates = dataset(poisson_result, "posterior_predictive")["obs"]
    posterior, w = measures_of(poisson_result)
    mean, square = ((w[..., 0] * posterior["theta"] ** k).sum(axis=2) for k in (1, 2))
    assert replicates.dims == ("chain", "draw", "observation")
    # Given the measures, replicates are independent: their means are as variable as Poisson laws of
    # random rates.
    spread = np.sqrt(np.sum(mean + square - mean**2) / len(VISITS)) / mean.size
    assert abs((replicates.mean() - mean.mean()).item()) < 4.5 * spread


@pytest.mark.parametrize(
    ("data", "kernel", "kind"),
    [
        (VISITS.astype(float), dist.Poisson, "i"),
        (VISITS, lambda t: dist.Geometric(jnp.exp(-t)), "i"),
        (VISITS.astype(float), lambda t: dist.Normal(t, 1.0), "f"),
    ],
    ids=["Poisson", "Geometric", "Normal"],
)
def test_whole_numbers_of_a_discrete_kernel_are_integers(poisson_run, data, kernel, kind):
    """A column that once had gaps holds floats, and some laws of NumPyro draw them."""
    found = mixture_result(poisson_run, data, kernel, GAMMA)
    observed, replicates = (
        dataset(found, group)["obs"] for group in ("observed_data", "posterior_predictive")
    )
    assert (observed.dtype.kind, replicates.dtype.kind) == (kind, kind)
    np.testing.assert_array_equal(observed, data)


def test_arviz_takes_the_result(poisson_result, tmp_path):
    import arviz as az

    loo = az.loo(poisson_result)
    n = len(VISITS)
    total = getattr(loo, "elpd_loo", None) if hasattr(loo, "elpd_loo") else loo.elpd
    best = dataset(poisson_result, "log_likelihood")["obs"].mean(("chain", "draw")).sum().item()
    assert abs(total - best) < n
    poisson_result.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")


def test_results_of_theta_with_several_parts_and_covariates():
    data, errors = FAMILIES["Normal"][0], np.linspace(0.5, 1.5, 12)

    def kernel(theta, error):
        return dist.Normal(theta["loc"], jnp.hypot(theta["scale"], error))

    values = {"loc": RNG.normal(size=(2, 3, 6)), "scale": RNG.gamma(3.0, 0.3, (2, 3, 6))}
    named = {name: (("chain", "draw", "atom"), value) for name, value in values.items()}
    drawn = dataset_of(named, {}).assign_attrs(particle_plate="atom")
    idata = from_groups({"posterior": drawn}, drawn.attrs)
    result = mixture_result(idata, data, kernel, PAIR, covariates=errors)
    posterior, w = measures_of(result)
    loc, scale = (posterior[name].values[..., None] for name in PAIR)
    k = w * stats.norm.pdf(data, loc, np.hypot(scale, errors))
    means = dataset(result, "empirical_bayes")
    np.testing.assert_allclose(means["loc"], (loc * k).sum(2) / k.sum(2), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(means["scale"], (scale * k).sum(2) / k.sum(2), rtol=1e-3)
    stats_ = dataset(result, "sample_stats")
    assert np.all(stats_["certificate"] > 0) and np.all(stats_["certificate_at_scale"] > 0)
    with pytest.raises(ValueError, match="leave it out"):
        mixture_result(idata, data, kernel, PAIR, covariates=errors, grid=np.zeros(2))


def test_a_run_of_another_model(poisson_run):
    with pytest.raises(ValueError, match=r"particles at the sites \['loc', 'scale'\]"):
        mixture_result(poisson_run, VISITS, two_parts, PAIR)
