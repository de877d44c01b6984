"""Which statistics are a complaint."""

from __future__ import annotations

import numpy as np
import pytest

from mmfld_ppl.diagnostics import run_complaints

FINE = np.zeros((2, 4), bool)


def constant(*values: float) -> np.ndarray:
    return np.repeat(np.array(values)[:, None], 4, axis=1)


@pytest.mark.parametrize(
    ("ratio", "rate", "words"),
    [
        (constant(0.9, 0.5), constant(0.5, 0.7), None),
        (None, constant(0.5, 0.7), None),
        (constant(0.9, 0.5), None, None),
        (
            constant(0.5, 1.2),
            None,
            "in chain 1: the mean collective ratio is 1.2",
        ),
        (constant(np.nan, np.inf), None, "in chains 0, 1: the mean collective ratio is nan, inf"),
        # Where a measure was refused there is none.
        (
            np.array([[0.5, np.nan, 0.9, 0.2], [np.nan, 1.5, 1.5, 1.5]]),
            None,
            "in chain 1: the mean",
        ),
        (None, constant(0.09, 0.5), "rate is 0.09 in chain 0: moves are too long"),
        (None, constant(0.5, 0.995), "rate is 0.995 in chain 1: steps are so short"),
        # The collective ratio is what keeps the step small.
        (constant(0.1, 0.5), constant(0.9, 0.995), None),
        (constant(0.1, 0.1), constant(0.9, 0.995), "so short"),
    ],
)
def test_ratios_and_acceptance(ratio, rate, words) -> None:
    found = run_complaints(ratio, rate, FINE)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_an_acceptance_that_no_step_is_too_long_for() -> None:
    """Where the step grew without bound it is not too short, and where it did not it is."""
    rate, step = constant(0.995, 0.995, 0.5, 0.995), constant(1e20, 0.1, 1e20, np.nan)
    found = run_complaints(None, rate, np.zeros((4, 4), bool), step_size=step)
    grown, short = found
    assert "0.995, 0.995 in chains 0, 3, and the step grew" in grown and "proper prior" in grown
    assert "0.995 in chain 1: steps are so short" in short


def test_refusals_are_counted() -> None:
    refused = FINE.copy()
    refused[0, 1:3] = True
    (found,) = run_complaints(None, None, refused)
    assert found.startswith("2 of 8 draws")


def test_many_chains_are_not_all_listed() -> None:
    rate = np.full((64, 4), 0.01)
    (found,) = run_complaints(None, rate, np.zeros((64, 4), bool), chains=range(100, 164))
    assert "in chains 100, 101, 102, 103, 104, 105, 106, 107 and 56 others" in found


def test_one_complaint_does_not_hide_another() -> None:
    assert len(run_complaints(constant(2.0, 2.0), constant(0.01, 0.01), ~FINE)) == 3
