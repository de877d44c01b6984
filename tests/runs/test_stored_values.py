"""What a store can hold, and what it cannot: said before the first step."""

from __future__ import annotations

import datetime

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr
from numpyro.infer import NUTS

from mmfld_ppl.runs import open_run, run
from mmfld_ppl.runs.files import locked
from mmfld_ppl.runs.store import Store
from tests.runs.cases import KEY, groups_of, identical, mcmc_of


def regions():
    numpyro.sample("e", dist.Normal(0.0, 1.0).expand([2]).to_event(1), infer={"event_dims": ["at"]})


def nothing():
    """A site of no entries beside one of one."""
    numpyro.sample("none", dist.Normal(0.0, 1.0).expand([0]).to_event(1))
    numpyro.sample("x", dist.Normal(0.0, 1.0))


def narrow():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.deterministic("half", x.astype(jnp.bfloat16))


def mcmc(model, draws=4, warmup=2, chains=1):
    return mcmc_of(NUTS(model), draws, warmup, chains)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "bcd"], dtype=object),
        pd.Index(["a", "b"]),
        pd.Categorical(["a", "b"]),
        pd.date_range("2020", periods=2),
    ],
    ids=["objects", "index", "categories", "dates"],
)
def test_labels_are_kept(labels, tmp_path):
    idata = run(mcmc(regions), KEY, store=tmp_path / "run.zarr", export={"coords": {"at": labels}})
    assert list(groups_of(idata)["posterior"]["at"].values) == list(np.asarray(labels))


@pytest.mark.parametrize(
    ("model", "export", "words"),
    [
        (regions, {"coords": {"at": [datetime.date(2020, 1, d) for d in (1, 2)]}}, r"'at' .*date"),
        (regions, {"coords": {"at": pd.period_range("2020", periods=2)}}, r"'at' .*Period"),
        (regions, {"constant_data": {"w": np.array([{}, 1])}}, "'w' has values of type object"),
        (regions, {"coords": {"draw": range(4)}}, "coords names 'draw'"),
        (narrow, {}, "'half' has values of type bfloat16"),
    ],
)
def test_what_cannot_be_stored_is_said_before_anything_is(model, export, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        run(mcmc(model), KEY, store=tmp_path / "run.zarr", export=export)
    assert Store(tmp_path / "run.zarr").committed is None


def test_nothing_is_stored_as_nothing(tmp_path):
    store, export = tmp_path / "run.zarr", {"constant_data": {"w": np.zeros((2, 0))}}
    groups = groups_of(run(mcmc(nothing), KEY, store=store, chunk=3, export=export))
    assert groups["posterior"]["none"].shape == (1, 4, 0)
    assert groups["constant_data"]["w"].shape == (2, 0)


def test_what_is_opened_can_be_written_elsewhere(tmp_path):
    labels = {"coords": {"at": pd.date_range("2020", periods=2)}}
    idata = run(mcmc(regions), KEY, store=tmp_path / "run.zarr", chunk=3, export=labels)
    posterior = groups_of(idata)["posterior"]
    posterior.to_zarr(tmp_path / "again.zarr")
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "again.zarr").load(), posterior)
    posterior.to_netcdf(tmp_path / "again.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "again.nc"), posterior)


def test_a_store_that_cannot_be_written_to(tmp_path):
    """Says so, and how to read it."""
    store = tmp_path / "run.zarr"
    whole = run(mcmc(regions), KEY, store=store)
    lock = Store(store).lock
    lock.unlink()
    lock.mkdir()  # Permissions do not bind every user.
    with pytest.raises(OSError, match="intact, 6 steps.*mm.open_run"):
        run(mcmc(regions), KEY, store=store, resume=True)
    identical(open_run(store), whole)
    lock.rmdir()
    with locked(lock):
        identical(open_run(store), whole)


@pytest.mark.parametrize("chunk", [0, 2.5])
def test_a_chunk_is_a_number_of_draws(chunk, tmp_path):
    with pytest.raises(ValueError, match=f"positive number of draws, got {chunk}"):
        run(mcmc(regions), KEY, store=tmp_path / "run.zarr", chunk=chunk)


def test_each_chain_has_its_start(tmp_path):
    """And it is the one that `MCMC` would have."""
    start = {"e": jnp.arange(6.0).reshape(3, 2)}
    with pytest.raises(ValueError, match=r"init_params\['e'\] has shape \(3, 2\), and 2 chains"):
        run(mcmc(regions, chains=2), KEY, store=tmp_path / "run.zarr", init_params=start)
    three = mcmc_of(NUTS(regions, step_size=1e-6, adapt_step_size=False), 1, 0, 3)
    idata = run(three, KEY, store=tmp_path / "three.zarr", init_params=start)
    np.testing.assert_allclose(groups_of(idata)["posterior"]["e"][:, 0], start["e"], atol=0.01)
