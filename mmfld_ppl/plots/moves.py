"""How the particles moved: acceptance, step size and collective ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference_data import dataset
from .style import Panels, chain_lines, legend_above

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

#: Statistics of a move, and how their axis is called.
LABELS = {
    "acceptance_rate": "acceptance",
    "step_size": "step size",
    "collective_ratio": "collective ratio",
}


def trace_moves(idata: Any, *, fig: FigureBase | None = None) -> Panels:
    """A panel each for what the run has of acceptance rate, step size and collective ratio, a line
    a chain, named above the first; the ratio's limit of one is dashed.

    Returns the axes by the names of the statistics, with their `.figure`. Raises ValueError where
    there is none."""
    from matplotlib import pyplot as plt

    stats = dataset(idata, "sample_stats")
    names = [name for name in LABELS if name in stats]
    if not names:
        raise ValueError(f"the run has none of the statistics {sorted(LABELS)}")
    if fig is None:
        fig = plt.figure(figsize=(6.0, 1.7 * len(names)), layout="constrained")
    found = dict(zip(names, np.ravel(fig.subplots(len(names), sharex=True)), strict=True))
    for name, ax in found.items():
        chain_lines(ax, stats[name], labelled=name == names[0])
        ax.set_ylabel(LABELS[name])
    if "collective_ratio" in found:
        found["collective_ratio"].axhline(1.0, color="black", ls="--", lw=1.0, label="limit")
    for ax in found.values():
        legend_above(ax)
    found[names[-1]].set_xlabel("draw")
    return Panels(fig, found)
