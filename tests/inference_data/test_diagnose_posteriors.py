"""Verdicts on runs of ordinary models, in their own words."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import MCMC, init_to_value

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset, diagnose, to_inference_data
from mmfld_ppl.inference_data.groups import from_groups
from tests.helpers import run
from tests.small_models import coin

CHAINS = 4


def by_name(groups) -> dict[str, mm.inference_data.checks.Check]:
    return {c.name: c for c in diagnose(from_groups(groups, {})).checks}


def posterior(metropolize: bool = True) -> dict[str, xr.Dataset]:
    """A run of an ordinary model."""
    rng, pair = np.random.default_rng(1), (CHAINS, 1000)
    attrs = {"kernel_settings": json.dumps({"metropolize": metropolize}), "phase": "sample"}
    stats = {
        "lp": rng.standard_normal(pair),
        "acceptance_rate": np.full(pair, 0.6),
        "diverging": np.zeros(pair, bool),
    }
    along = ("chain", "draw")
    coords = {"chain": range(CHAINS), "draw": range(1000)}
    return {
        "posterior": xr.Dataset({"a": (along, rng.standard_normal(pair))}, coords, attrs),
        "sample_stats": xr.Dataset({n: (along, v) for n, v in stats.items()}, coords),
    }


def test_an_ordinary_model_is_spoken_of_in_its_own_words() -> None:
    healthy, sick = posterior(), posterior(metropolize=False)
    sick["posterior"]["a"].values[2] += 1.0
    sick["sample_stats"]["lp"].values[:] += np.linspace(0, 5, 1000)
    sick["sample_stats"]["diverging"].values[0] = True
    reports = [diagnose(from_groups(groups, {})) for groups in (healthy, sick)]
    assert [found.verdict for found in reports] == ["ok", "fail"]
    foreign = r"\bF\b|objective|\bmeasure\b|particle|temperature"
    for found in reports:
        assert not re.search(foreign, repr(found)), found
    checks = {c.name: c for c in reports[1].checks}
    assert "the log density moved by" in checks["stationarity"].value
    assert "several modes" in checks["chains agree"].advice
    assert "mm.step_size_bias" in checks["step size"].advice
    # Other kernels collect the log density on request.
    del healthy["sample_stats"]["lp"]
    found = by_name(healthy)
    assert "extra_fields=('potential_energy',)" in found["stationarity"].advice


def test_an_adjusted_kernel_may_run_into_a_boundary_now_and_then() -> None:
    for metropolize, refused, verdict in (
        (True, 8, "ok"),
        (True, 80, "warn"),
        (True, 480, "fail"),
        (False, 8, "warn"),
        (False, 80, "fail"),
    ):
        groups = posterior(metropolize)
        groups["sample_stats"]["diverging"].values[0, :refused] = True
        assert by_name(groups)["moves"].verdict == verdict


def test_a_chain_that_stands_still_is_named_and_hides_nothing() -> None:
    """Far out its log density was the scale of all others, and averages overflowed."""
    groups = posterior()
    groups["posterior"]["a"].values[1] = 7.0
    groups["sample_stats"]["lp"].values[1] = -1e30
    groups["sample_stats"]["lp"].values[:, 500:] += 5
    found = by_name(groups)
    assert found["standstill"].verdict == "fail" and "init_to_sample" in found["standstill"].advice
    assert found["standstill"].value == "every draw of chain 1 is the same"
    assert found["stationarity"].verdict == "fail"
    assert float(found["chains agree"].value.split()[1]) < 2
    groups["posterior"]["a"].values[:] = np.arange(CHAINS)[:, None]
    groups["sample_stats"]["lp"].values[:] = np.arange(CHAINS)[:, None]
    found = by_name(groups)
    assert found["standstill"].value == "every draw of chains 0, 1, 2, 3 is the same"
    assert not {"stationarity", "chains agree", "accuracy"} & set(found)
    assert "standstill" not in by_name(posterior())
    # Draws may be the same where the chain moves, and nothing else may be known.
    groups = posterior()
    groups["posterior"]["a"].values[1] = 7.0
    assert "standstill" not in by_name(groups)
    assert by_name({"posterior": groups["posterior"]})["standstill"].verdict == "fail"


def test_tails_that_few_draws_know() -> None:
    """Chains that cross the middle at every draw, and their wings hardly ever."""
    groups = posterior()
    wide = np.where(np.arange(1000) // 500 % 2, 3.0, 0.1)
    groups["posterior"]["a"].values[:] *= wide
    check = by_name(groups)["accuracy"]
    assert check.verdict == "warn" and check.advice.startswith("Averages are known, and quantiles")
    assert int(check.value.split()[-4]) < 400


def test_a_schedule_that_turns_negative_is_named() -> None:
    groups = posterior()
    groups["sample_stats"]["diverging"].values[:, 500:] = True
    step = np.where(np.arange(1000) < 500, 0.1, -0.25) * np.ones((CHAINS, 1))
    groups["sample_stats"]["step_size"] = ("chain", "draw"), step
    moves = by_name(groups)["moves"]
    assert moves.verdict == "fail" and moves.advice.startswith("A step_size of -0.25 moves nothing")


def test_values_that_are_not_finite_and_values_that_are_not_there() -> None:
    """They are named, and chains are compared by the others."""
    groups = posterior()
    a = groups["posterior"]["a"]
    groups["posterior"] = groups["posterior"].assign(
        ratio=a.where(a > 0), none=(("chain", "draw", "gap"), np.zeros((CHAINS, 1000, 0)))
    )
    found = by_name(groups)
    assert found["finite values"].verdict == "warn"
    count = int(np.sum(a.values <= 0))
    assert f"ratio is not finite at {count} of 4000 draws" in found["finite values"].value
    assert found["chains agree"].verdict == found["accuracy"].verdict == "ok"


def test_energies_that_rounding_decides_about() -> None:
    groups = posterior()
    groups["sample_stats"]["lp"] = (groups["sample_stats"]["lp"] + 2e8).astype(np.float32)
    check = by_name(groups)["precision"]
    assert check.verdict == "warn" and "double precision" in check.advice
    assert "2e+08 are known to 2e+01" in check.value
    groups["sample_stats"]["lp"] = groups["sample_stats"]["lp"].astype(float)
    assert by_name(groups)["precision"].verdict == "ok"


def test_a_step_that_has_collapsed() -> None:
    """Half of a normal law, cut off by a factor in place of a constraint."""

    def wall():
        x = numpyro.sample("x", dist.Normal().expand([5]).to_event(1))
        numpyro.factor("positive", jnp.where(jnp.all(x > 0), 0.0, -jnp.inf))

    def constrained():
        numpyro.sample("x", dist.HalfNormal().expand([5]).to_event(1))

    found = {}
    for model in (wall, constrained):
        kernel = mm.MMFLD(model, init_strategy=init_to_value(values={"x": jnp.full(5, 0.5)}))
        mcmc = MCMC(kernel, num_warmup=1000, num_samples=100, progress_bar=False)
        mcmc.run(jax.random.key(0))
        checks = mm.diagnose(mm.to_inference_data(mcmc)).checks
        (found[model],) = [c for c in checks if c.name == "step size"]
    assert found[constrained].verdict == "ok"
    assert found[wall].verdict == "warn" and "as a constraint" in found[wall].advice


def test_entries_without_density_are_given_as_the_reason() -> None:
    """A mask on a latent, as `obs_mask` puts it there."""

    def model(y, seen):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        with numpyro.plate("all", len(y)):
            numpyro.sample("y", dist.Normal(mu, 1.0), obs=y, obs_mask=seen)

    data = np.ones(3, np.float32), np.array([True, True, False])
    exported = to_inference_data(run(mm.MMFLD(model), *data))
    assert json.loads(exported.attrs["masked"]) == ["y_unobserved"]
    exported = to_inference_data(run(mm.MMFLD(model), data[0], np.zeros(3, bool)))
    assert "masked" not in exported.attrs
    groups = posterior()
    groups["posterior"]["a"].values[2] += 1.0
    groups["posterior"].attrs["masked"] = '["a"]'
    found = by_name(groups)["chains agree"]
    assert found.verdict == "fail"
    assert "A mask leaves entries of a out" in found.advice and "'~z.site'" in found.advice


def test_an_unadjusted_posterior_is_not_said_to_be_right() -> None:
    kernel = mm.MMFLD(coin, metropolize=False, step_size=0.01)
    found = mm.diagnose(mm.to_inference_data(run(kernel, warmup=50, draws=400, chains=4)))
    assert {c.name: c.verdict for c in found.checks}["step size"] == "warn"
    assert not repr(found).startswith("Nothing is wrong")


@pytest.mark.filterwarnings("ignore:.*draws had moves", "ignore:the mean acceptance rate")
def test_the_neck_of_a_hierarchy_is_said_to_be_unseen() -> None:
    def schools(noncentred: bool, known: float) -> None:
        tau = numpyro.sample("tau", dist.HalfNormal(5.0))
        with numpyro.plate("school", 4):
            if noncentred:
                theta = tau * numpyro.sample("z", dist.Normal(0.0, 1.0))
            else:
                theta = numpyro.sample("theta", dist.Normal(0.0, tau))
            numpyro.sample("y", dist.Normal(theta, known), obs=jnp.array([20.0, -30, 25, -15]))

    kernel = mm.MMFLD(schools)
    found = {
        known: to_inference_data(run(kernel, False, known, warmup=300, draws=300, chains=4))
        for known in (30.0, 0.1)
    }
    assert json.loads(found[30.0].attrs["scaled_by"]) == {"theta": ["tau"]}
    (check,) = [c for c in diagnose(found[30.0]).checks if c.name == "hierarchy"]
    assert check.verdict == "not checked" and check.value.startswith("'theta' is scaled by 'tau'")
    assert "'theta': numpyro.infer.reparam.LocScaleReparam(0)" in check.advice
    # Where data know the scale there is no neck.
    assert not [c for c in diagnose(found[0.1]).checks if c.name == "hierarchy"]
    assert "scaled_by" not in to_inference_data(run(kernel, True, 30.0)).attrs


@pytest.mark.filterwarnings("ignore:.*draws had moves", "ignore:the mean acceptance rate")
@pytest.mark.parametrize(
    ("prior", "scale", "near"),
    [
        (dist.Normal(-0.5, 1.2), jnp.exp, True),
        (dist.Normal(0.0, 3.0), lambda v: jnp.exp(v / 2), True),
        (dist.Normal(9.0, 0.1), jnp.exp, False),
        # Of a precision it is the large values that make a neck.
        (dist.Gamma(0.2, 1.0), lambda p: 1 / jnp.sqrt(p), True),
        (dist.Uniform(0.0, 1.0), lambda p: 1 / jnp.sqrt(p), False),
    ],
    ids=["logarithm", "funnel", "narrow", "precision", "precision near zero"],
)
def test_a_scale_is_judged_whatever_it_is_computed_from(
    prior: dist.Distribution, scale: Callable, near: bool, tmp_path
) -> None:
    def model() -> None:
        s = numpyro.sample("s", prior)
        numpyro.sample("theta", dist.Normal(0.0, scale(s)).expand([3]).to_event(1))

    mcmc = run(mm.MMFLD(model), warmup=300, draws=300, chains=4)
    found = to_inference_data(mcmc)
    expected = scale(jnp.asarray(dataset(found, "posterior")["s"].values))
    exported = dataset(found, "sample_stats")["scale_of_theta"]
    np.testing.assert_allclose(exported.values, expected, rtol=1e-5)
    checks = [c for c in diagnose(found).checks if c.name == "hierarchy"]
    assert len(checks) == near
    for check in checks:
        ratio = np.quantile(expected, 0.01) / np.median(expected)
        end = f"the 1% quantile of its scale is {ratio:.2g} of the median"
        assert check.value == f"'theta' is scaled by 's', and {end}"
    found.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    read = az.from_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    assert [c for c in diagnose(read).checks if c.name == "hierarchy"] == checks


def test_scales_of_several_sites_and_of_sites_that_were_left_out() -> None:
    def horseshoe() -> None:
        t = numpyro.sample("t", dist.HalfCauchy(1.0))
        with numpyro.plate("coefficient", 3):
            a = numpyro.sample("a", dist.HalfCauchy(1.0))
            numpyro.sample("b", dist.Normal(0.0, t * a))

    found = to_inference_data(run(mm.MMFLD(horseshoe), warmup=50))
    posterior, scale = dataset(found, "posterior"), dataset(found, "sample_stats")["scale_of_b"]
    np.testing.assert_allclose(scale, posterior["t"] * posterior["a"], rtol=1e-5)
    left_out = to_inference_data(run(mm.MMFLD(horseshoe), warmup=50, fields=("~z.t",)))
    assert "scale_of_b" not in dataset(left_out, "sample_stats")
    assert "hierarchy" not in {c.name for c in diagnose(left_out).checks}


def test_draws_that_nothing_in_the_density_holds() -> None:
    """A logistic regression whose classes are separated, under a flat prior."""

    def separated() -> None:
        b = numpyro.sample("b", dist.ImproperUniform(dist.constraints.real, (), ()))
        logits = b * jnp.array([-1.0, -2, 1, 2])
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=jnp.array([0, 0, 1, 1]))

    mcmc = run(mm.MMFLD(separated), warmup=1000, draws=300, chains=4)
    with pytest.warns(UserWarning, match="the step grew without bound") as caught:
        exported = to_inference_data(mcmc)
    assert not [w for w in caught if "so short" in str(w.message)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(exported)
    checks = {c.name: c for c in found.checks}
    assert "nan" not in repr(found) and "so short" not in repr(found)
    assert checks["step size"].verdict == "fail"
    assert "draws of 'b' with it, up to" in checks["step size"].value
    assert "Give 'b' a proper prior" in checks["step size"].advice
    for name in ("chains agree", "accuracy"):
        assert checks[name].advice.startswith("Nothing in the density holds the draws")
    assert "more draws" not in repr(found)


def test_what_is_not_held_took_both_long_steps_and_large_draws() -> None:
    """Else chains that disagree have other reasons, and an angle is large nowhere."""
    for size, step, verdict in ((1.0, 1e20, "ok"), (1e9, 0.5, "ok"), (1e9, 1e20, "fail")):
        groups = posterior()
        settings = {"metropolize": True, "adapt_step_size": True, "adapt_metric": True}
        attrs = {"kernel_settings": json.dumps(settings), "supports": '{"a": "Real()"}'}
        groups["posterior"].attrs |= attrs
        a = groups["posterior"]["a"].values
        a[2] += 1.0
        a *= size
        groups["sample_stats"]["step_size"] = ("chain", "draw"), np.full(a.shape, step)
        found = by_name(groups)
        assert found["step size"].verdict == verdict
        assert found["chains agree"].verdict == "fail"
        assert ("several modes" in found["chains agree"].advice) == (verdict == "ok")
