"""Colours, axes, and what every picture reads from a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..inference_data import dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The palette of Okabe and Ito (2008), told apart with any colour vision; without its yellow,
#: which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: Marks what a run is compared with.
REFERENCE = "#D55E00"
#: More chains than this have no entries in a legend.
MOST_LABELS = 6
#: Shades of measures: more ink, more mass.
INK = "Greys"


def colour(k: int) -> str:
    """Of the k-th chain."""
    return COLOURS[k % len(COLOURS)]


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def bare(ax: Axes) -> Axes:
    """Without the lines on the sides that carry no scale."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def chain_lines(ax: Axes, values: xr.DataArray, *, labelled: bool = True) -> None:
    """A statistic over its draws, a line a chain; with an entry each in the legend, where they are
    few and `labelled`."""
    labelled &= values.sizes["chain"] <= MOST_LABELS
    for k, chain in enumerate(values["chain"].values):
        label = f"chain {chain}" if labelled else None
        y = values.isel(chain=k)
        ax.plot(values["draw"], y, color=colour(k), lw=0.8, alpha=0.85, label=label)
    ax.margins(x=0.01)
    bare(ax)


def particles_of(idata: Any, site: str | None, size: int) -> xr.DataArray:
    """Particles in R^size, with dims chain, draw, plate, coordinate.

    site: default, the only site of the particle plate with one event axis of this size.
    Raises ValueError where there is no such site, or more than one."""
    posterior = dataset(idata, "posterior")
    plate = posterior.attrs.get("particle_plate")
    if plate is None:
        raise ValueError("the run has no particles: its model has no mm.particles plate")
    fitting = [
        str(name)
        for name, values in posterior.data_vars.items()
        if plate in values.dims and values.ndim == 4 and values.shape[-1] == size
    ]
    if site is None and len(fitting) != 1:
        raise ValueError(
            f"site= must say which particle site to draw: those of {size} coordinates are {fitting}"
        )
    if site is not None and site not in fitting:
        raise ValueError(
            f"site '{site}' is no particle site of {size} coordinates; those are {fitting}"
        )
    values = posterior[site or fitting[0]]
    coordinate = next(d for d in values.dims[2:] if d != plate)
    return values.transpose("chain", "draw", plate, coordinate)


def pooled(values: xr.DataArray, most: int) -> np.ndarray:
    """Points of all chains and evenly spaced draws, about `most` of them, (n, coordinates)."""
    chains, draws, size, _ = values.shape
    keep = max(1, min(draws, most // (chains * size)))
    at = np.unique(np.linspace(0, draws - 1, keep).round().astype(int))
    return values.values[:, at].reshape(-1, values.shape[-1])
