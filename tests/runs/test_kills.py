"""A run that is killed at any moment loses nothing that it had committed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import mmfld_ppl as mm
from benchmarks.streaming import kills
from mmfld_ppl.runs import open_run
from mmfld_ppl.runs.files import locked
from mmfld_ppl.runs.setup import Setup
from mmfld_ppl.runs.store import Store
from mmfld_ppl.runs.streaming import _Streamed
from tests import small_models as models
from tests.runs.cases import KEY, groups_of, identical, mcmc_of
from tests.runs.killing import Killed, failing

KILLS = 50


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    """One compiled run, which is begun many times."""
    mcmc = mcmc_of(mm.MMFLD(models.coin), draws=17, warmup=8, chains=2)
    target = Store(tmp_path_factory.mktemp("setup") / "run.zarr")
    target.make()
    target.claim(resume=False)
    return Setup(mcmc, KEY, (), {}, target, 5, True, (), None, None)


def live(setup: Setup, path: Path) -> _Streamed:
    """What `run(resume=True)` does, less what it does once."""
    target = Store(path)
    target.make()
    with locked(target.lock):
        target.claim(resume=True)
        streamed = _Streamed(setup, target)
        if not streamed.finished:
            streamed.advance()
    return streamed


def test_killed_at_random_operations(setup, tmp_path):
    live(setup, tmp_path / "whole.zarr")
    expected = open_run(tmp_path / "whole.zarr")
    chance, kills, half = random.Random(0), 0, 0
    for trial in range(KILLS):
        path, has = tmp_path / f"{trial}.zarr", 0
        while True:
            try:
                with failing(path, after=chance.randrange(400)):
                    live(setup, path)
                break
            except Killed:
                kills += 1
            if (path / ".zmetadata").exists():
                # Nothing that was committed is lost, and it can be read as it stands.
                seen = groups_of(open_run(path)).get("posterior")
                now = 0 if seen is None else seen.sizes["draw"]
                before, has = has, now
                assert now >= before
                half += 0 < now < 17
                if seen is not None and now > before:
                    full = groups_of(expected)["posterior"].isel(draw=slice(now))
                    assert seen.equals(full)
        identical(open_run(path), expected)
        if kills >= KILLS:
            break
    assert kills >= KILLS and half > 0


@pytest.mark.slow
def test_killed_by_the_system():
    """Processes that are killed; `python -m benchmarks.streaming --kills 50` has more of them."""
    rows = kills(3)
    assert all(row["same draws"] for row in rows)
    assert sum(row["before"] + row["in warm-up"] + row["in sampling"] for row in rows) >= 3
