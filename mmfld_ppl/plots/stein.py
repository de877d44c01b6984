"""The Stein discrepancy along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .style import axes_or_new, bare, chain_labels, colour, legend_above, pooled_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace_stein(idata: Any, *, ax: Axes | None = None) -> Axes:
    """The squared Stein discrepancy between the particles of a draw and the chain's proximal Gibbs
    density, a line a chain; dashed, what 95% of exact samples stay below, on average over chains.

    Unbiased, so that it scatters about zero, and below it, where nothing is wrong. Raises
    ValueError as `fixed_point` does, and for particles of more than 64 numbers."""
    wide = "Stein discrepancies are of particles of at most 64 numbers, and these have more"
    found = pooled_statistics(idata, "stein_along", wide)
    ax, along = axes_or_new(ax), found["stein_along"]
    for k, label in enumerate(chain_labels(along)):
        y = along.isel(chain=k)
        ax.plot(along["stein_draw"], y, "o-", ms=3, lw=0.9, color=colour(k), label=label)
    level = float(found["stein_threshold"].mean())
    ax.axhline(level, color="black", ls="--", lw=1.2, label="95% level")
    ax.axhline(0, color="black", lw=0.6)
    # The few early draws, on one axis with the long rest.
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xlim(0, None)
    if float(along.max()) > 10 * level:  # Linear where exact samples scatter.
        ax.set_yscale("symlog", linthresh=2 * level)
    ax.set(xlabel="draw", ylabel="squared Stein discrepancy")
    legend_above(ax)
    return bare(ax)
