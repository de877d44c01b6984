"""The objective along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference_data import dataset
from .style import axes_or_new, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More chains than this have no entries in the legend.
MOST_LABELS = 6


def trace_objective(idata: Any, *, reference: float | None = None, ax: Axes | None = None) -> Axes:
    """F(mu) at each draw, a line a chain.

    reference: a value to compare with, such as a known optimum. Raises ValueError where the run
    has no objective."""
    stats = dataset(idata, "sample_stats")
    if "objective" not in stats:
        raise ValueError("the run has no objective: its model has no mm.objective statement")
    ax, objective = axes_or_new(ax), stats["objective"]
    draws = np.arange(objective.sizes["draw"])
    labelled = objective.sizes["chain"] <= MOST_LABELS
    for k, chain in enumerate(objective["chain"].values):
        label = f"chain {chain}" if labelled else None
        ax.plot(draws, objective.isel(chain=k), color=colour(k), lw=0.8, alpha=0.85, label=label)
    if reference is not None:
        ax.axhline(reference, color="black", ls="--", lw=1.2, label="reference")
    ax.set(xlabel="draw", ylabel="objective $F$")
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small", ncols=2)
    return ax
