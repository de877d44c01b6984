"""Particles as time goes by: one picture, or an animation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from ..inference_data.thinning import evenly
from .plane import around, frame
from .simplex import ternary_axes, to_plane
from .style import (
    TIME,
    axes_or_new,
    bare,
    colour,
    dot_size,
    entry_names,
    legend_above,
    particles_of,
)

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

#: Events that can be drawn: numbers, points of the plane, of the simplex of three.
SHAPES: tuple[tuple[int, ...], ...] = ((), (2,), (3,))
#: Shares of the particles in the bands around the median.
BANDS = ((0.05, 0.95, 0.2), (0.25, 0.75, 0.4))


def particles_over_time(
    idata: Any, *, site: str | None = None, draws: int = 5, ax: Axes | None = None
) -> Axes:
    """Particles of all chains at several draws, the first and the last among them, coloured by
    time; of a scalar site the median and bands of a half and nine tenths of them at every draw.

    For the way from the start, convert a warm-up: mcmc.warmup(key, collect_warmup=True).

    site: of numbers, of points in the plane, or of the simplex of three (in ternary axes); default,
    the only one of these. draws: how many."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    values = _drawable(idata, site)
    if values.ndim == 3:
        return _bands(axes_or_new(ax), values)
    ax, points = _view(values, ax)
    at = evenly(values.sizes["draw"], draws)
    # The lightest tenth would not show.
    shades = colormaps[TIME](np.linspace(0, 0.9, len(at)))
    size = dot_size(points[:, 0, :, 0].size)
    chains, _, particles, _ = points.shape
    # Draws are not laid one upon the other.
    order = np.random.default_rng(0).permutation(chains * len(at) * particles)
    colours = np.tile(np.repeat(shades, particles, axis=0), (chains, 1))[order]
    x, y = points[:, at].reshape(-1, 2)[order].T
    ax.scatter(x, y, s=size, c=colours, alpha=0.6, lw=0, transform=ax.transData, zorder=3)
    labels = values["draw"].values[at]
    dots = [Line2D([], [], ls="", marker="o", ms=5, color=shade) for shade in shades]
    ax.legend(
        dots,
        labels,
        title="draw",
        frameon=False,
        fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    return ax


def animate(
    idata: Any,
    *,
    site: str | None = None,
    frames: int = 60,
    interval: float = 80.0,
    ax: Axes | None = None,
) -> FuncAnimation:
    """The particles of all chains, draw after draw, a colour a chain; of a scalar site the
    distribution function of each chain.

    Keep what is returned, and save it with Pillow:
    `animate(idata).save("run.gif", writer="pillow", dpi=80)`.

    site: as in `particles_over_time`. frames: evenly spaced draws. interval: milliseconds between
    them."""
    from matplotlib.animation import FuncAnimation

    values, own = _drawable(idata, site), ax is None
    at = evenly(values.sizes["draw"], frames)
    chains, size = values.sizes["chain"], values.shape[2]
    artists: list[Any]
    if values.ndim == 3:
        ax = axes_or_new(ax)
        lower, upper = float(values.min()), float(values.max())
        share = (np.arange(size) + 0.5) / size
        positions = np.sort(values.values, axis=2)
        points = np.stack([positions, np.broadcast_to(share, positions.shape)], axis=-1)
        artists = [ax.plot([], [], color=colour(k), lw=1.5)[0] for k in range(chains)]
        ax.set(xlabel=str(values.name), ylabel="share of particles", xlim=(lower, upper))
        ax.set_ylim(0, 1)
        bare(ax)
    else:
        ax, points = _view(values, ax)
        dots = dot_size(chains * size)
        artists = [
            ax.scatter([], [], s=dots, color=colour(k), alpha=0.7, lw=0, transform=ax.transData)
            for k in range(chains)
        ]
    title = ax.set_title("draw 0", fontsize="medium")
    if own:  # A layout is made once, not for every frame.
        figure = cast(Any, ax.figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")

    def show(frame: int) -> list[Any]:
        t = at[frame]
        for k, artist in enumerate(artists):
            if values.ndim == 3:
                artist.set_data(*points[k, t].T)
            else:
                artist.set_offsets(points[k, t])
        title.set_text(f"draw {values['draw'].values[t]}")
        return [*artists, title]

    return FuncAnimation(cast(Any, ax.figure), show, frames=len(at), interval=interval)


def _drawable(idata: Any, site: str | None) -> xr.DataArray:
    found, complaints = [], []
    for shape in SHAPES:
        try:
            found.append(particles_of(idata, site, *shape))
        except ValueError as error:
            complaints.append(str(error))
    if len(found) != 1:
        names = [str(values.name) for values in found]
        raise ValueError(
            "site= must be one particle site of numbers, of points in the plane or of three "
            f"coordinates: found {names or complaints[0]}"
        )
    return found[0]


def _view(values: xr.DataArray, ax: Axes | None) -> tuple[Axes, np.ndarray]:
    """Axes for the site, and its particles in their data coordinates, (chain, draw, n, 2)."""
    names = entry_names(values)
    if len(names) == 3:
        return ternary_axes(ax, names), to_plane(values.values)
    ax = axes_or_new(ax)
    ax.set(xlabel=names[0], ylabel=names[1])
    return frame(ax, around(values.values.reshape(-1, 2))), values.values


def _bands(ax: Axes, values: xr.DataArray) -> Axes:
    plate = str(values.dims[2])
    draw = values["draw"]
    # Bands of one draw have no width but that of their edges.
    width = 3.0 if values.sizes["draw"] == 1 else 0.0
    for low, high, alpha in BANDS:
        bottom, top = (values.quantile(q, ("chain", plate)) for q in (low, high))
        share = f"{high - low:.0%} of the particles"
        ax.fill_between(draw, bottom, top, color=colour(0), alpha=alpha, lw=width, label=share)
    middle = values.median(("chain", plate))
    ax.plot(draw, middle, color=colour(0), lw=1.2, marker="o" if width else None, label="median")
    ax.set(xlabel="draw", ylabel=str(values.name))
    ax.margins(x=0)
    legend_above(ax)
    return bare(ax)
