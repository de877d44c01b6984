"""Snapshots of a population: clouds of cells of unequal sizes, made one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arrays import as_array, is_known
from ..measures import Measure
from .checks import (
    require_finite,
    require_one_each,
    require_probabilities,
    require_same_events,
)
from .stacking import stack_measures

#: Cells with equal masses, or a measure of cells.
Snapshot = Measure | Array | np.ndarray


def stack_snapshots(
    snapshots: Sequence[Snapshot], times: Float[Array, " t"] | np.ndarray | Sequence[float]
) -> tuple[Measure, np.ndarray, Array | np.ndarray]:
    """One measure a time, stacked and filled up with cells of no mass; cells counted; times.

    Raises ValueError that names the snapshot, by its place and time, which is empty, not finite,
    of another shape than the first, or whose masses are no probabilities; and for times that are
    not as many, not finite, not increasing. Raises TypeError for a mapping of snapshots."""
    if isinstance(snapshots, Mapping | Measure):
        raise TypeError(
            f"snapshots must be a list, with times= apart, got {type(snapshots).__name__}: of a "
            "dictionary {time: cells} pass list(d.values()) and times=list(d)"
        )
    snapshots = list(snapshots)
    at: Any = as_array("the times of the snapshots", times)
    at = np.asarray(at, dtype=float) if is_known(at) else at
    _check_times(at, len(snapshots))
    names = [
        f"snapshot {k}" + (f" (time {at[k]:g})" if is_known(at) else "")
        for k in range(len(snapshots))
    ]
    measures = [_as_measure(s, name) for s, name in zip(snapshots, names, strict=True)]
    for measure, name in zip(measures, names, strict=True):
        require_same_events(name, measure.points, names[0], measures[0].points)
    counts = np.array([measure.size for measure in measures])
    return stack_measures(measures), counts, at


def _check_times(times: Float[Array, " t"] | np.ndarray, count: int) -> None:
    require_one_each("times", times, count, "snapshots")
    if count < 2:
        raise ValueError(
            f"a path needs snapshots at two times or more, got {count}; for one snapshot alone use "
            "MixtureLikelihood"
        )
    if not is_known(times):
        return
    known = np.asarray(times)
    if not np.all(np.isfinite(known)):
        raise ValueError(f"the times of the snapshots must be finite, got {known}")
    if not np.all(np.diff(known) > 0):
        k = int(np.argmin(np.diff(known) > 0))
        raise ValueError(
            f"the times of the snapshots must increase, got {known[k]:g} and then {known[k + 1]:g} "
            f"at places {k} and {k + 1}: sort snapshots by time, and join those of equal times"
        )


def _as_measure(snapshot: Snapshot, name: str) -> Measure:
    if isinstance(snapshot, Measure):
        measure = snapshot
    else:
        # What can be looked at is, before JAX has it: a trace stages even constants.
        points: Any = as_array(f"the cells of {name}", snapshot)
        if not np.ndim(points) or not np.shape(points)[0]:
            raise ValueError(
                f"{name} has no cells, its shape is {np.shape(points)}: leave it and its time out, "
                "what is in between comes by interpolation"
            )
        require_finite(f"the cells of {name}", points)
        floating = jnp.issubdtype(points.dtype, jnp.inexact)
        measure = Measure.uniform(jnp.asarray(points if floating else points.astype(float)))
    require_finite(f"the cells of {name}", measure.points)
    require_probabilities(f"the masses of {name}", measure.weights)
    return measure
