"""ArviZ's own functions on exported runs, in whichever generation is installed."""

from __future__ import annotations

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from numpyro.infer import Predictive

import mmfld_ppl as mm
from mmfld_ppl.inference_data import chain_summary, dataset, summary, to_inference_data
from tests.helpers import run
from tests.inference_data.models import DATA, mixed

GROUPS = ("posterior", "sample_stats", "observed_data", "log_likelihood", "unconstrained_posterior")


@pytest.fixture(scope="module")
def exported(mixed_run):
    return to_inference_data(mixed_run, log_likelihood=True, dual=True)


def test_diagnostics(exported) -> None:
    for function in (az.ess, az.rhat, az.mcse):
        assert np.isfinite(function(dataset(exported, "posterior"))["c"])


def test_the_summary_has_a_row_for_each_number(exported) -> None:
    table = az.summary(exported, var_names=["c", "mean"])
    assert list(table.index) == ["c", "mean[0]", "mean[1]", "mean[2]"]


def test_a_trace_plot(exported) -> None:
    plot = getattr(az, "plot_trace_dist", None) or az.plot_trace
    plot(exported, var_names=["c"])
    plt.close("all")


def test_loo_finds_one_log_likelihood(exported) -> None:
    result = az.loo(exported)
    assert result.n_data_points == len(DATA)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_file_keeps_everything(exported, tmp_path) -> None:
    path = tmp_path / "run.nc"
    exported.to_netcdf(path, engine="h5netcdf")
    read = az.from_netcdf(path, engine="h5netcdf")
    assert read.attrs == exported.attrs
    for group in GROUPS:
        xr.testing.assert_identical(dataset(read, group).load(), dataset(exported, group))
    assert dataset(read, "sample_stats")["diverging"].dtype == bool
    assert summary(read).equals(summary(exported))
    assert chain_summary(read).equals(chain_summary(exported))


@pytest.fixture(scope="module")
def predicted(mixed_run):
    model = numpyro.handlers.uncondition(mixed)
    samples = mixed_run.get_samples(group_by_chain=True)
    return Predictive(model, samples, batch_ndims=2)(jax.random.key(0))


def test_posterior_predictive_draws(mixed_run, predicted) -> None:
    coords = {"record": list("abcde")}
    idata = to_inference_data(mixed_run, posterior_predictive=predicted, coords=coords)
    group = dataset(idata, "posterior_predictive")
    assert {str(name) for name in group.data_vars} == {"gx", "mean", "y"}  # none of the objective
    assert group["y"].dims == ("chain", "draw", "record")
    assert group["y"]["record"].values.tolist() == coords["record"]
    np.testing.assert_array_equal(group["y"], predicted["y"])
    plot = getattr(az, "plot_ppc_dist", None) or az.plot_ppc
    plot(idata, var_names=["y"])
    plt.close("all")


def test_posterior_predictive_draws_of_another_shape(mixed_run, predicted) -> None:
    flat = {"y": predicted["y"].reshape(-1, len(DATA))}
    with pytest.raises(ValueError, match=r"shape \(40, 5\), and the run 2 chains of 20 draws"):
        to_inference_data(mixed_run, posterior_predictive=flat)


def regression(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("case", len(x)):
        mean = numpyro.deterministic("mean", slope * x)
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@pytest.fixture(scope="module")
def regressed():
    x = np.array([1.0, -1.0, 2.0], np.float32)
    return run(mm.MMFLD(regression), x, x, draws=10, warmup=10)


def test_predictions_for_other_data(regressed) -> None:
    samples, new = regressed.get_samples(group_by_chain=True), np.ones(5, np.float32)
    predicted = Predictive(regression, samples, batch_ndims=2)(jax.random.key(0), new)
    idata = to_inference_data(regressed, predictions=predicted, coords={"case": list("abc")})
    group = dataset(idata, "predictions")
    assert group["y"].dims == ("chain", "draw", "case")
    np.testing.assert_array_equal(group["y"], predicted["y"])
    assert group["case"].values.tolist() == [0, 1, 2, 3, 4]
    assert dataset(idata, "observed_data")["case"].values.tolist() == list("abc")
    with pytest.raises(ValueError, match=r"predictions\['y'\] has shape \(2, 9, 5\), and the run"):
        to_inference_data(regressed, predictions={"y": predicted["y"][:, 1:]})


def test_draws_of_the_prior(regressed) -> None:
    prior = Predictive(regression, num_samples=7)(jax.random.key(0), np.ones(3, np.float32))
    idata = to_inference_data(regressed, prior=prior, coords={"case": list("abc")})
    assert dataset(idata, "prior").sizes == {"chain": 1, "draw": 7, "case": 3}
    assert set(dataset(idata, "prior").data_vars) == {"slope", "mean"}
    predicted = dataset(idata, "prior_predictive")
    np.testing.assert_array_equal(predicted["y"][0], prior["y"])
    assert list(predicted.data_vars) == ["y"] and predicted["case"].values.tolist() == list("abc")
    with pytest.raises(ValueError, match=r"one leading axis, got .*'y': \(6, 3\).*num_samples"):
        to_inference_data(regressed, prior=prior | {"y": prior["y"][1:]})


def test_a_prior_of_particles_has_their_plate(mixed_run) -> None:
    model = numpyro.handlers.uncondition(mixed)
    prior = Predictive(model, num_samples=3)(jax.random.key(0))
    idata = to_inference_data(mixed_run, prior=prior)
    assert dataset(idata, "prior")["x"].dims == ("chain", "draw", "atom", "corner")
    assert list(dataset(idata, "prior_predictive").data_vars) == ["y"]
