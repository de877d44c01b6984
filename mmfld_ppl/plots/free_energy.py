"""The free energy along a run, and how far above its minimum it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference_data import dataset
from .style import axes_or_new, chain_lines, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace_free_energy(idata: Any, *, ax: Axes | None = None) -> Axes:
    """F + tau KL(mu | base) at the evaluated draws, a line a chain; shaded, the range in which the
    optimality gap puts the minimum: from the mean down by the largest bound, two standard errors
    added, of all chains.

    Raises ValueError where the run was converted without diagnostics=True."""
    found = dataset(idata, "mean_field")
    ax, energy = axes_or_new(ax), found["free_energy"]
    chain_lines(ax, energy)
    if "optimality_gap" in found:
        bound = found["optimality_gap"] + 2 * found["optimality_gap_error"]
        mean, most = float(energy.mean()), float(bound.max())
        if np.isfinite(most) and most > 0:
            ax.axhspan(mean - most, mean, color="0.8", lw=0, zorder=0, label="range of the minimum")
    ax.set(xlabel="draw", ylabel=r"free energy $F + \tau\,$KL")
    legend_above(ax)
    return ax
