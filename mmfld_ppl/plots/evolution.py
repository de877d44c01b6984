"""Particles as time goes by: one picture, or an animation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from ..inference_data.thinning import evenly
from .border import border_of
from .plane import around, framed
from .simplex import ternary_axes, to_plane
from .style import (
    TIME,
    axes_or_new,
    bare,
    colour,
    dot_areas,
    entry_names,
    legend_above,
    legend_beside,
    particle_masses,
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
    time, with areas in proportion to their masses; of a scalar site the median and bands of a half
    and nine tenths of the mass at every draw.

    For the way from the start, convert a warm-up: mcmc.warmup(key, collect_warmup=True).

    site: of numbers, of points in the plane, or of the simplex of three (in ternary axes); default,
    the only one of these. draws: how many."""
    from matplotlib import colormaps

    values = _drawable(idata, site)
    if values.ndim == 3:
        return _bands(axes_or_new(ax), values, particle_masses(idata, str(values.name)))
    ax, points = _view(idata, values, ax)
    at = evenly(values.sizes["draw"], draws)
    # The lightest tenth would not show.
    shades = colormaps[TIME](np.linspace(0, 0.9, len(at)))
    size = dot_areas(idata, values, points[:, 0, :, 0].size)[:, at].reshape(-1)
    chains, _, particles, _ = points.shape
    # Draws are not laid one upon the other.
    order = np.random.default_rng(0).permutation(chains * len(at) * particles)
    colours = np.tile(np.repeat(shades, particles, axis=0), (chains, 1))[order]
    x, y = points[:, at].reshape(-1, 2)[order].T
    ax.scatter(x, y, s=size[order], c=colours, alpha=0.6, lw=0, transform=ax.transData, zorder=3)
    legend_beside(ax, "draw", shades, map(str, values["draw"].values[at]))
    return ax


def animate(
    idata: Any,
    *,
    site: str | None = None,
    frames: int = 60,
    interval: float = 80.0,
    ax: Axes | None = None,
) -> FuncAnimation:
    """The particles of all chains, draw after draw, a colour a chain, in the border that
    `particles_over_time` draws; of a scalar site the distribution function of each chain.

    Keep what is returned, and save it with Pillow:
    `animate(idata).save("run.gif", writer="pillow", dpi=80)`.

    site: as in `particles_over_time`. frames: evenly spaced draws. interval: milliseconds between
    them."""
    from matplotlib.animation import FuncAnimation

    values, own = _drawable(idata, site), ax is None
    dots = dot_areas(idata, values, values.shape[0] * values.shape[2])
    at = evenly(values.sizes["draw"], frames)
    chains = values.sizes["chain"]
    artists: list[Any]
    if values.ndim == 3:
        ax = axes_or_new(ax)
        lower, upper = float(values.min()), float(values.max())
        order = np.argsort(values.values, axis=2)
        positions, mass = (np.take_along_axis(v, order, 2) for v in (values.values, dots))
        share = (np.cumsum(mass, axis=2) - mass / 2) / mass.sum(axis=2, keepdims=True)
        points = np.stack([positions, share], axis=-1)
        artists = [ax.plot([], [], color=colour(k), lw=1.5)[0] for k in range(chains)]
        ax.set(xlabel=str(values.name), ylabel="share of the mass", xlim=(lower, upper))
        ax.set_ylim(0, 1)
        bare(ax)
    else:
        ax, points = _view(idata, values, ax)
        artists = [
            ax.scatter([], [], color=colour(k), alpha=0.7, lw=0, transform=ax.transData)
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
                artist.set_sizes(dots[k, t])
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


def _view(idata: Any, values: xr.DataArray, ax: Axes | None) -> tuple[Axes, np.ndarray]:
    """Axes for the site, with the border of its support, and its particles in their data
    coordinates, (chain, draw, n, 2)."""
    names = entry_names(values)
    if len(names) == 3:
        return ternary_axes(ax, names), to_plane(values.values)
    border = border_of(idata, values, (0, 1))
    extent = around(values.values.reshape(-1, 2), border)
    return framed(axes_or_new(ax), values, border, extent), values.values


def _bands(ax: Axes, values: xr.DataArray, masses: xr.DataArray | None) -> Axes:
    plate = str(values.dims[2])
    draw = values["draw"]
    # Bands of one draw have no width but that of their edges.
    width = 3.0 if values.sizes["draw"] == 1 else 0.0
    mass = xr.ones_like(values, float) if masses is None else masses
    levels = [0.5, *(level for low, high, _ in BANDS for level in (low, high))]
    found = values.weighted(mass).quantile(levels, dim=("chain", plate))
    for low, high, alpha in BANDS:
        bottom, top = (found.sel(quantile=level) for level in (low, high))
        share = f"{high - low:.0%} of the mass"
        ax.fill_between(draw, bottom, top, color=colour(0), alpha=alpha, lw=width, label=share)
    middle = found.sel(quantile=0.5)
    ax.plot(draw, middle, color=colour(0), lw=1.2, marker="o" if width else None, label="median")
    ax.set(xlabel="draw", ylabel=str(values.name))
    ax.margins(x=0)
    legend_above(ax)
    return bare(ax)
