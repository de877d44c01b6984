"""Runs of small models, and what they must agree in."""

from __future__ import annotations

import jax
import numpy as np
import xarray as xr
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from tests import small_models as models

KEY = jax.random.key(5)
#: All options of `export=`, for a run of the cloud.
EXPORT = {
    "log_likelihood": True,
    "dual": True,
    "dims": {"seen_at": ["station"]},
    "coords": {"station": ["north", "south"], "atom": list("abcdef")},
    "constant_data": {"seen_at": np.array([1.5, 2.5])},
}


def cloud_mcmc(draws=20, warmup=10, chains=2, **options) -> MCMC:
    """Particles and global sites, one of which bounds the particles."""
    return mcmc_of(mm.MMFLD(models.centred_cloud), draws, warmup, chains, **options)


def nuts_mcmc(draws=20, warmup=10, chains=2, **options) -> MCMC:
    return mcmc_of(NUTS(models.coin), draws, warmup, chains, **options)


def mcmc_of(kernel, draws, warmup, chains, **options) -> MCMC:
    return MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
        **options,
    )


def groups_of(idata) -> dict[str, xr.Dataset]:
    names = list(idata.children if isinstance(idata, xr.DataTree) else idata.groups())
    return {str(name): mm.inference_data.dataset(idata, str(name)).load() for name in names}


def identical(a, b) -> None:
    """Asserts the same groups, variables, dims, coordinates and values, to the last bit."""
    a, b = groups_of(a), groups_of(b)
    assert set(a) == set(b)
    for name, ours in a.items():
        assert list(ours.data_vars) == list(b[name].data_vars)
        xr.testing.assert_equal(ours, b[name])
        for variable in ours.variables:
            assert ours[variable].dtype == b[name][variable].dtype
            if ours[variable].dtype.kind == "f":
                # NaN of any payload, and signed zeros.
                np.testing.assert_array_equal(
                    np.signbit(ours[variable].values), np.signbit(b[name][variable].values)
                )
