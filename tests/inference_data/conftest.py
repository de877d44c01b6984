"""Runs that several tests convert; each is made once."""

from __future__ import annotations

import pytest
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from tests.inference_data.runs import cloud, mixed, run


@pytest.fixture(scope="session")
def mixed_run() -> MCMC:
    return run(mm.MMFLD(mixed))


@pytest.fixture(scope="session")
def cloud_run() -> MCMC:
    return run(mm.MMFLD(cloud), thinning=2)


@pytest.fixture(scope="session")
def nuts_run() -> MCMC:
    return run(NUTS(mixed), num_warmup=10, num_samples=10)
