"""F of subsamples against their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import REFERENCE, axes_or_new, bare, colour, legend_above, pooled_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def particle_number(idata: Any, *, ax: Axes | None = None) -> Axes:
    """F of a quarter, a half and all of the particles, and of many draws pooled, over 1/size; on
    average over the chains, with two standard errors.

    All points but the pooled one are subsamples of the same systems. The height of "all" over the
    pooled measure is what so few particles cost. Raises ValueError as `fixed_point` does."""
    found = pooled_statistics(idata, "objective_by_size")
    ax, size = axes_or_new(ax), found["size"].values[0]
    values = found["objective_by_size"]
    chains = values.sizes["chain"]
    mean = values.mean("chain").values
    error = np.sqrt(np.mean(found["objective_by_size_error"].values ** 2, axis=0) / chains)
    ax.errorbar(1 / size, mean, 2 * error, color=colour(0), marker="o", ms=5, lw=1.2, capsize=3)
    ax.axhline(mean[-1], color=REFERENCE, ls="--", lw=1.0, label="level of the pooled measure")
    for at, level, name in zip(1 / size, mean, values["subsample"].values, strict=True):
        ax.annotate(
            str(name),
            (at, level),
            # On the side of fewer particles the objective is higher.
            xytext=(-6, 6),
            ha="right",
            textcoords="offset points",
            fontsize="small",
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.5},
        )
    ax.set(xlabel="1 / number of particles", ylabel="objective $F$")
    ax.margins(x=0.25, y=0.12)
    legend_above(ax)
    return bare(ax)
