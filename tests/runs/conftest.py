"""A run that several tests look at."""

from __future__ import annotations

import pytest

from mmfld_ppl.runs import run
from tests.runs.cases import EXPORT, KEY, cloud_mcmc


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run of the cloud with its warm-up and all groups, in one go: (folder, inference data)."""
    store = tmp_path_factory.mktemp("whole") / "run.zarr"
    idata = run(cloud_mcmc(), KEY, store=store, chunk=7, collect_warmup=True, export=EXPORT)
    return store, idata
