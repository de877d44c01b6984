"""What an exported run has to pass, one check a function: number, verdict and advice."""

from collections.abc import Callable

from .base import FAIL, OK, SKIPPED, WARN, Check, Run
from .hierarchy import hierarchy
from .measure import boundary, first_variation, fixed_point, particle_number, resolution, stein
from .moves import (
    adapted_step,
    moves,
    overshoot,
    precision,
    standstill,
    stuck,
    unadjusted_step,
)
from .problem import mixture, snapshots, transport
from .replicates import accuracy, agreement, decay, finite, stationarity

#: In the order of a report.
CHECKS: tuple[Callable[[Run], Check | None], ...] = (
    moves,
    overshoot,
    unadjusted_step,
    precision,
    adapted_step,
    standstill,
    stuck,
    finite,
    decay,
    stationarity,
    agreement,
    accuracy,
    hierarchy,
    resolution,
    fixed_point,
    stein,
    first_variation,
    particle_number,
    boundary,
    transport,
    snapshots,
    mixture,
)

__all__ = ["CHECKS", "FAIL", "OK", "SKIPPED", "WARN", "Check", "Run"]
