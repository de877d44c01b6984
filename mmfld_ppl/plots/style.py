"""Colours, axes, and what every picture reads from a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..inference_data import dataset
from ..inference_data.datasets import masses_of, support_of
from ..inference_data.mean_field import why_not_pooled
from ..inference_data.thinning import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

#: The palette of Okabe and Ito (2008), told apart with any colour vision; without its yellow,
#: which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: Marks what a run is compared with; beside chains, one of which has this colour, black does.
REFERENCE = "#D55E00"
#: More chains than this have no entries in a legend.
MOST_LABELS = 6
#: Entries of a legend above its axes.
MOST_IN_A_ROW = 4
#: Shades of measures: more ink, more mass.
INK = "Greys"
#: Shades of time, from dark to light, in order for any colour vision.
TIME = "viridis"
#: Points of a trace of draws.
MOST_IN_A_TRACE = 400
#: Events that enter a picture of their law.
MOST_POINTS = 500_000


class Panels(dict[str, Any]):
    """The axes of a picture of several panels, by name.

    figure: the whole one that they are in, also where the panels are in parts of it, which cannot
    be saved."""

    def __init__(self, figure: FigureBase, axes: Mapping[str, Axes | list[Axes]]) -> None:
        super().__init__(axes)
        # Of a part as well this is the whole.
        self.figure = cast("Figure", figure.figure)


def colour(k: int) -> str:
    """Of the k-th chain."""
    return COLOURS[k % len(COLOURS)]


def pooled_statistics(idata: Any, name: str, otherwise: str = "") -> xr.Dataset:
    """The group mean_field, which must have this statistic of the pooled measures.

    Raises ValueError, saying why it has not: `otherwise` where measures were pooled."""
    found = dataset(idata, "mean_field")
    if name not in found:
        raise ValueError(why_not_pooled(found) or otherwise)
    return found


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def dot_size(count: int) -> float:
    """Of one of so many points: fewer are drawn larger."""
    return float(np.clip(8000 / count, 3, 16))


def bare(ax: Axes) -> Axes:
    """Without the lines on the sides that carry no scale."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def chain_labels(values: xr.DataArray) -> list[str | None]:
    """Of the chains in a legend; None each where they are too many."""
    chains = values["chain"].values
    return [f"chain {chain}" if len(chains) <= MOST_LABELS else None for chain in chains]


def chain_lines(ax: Axes, values: xr.DataArray, *, labelled: bool = True) -> None:
    """A statistic over its draws, a line a chain; with an entry each in the legend, where they are
    few and `labelled`. Of more than MOST_IN_A_TRACE draws the line is that of means over
    neighbouring ones, in a band from their least to their largest."""
    labels = chain_labels(values) if labelled else [None] * values.sizes["chain"]
    # A line of one point is nothing to be seen.
    marker = "o" if values.sizes["draw"] == 1 else None
    together = -(-values.sizes["draw"] // MOST_IN_A_TRACE)
    drawn = values.assign_coords(draw=values["draw"]).coarsen(draw=together, boundary="pad")
    line, low, high = drawn.mean(), drawn.min(), drawn.max()
    for k, label in enumerate(labels):
        x, y, shade = line["draw"], line.isel(chain=k), colour(k)
        ax.plot(x, y, color=shade, lw=0.8, alpha=0.85, label=label, marker=marker)
        if together > 1:
            least, largest = low.isel(chain=k), high.isel(chain=k)
            ax.fill_between(x, least, largest, color=shade, alpha=0.15, lw=0)
    ax.margins(x=0.01)
    bare(ax)


def legend_above(ax: Axes) -> None:
    """What is labelled, in even rows above the axes, where it hides no line."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        rows = -(-len(labels) // MOST_IN_A_ROW)
        ax.legend(
            handles,
            labels,
            frameon=False,
            fontsize="small",
            ncols=-(-len(labels) // rows),
            columnspacing=1.0,
            handlelength=1.2,
            # On the right, as the power of ten of an axis stands on the left.
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
        )


def legend_beside(
    ax: Axes, title: str, shades: Iterable[Any], labels: Iterable[str], *others: Any
) -> None:
    """What dots of each colour are, in a column on the right of the axes, above `others`, which
    have labels of their own."""
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], ls="", marker="o", ms=5, color=shade, label=label)
        for shade, label in zip(shades, labels, strict=True)
    ]
    ax.legend(
        handles=[*dots, *others],
        title=title,
        frameon=False,
        fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )


def particles_of(idata: Any, site: str | None, *shape: int | None) -> xr.DataArray:
    """Particles whose events have this shape, with dims chain, draw, plate and those of the event.

    site: default, the only site of the particle plate with such events. shape: None for an axis of
    any length; a vector of length one is a number. Raises ValueError where there is no such site,
    or more than one."""
    posterior = dataset(idata, "posterior")
    plate = posterior.attrs.get("particle_plate")
    if plate is None:
        raise ValueError("the run has no particles: its model has no mm.particles plate")
    ordered = {
        str(name): values.transpose("chain", "draw", plate, ...)
        for name, values in posterior.data_vars.items()
        if plate in values.dims and (name == site or name != posterior.attrs.get("mass_site"))
    }
    if not shape:
        ordered = {n: v[..., 0] if v.shape[3:] == (1,) else v for n, v in ordered.items()}
    fitting = [name for name, values in ordered.items() if _fits(values.shape[3:], shape)]
    wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
    if site is None and len(fitting) > 1:
        raise ValueError(
            f"site= must say which particle site to draw: those of shape {wanted} are {fitting}"
        )
    if not fitting or site not in (None, *fitting):
        present = ", ".join(f"'{n}' of shape {v.shape[3:]}" for n, v in ordered.items())
        asked = "a" if site is None else f"'{site}', a"
        raise ValueError(
            f"the picture takes {asked} particle site of shape {wanted}, and the run has {present}"
        )
    return ordered[site or fitting[0]]


def particle_masses(idata: Any, site: str) -> xr.DataArray | None:
    """Shares that the particles of a site have in the mass of their draw, with dims chain, draw,
    plate; None where they are equal. A draw without a mass that is a number has no shares."""
    posterior = dataset(idata, "posterior")
    masses = masses_of(posterior)
    if masses is None or masses.name == site:
        return None
    plate = posterior.attrs["particle_plate"]
    masses = masses.astype(float).transpose("chain", "draw", plate)
    total = masses.sum(plate, skipna=False)
    usable = np.isfinite(total) & (total > 0)
    return (masses / total.where(usable, 1.0)).where(usable, 0.0)


def pooled_masses(idata: Any, values: xr.DataArray) -> np.ndarray | None:
    """Masses of the events that `pooled` takes; None where they are equal."""
    masses = particle_masses(idata, str(values.name))
    return None if masses is None else pooled(masses)


def dot_areas(idata: Any, values: xr.DataArray, count: int) -> np.ndarray:
    """Areas of dots, (chain, draw, particle), in proportion to the masses of a draw.

    count: of the dots that are drawn."""
    masses = particle_masses(idata, str(values.name))
    relative = np.ones(values.shape[:3]) if masses is None else masses.values * values.shape[2]
    return dot_size(count) * relative


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    pairs = zip(found, shape, strict=False)
    return len(found) == len(shape) and all(n in (None, m) for m, n in pairs)


def stated_numbers(idata: Any, site: str, name: str) -> Float[np.ndarray, " n"] | None:
    """Numbers that the site's support states, such as lower_bound, radius or corners, one after
    another; None if it has none of this name, or too many to be written down."""
    support = support_of(dataset(idata, "posterior"), site)
    # Of a concatenation only some coordinates have what a part of it states.
    own = rf"(?:independent\()?\w+\([^()]*\b{name}=([-+.e\d\s\[\],]+)"
    found = re.match(own, support)
    if found is None or "..." in found.group(1):
        return None
    return np.array(found.group(1).translate(str.maketrans("[],", "   ")).split(), float)


def stated_bound(idata: Any, site: str, name: str) -> float | None:
    """A number that the site's support states, such as lower_bound; None if it has no such bound,
    or another one for each coordinate."""
    found = stated_numbers(idata, site, name)
    return float(found[0]) if found is not None and found.size == 1 else None


def entry_names(values: xr.DataArray) -> list[str]:
    """Of the coordinates of a vector site: x[0], x[1], ..."""
    return [f"{values.name}[{c}]" for c in values[values.dims[-1]].values]


def pooled(values: xr.DataArray) -> np.ndarray:
    """Events of all chains and evenly spaced draws, about `MOST_POINTS` of them, (n, ...)."""
    chains, draws, size = values.shape[:3]
    at = evenly(draws, MOST_POINTS // (chains * size))
    return values.values[:, at].reshape(-1, *values.shape[3:])
