"""Paths of a population over the snapshots that they were inferred from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference_data import dataset
from ..inference_data.thinning import evenly
from .style import TIME, axes_or_new, bare, dot_size, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Times that have an entry in the legend.
MOST_TIMES = 8


def trajectories(
    idata: Any,
    *,
    units: Sequence[float] | None = None,
    most: int = 100,
    ax: Axes | None = None,
) -> Axes:
    """Paths, in grey, and the cells of the snapshots, coloured by time, the darkest first. Cells of
    one coordinate are drawn over time; of more, the first two are drawn. Of many times some have an
    entry in the legend, the first and the last among them.

    Reads the groups `paths` and `snapshots`: `x` (chain, draw, path, time, coordinate), of which
    the last draw is shown, and `x` (observed_cell, coordinate) with `observed_time`.

    units: what one unit of each coordinate stands for; the axes show the products. Default: 1.
    most: paths of all chains together.

    Raises ValueError where the run has no such groups, or for another number of units than of
    coordinates."""
    paths, cells = dataset(idata, "paths")["x"], dataset(idata, "snapshots")
    # Of coordinates without names there is the number.
    labels = [str(c) for c in paths["coordinate"].values]
    names = [f"coordinate {c}" if c.isdigit() else c for c in labels]
    scale = np.ones(len(names)) if units is None else np.asarray(units, float)
    if scale.shape != (len(names),):
        raise ValueError(f"{len(names)} coordinates need as many units, got {scale.shape}")
    last = scale * paths.isel(draw=-1).values
    # Paths of the chains in turn, so that a few of them are of all chains.
    lines = np.swapaxes(last, 0, 1).reshape(-1, *last.shape[2:])[:most]
    points, at = scale * cells["x"].values, cells["observed_time"].values
    time = paths["time"].values
    ax = axes_or_new(ax)
    flat = len(names) == 1
    drawn = []
    for k, line in enumerate(lines):
        xy = (time, line[:, 0]) if flat else (line[:, 0], line[:, 1])
        drawn += ax.plot(*xy, color="0.7", lw=0.6, zorder=1, label=None if k else "paths")
    shown = ax.scatter(
        *((at, points[:, 0]) if flat else (points[:, 0], points[:, 1])),
        c=at,
        s=dot_size(len(points)),
        cmap=TIME,
        vmin=at.min(),
        # Without the palest end, which white paper swallows.
        vmax=at.max() + 0.25 * np.ptp(at),
        lw=0,
        zorder=2,
    )
    named = np.unique(at)
    named = named[evenly(len(named), MOST_TIMES)]
    times = (f"{t:g}" for t in named)
    legend_beside(ax, "time", shown.to_rgba(named), times, *drawn[:1])
    ax.set(xlabel="time" if flat else names[0], ylabel=names[0] if flat else names[1])
    return bare(ax)
