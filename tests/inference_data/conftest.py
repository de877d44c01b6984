"""Runs that several tests convert; each is made once."""

from __future__ import annotations

import pytest
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from tests.helpers import run
from tests.inference_data.models import FIXED, cloud, mixed


@pytest.fixture(scope="session")
def mixed_run() -> MCMC:
    return run(mm.MMFLD(mixed, **FIXED), warmup=20, draws=20)


@pytest.fixture(scope="session")
def cloud_run() -> MCMC:
    return run(mm.MMFLD(cloud, **FIXED), warmup=20, draws=20, thinning=2)


@pytest.fixture(scope="session")
def nuts_run() -> MCMC:
    return run(NUTS(mixed), warmup=10, draws=10)
