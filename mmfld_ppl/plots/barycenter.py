"""A barycenter of measures in the plane beside the measures that it averages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from .border import border_of
from .objective import trace_objective
from .plane import as_atoms, covering, draw_measure, particle_cloud, particle_density
from .style import Panels, particles_of

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

#: Inputs in a row, and the panels that a row has room for at the least: a few inputs stand in its
#: middle.
COLUMNS, LEAST = 10, 6


def barycenter(
    idata: Any,
    inputs: Sequence[Any],
    *,
    site: str | None = None,
    labels: Sequence[str] | None = None,
    bandwidth: float | None = None,
    reference: float | None = None,
    fig: FigureBase | None = None,
) -> Panels:
    """Inputs on top; below them the particles of the last draw, their density, and the objective.
    All but the last have one view, with the border of the support as drawn by `particle_cloud`.

    inputs: the measures that are averaged, `Measure`s or (points, weights) pairs, points (m, 2).
      Grey levels where the points lie on a grid, else discs.
    site: the particles' site; default, the only one in the plane. labels: of the inputs.
    bandwidth: of the density, see `particle_density`. reference: see `trace_objective`.
    fig: a figure or a sub-figure to draw in.

    Returns the axes: "inputs" (a list), "particles", "density", "objective"; its `.figure` can be
    saved, while that of the single axes is a part of it.
    Raises ValueError for no inputs, or inputs and particles that are not in the plane."""
    measures = as_atoms(inputs)
    if not measures:
        raise ValueError("a barycenter needs inputs, got none")
    if labels is not None and len(labels) != len(measures):
        raise ValueError(f"{len(measures)} inputs need as many labels, got {len(labels)}")
    values = particles_of(idata, site, 2)
    last = values.isel(draw=-1).values.reshape(-1, 2)
    # Inputs may be near a side that no particle is near to.
    shown = np.concatenate([last, *(points for points, _ in measures)])
    border = border_of(idata, xr.DataArray(shown, name=values.name), (0, 1))
    extent = covering(measures, last, border)
    if fig is None:
        from matplotlib import pyplot as plt
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        # With room between the density and the label of the objective.
        fig = plt.figure(figsize=(10, 5.2), layout=ConstrainedLayoutEngine(wspace=0.06))
    rows = math.ceil(len(measures) / COLUMNS)
    parts: Any = fig.subfigures(2, 1, height_ratios=(rows, 2.6))
    above, below = parts
    columns = min(max(len(measures), LEAST), COLUMNS)
    grid = above.subplots(rows, columns, squeeze=False).ravel()
    first = (columns - len(measures)) // 2 if rows == 1 else 0
    panels = list(grid[first : first + len(measures)])
    for k, (ax, measure) in enumerate(zip(panels, measures, strict=True)):
        draw_measure(ax, measure, extent, border)
        ax.set(xticks=[], yticks=[])
        ax.set_title(str(k) if labels is None else labels[k], fontsize="small")
    for ax in {*grid} - {*panels}:
        ax.set_axis_off()
    panels[0].set_ylabel("inputs")
    particles, density, objective = below.subplots(1, 3, width_ratios=(1, 1, 1.15))
    particle_cloud(idata, site=site, extent=extent, ax=particles)
    particles.set_title("particles, last draw", fontsize="medium")
    particle_density(idata, site=site, bandwidth=bandwidth, extent=extent, ax=density)
    density.set_title("density, all draws", fontsize="medium")
    density.set(ylabel="", yticklabels=[])
    trace_objective(idata, reference=reference, ax=objective)
    axes = {"inputs": panels, "particles": particles, "density": density, "objective": objective}
    return Panels(fig, axes)
