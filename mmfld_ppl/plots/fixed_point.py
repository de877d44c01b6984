"""How far each chain's measure is from its own fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .style import REFERENCE, Panels, bare, colour, legend_above, pooled_statistics

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase


def fixed_point(idata: Any, *, fig: FigureBase | None = None) -> Panels:
    """Of each chain: the bound on what F + tau KL can still fall by, with two standard errors, and
    the squared Stein discrepancy, with a mark below which 95% of exact samples stay.

    Returns the axes "gap" and "stein", with their `.figure`. Raises ValueError where the run was
    converted without diagnostics=True, or its measures were not pooled: because of sites beside the
    particles, a functional of several measures, or too few particles."""
    from matplotlib import pyplot as plt

    found = pooled_statistics(idata, "optimality_gap")
    if fig is None:
        fig = plt.figure(figsize=(7.0, 3.0), layout="constrained")
    left, right = fig.subplots(1, 2)
    chains = found["chain"].values
    at = np.arange(len(chains))
    left.errorbar(
        at,
        found["optimality_gap"],
        2 * found["optimality_gap_error"],
        color=colour(0),
        fmt="o",
        ms=5,
        capsize=3,
    )
    left.axhline(0, color="black", lw=0.8)
    left.set(ylabel=r"bound on $L(\mu) - L(\mu^*)$")
    right.plot(at, found["stein_statistic"], "o", color=colour(0), ms=5)
    level = found["stein_threshold"]
    right.hlines(level, at - 0.3, at + 0.3, color=REFERENCE, lw=2, label="95% level")
    right.set(ylabel="Stein discrepancy, squared")
    legend_above(right)
    for ax in (left, right):
        ax.set(xlabel="chain", xticks=at, xticklabels=chains)
        ax.margins(x=0.15)
        bare(ax)
    return Panels(fig, {"gap": left, "stein": right})
