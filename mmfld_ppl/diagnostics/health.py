"""What the statistics of a run say is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

#: Mean acceptance of an adjusted kernel below and above which its step size is far from right.
ACCEPTANCE_RANGE = (0.1, 0.99)
#: The mean collective ratio beyond which the particles overshoot together.
LARGEST_RATIO = 1.0
#: A mean collective ratio from which on it, and not the acceptance, is what limits the step.
LIMITING_RATIO = 0.12
#: A step in units of an adapted metric, in which laws are about one wide, that nothing holds.
UNBOUNDED = 1e6
#: Chains that are listed one by one.
LISTED = 8


def mean_ratio(collective_ratio: Float[np.ndarray, "chain draw"]) -> Float[np.ndarray, " chain"]:
    """Of the draws that have one; NaN where none has."""
    known = ~np.isnan(collective_ratio)
    total = np.sum(np.where(known, collective_ratio, 0), axis=-1)
    count = np.sum(known, axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def run_complaints(
    collective_ratio: Float[np.ndarray, "chain draw"] | None,
    acceptance_rate: Float[np.ndarray, "chain draw"] | None,
    refused: Bool[np.ndarray, "chain draw"],
    where: str = "",
    chains: Sequence[Any] | np.ndarray | None = None,
    step_size: Float[np.ndarray, "chain draw"] | None = None,
) -> list[str]:
    """What is wrong, why, and what to do about it; empty when all is well.

    collective_ratio: r of each step, None for an ordinary model; a mean over 1 says that the
      particles overshoot together, which no acceptance probability notices. NaN where the measure
      was refused, which counts as a refusal; all NaN is a complaint.
    acceptance_rate: of an adjusted kernel, None for an unadjusted one. A mean over 0.99 is no
      complaint where the collective ratio keeps the step small.
    refused: whether a draw's step had moves that were refused because something was not finite.
    where: in which step, site and particle that was, in words. chains: their names, default 0, 1,
      ..."""
    labels = np.arange(len(refused)) if chains is None else np.asarray(chains)
    ratio = None if collective_ratio is None else mean_ratio(collective_ratio)
    found = []
    # Written so that a ratio that is not a number is a complaint.
    if ratio is not None and not np.all(ratio <= LARGEST_RATIO):
        bad = ~(ratio <= LARGEST_RATIO)
        found.append(
            f"the particles overshoot together in {named_chains(labels[bad])}: the mean collective "
            f"ratio is {_numbers(ratio[bad])}, and beyond 1 their mean can oscillate or run away "
            "though every single particle is accepted, so that averages over draws mislead. Take a "
            "smaller step_size, a longer warm-up where the step is adapted, or a higher "
            "temperature."
        )
    if np.any(refused):
        effect = (
            "an adjusted kernel has the law of the points where all is finite: slowed, and right "
            "unless mass lies nearer to a boundary than the precision can tell, as that of a "
            "Beta(.1, .1) at 1. Look for overflow in the model near the boundary of its supports, "
            "pass a higher target_accept_prob, or run in double precision."
            if acceptance_rate is not None
            else "that biases an unadjusted kernel. Look for overflow in the model near the "
            "boundary of its supports, take a smaller step_size, or run in double precision."
        )
        found.append(
            f"{int(refused.sum())} of {refused.size} draws had moves that were refused because the "
            "point, the potential or a slope was not finite there"
            f"{where and f' ({where})'}; {effect}"
        )
    if acceptance_rate is None:
        return found
    rate = np.mean(acceptance_rate, axis=-1)
    low, high = ACCEPTANCE_RANGE
    if np.any(slow := rate < low):
        found.append(
            f"the mean acceptance rate is {_numbers(rate[slow])} in {named_chains(labels[slow])}: "
            "moves are too long to be accepted, and draws repeat. Take a smaller step_size; where "
            "it is adapted a longer warm-up, or, if it has come to nothing, another start "
            "(init_strategy=numpyro.infer.init_to_sample)."
        )
    idle = rate > high
    if ratio is not None:
        idle &= ratio < LIMITING_RATIO
    if step_size is not None and np.any(flat := idle & ~(step_size[:, -1] < UNBOUNDED)):
        idle &= ~flat
        found.append(
            f"the mean acceptance rate is {_numbers(rate[flat], 4)} in "
            f"{named_chains(labels[flat])}, and the step grew without bound: the density is flat "
            "as far as draws go, and nothing in it holds them. Give every site a proper prior, but "
            "for angles, which need none."
        )
    if np.any(idle):
        found.append(
            f"the mean acceptance rate is {_numbers(rate[idle], 4)} in "
            f"{named_chains(labels[idle])}: steps are so short that draws hardly move. Take a "
            "larger step_size, or let the warm-up adapt it for longer."
        )
    return found


def named_chains(labels: Sequence[Any] | np.ndarray) -> str:
    """In words: "chain 1", "chains 0, 2"."""
    listed = ", ".join(map(str, labels[:LISTED]))
    others = f" and {len(labels) - LISTED} others" if len(labels) > LISTED else ""
    return f"chain{'s' if len(labels) > 1 else ''} {listed}{others}"


def _numbers(values: np.ndarray, digits: int = 2) -> str:
    listed = ", ".join(f"{v:.{digits}g}" for v in values[:LISTED])
    return listed + ", ..." * (len(values) > LISTED)
