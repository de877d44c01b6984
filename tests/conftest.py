"""Set-up and fixtures of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version

import arviz  # noqa: F401
import jax
import numpyro
import pytest

# ArviZ 0.23 writes a file at its first import of a day, and fails where two processes do so at
# once. The import above comes before test processes are started.

# Figures are drawn without a display. Matplotlib reads this when it is first imported.
os.environ["MPLBACKEND"] = "Agg"

jaxlib = ".".join(version("jaxlib").split(".")[:2])

# Three quarters of the time that jaxlib 0.10 takes to compile go into its emitters of fusions, a
# twelfth of that of either into dividing modules among threads that a test process has not got.
# Other versions need not know the flags, and would stop at them. The preset FAST_COMPILE of 0.12 is
# no way: inverse norms of mirror maps came out wrong under it.
undivided = "--xla_cpu_parallel_codegen_split_count=1"
flags = {"0.10": f"--xla_cpu_use_fusion_emitters=false {undivided}", "0.12": undivided}.get(jaxlib)
if flags is not None:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

# These two divide a batch of factorisations among the threads of a pool while they hold one of
# them: two such batches at once stop a pool of two for ever (docs/gotchas.md). This must come
# before the first computation.
if jaxlib in ("0.10", "0.11"):
    os.environ.setdefault("NPROC", "8")

# A test process of several keeps to one core. Threads that wait for others to finish their share of
# a batch do so at full speed: sharing two cores, one law of matrices took ten times its CPU time.
worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker is not None and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

# Two CPU devices, so that chain_method="parallel" is what it says. This must come before the first
# computation.
numpyro.set_host_device_count(2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Most tests compile much and run little, so that XLA had better not optimise. Not so the slow
    ones, but for those with a mark `unoptimised`, and those with a mark `optimised`."""
    marks = {mark.name for mark in item.iter_markers()}
    runs_long = bool(marks & {"slow", "optimised"}) and "unoptimised" not in marks
    jax.config.update("jax_disable_most_optimizations", not runs_long)


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
