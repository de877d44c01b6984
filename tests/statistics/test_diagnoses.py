"""Planted faults are found in real runs, by the checks that are there for them."""

from __future__ import annotations

import pytest

from benchmarks.diagnostics import cases, diagnoses

FAULTS = {
    "none, tau=.1 N=200": set(),
    "too few particles, N=8": {"particle number"},
    "unadjusted h=.2": {"step size", "fixed point", "Stein discrepancy"},
    "one stuck chain": {"stuck particles", "chains agree"},
    "first variation +30%": {"first variation"},
    "projected, pile-up": {"boundary", "fixed point"},
    "too short, 60 steps of .00003": {"fixed point"},
}


@pytest.mark.slow
@pytest.mark.unoptimised
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    (found,) = diagnoses(cases()[fault], runs=1)
    alarms = {check.name for check in found.checks if check.verdict in ("warn", "fail")}
    assert alarms >= FAULTS[fault], found
    assert FAULTS[fault] or found.verdict == "ok", found
