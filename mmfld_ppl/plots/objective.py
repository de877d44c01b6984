"""The objective along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..inference_data import dataset
from .style import axes_or_new, chain_lines, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace_objective(idata: Any, *, reference: float | None = None, ax: Axes | None = None) -> Axes:
    """F(mu) at each draw, a line a chain.

    reference: a value to compare with, such as a known optimum. Raises ValueError where the run
    has no objective."""
    stats = dataset(idata, "sample_stats")
    if "objective" not in stats:
        raise ValueError("the run has no objective: its model has no mm.objective statement")
    ax, objective = axes_or_new(ax), stats["objective"]
    chain_lines(ax, objective)
    if reference is not None:
        ax.axhline(reference, color="black", ls="--", lw=1.2, label="reference")
    ax.set(xlabel="draw", ylabel="objective $F$")
    legend_above(ax)
    return ax
