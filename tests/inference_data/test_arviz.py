"""ArviZ's own functions on exported runs, in whichever generation is installed."""

from __future__ import annotations

import arviz as az
import jax
import numpy as np
import numpyro
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from numpyro.infer import Predictive

from mmfld_ppl.inference_data import chain_summary, dataset, summary, to_inference_data
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
