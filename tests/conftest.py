"""Set-up and fixtures of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator

import jax
import numpyro
import pytest

# Figures are drawn without a display. Matplotlib reads this when it is first imported.
os.environ["MPLBACKEND"] = "Agg"

# Two CPU devices, so that chain_method="parallel" is what it says. This must come before the first
# computation.
numpyro.set_host_device_count(2)


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def progress_bar_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `MCMC(progress_bar=True)` take its own path, which compiles and steps differently.

    NumPyro turns the bar off when it sees either of these variables, so that the test would
    otherwise run the path without a bar on a build server or under pytest-xdist."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
