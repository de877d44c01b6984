"""Measures in the plane: particle clouds, their densities, and given measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..measures import Measure
from .border import Outline, border_of, cut_off, within
from .density import Extent, centres, grid_density, scott_bandwidth
from .style import (
    INK,
    axes_or_new,
    colour,
    dot_areas,
    entry_names,
    particles_of,
    pooled,
    pooled_masses,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of a density, across and up.
CELLS = 160

#: A given measure: points (m, 2) and weights (m,).
Atoms = tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, " m"]]


def particle_cloud(
    idata: Any,
    *,
    site: str | None = None,
    draw: int = -1,
    coordinates: tuple[int, int] | None = None,
    extent: Extent | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The particles of one draw, a colour a chain, with areas in proportion to their masses, and
    the border of a ball, a box or a polygon. Sides of a box that are further off than the particles
    are from each other are out of view, unless `extent` has them.

    site: a particle site of vectors; default, the only one, in the plane where no coordinates are
    named. coordinates: the two that are shown of more; default, the first two. extent: (left,
    right, bottom, top)."""
    values, border = _in_plane(idata, site, coordinates, extent)
    ax = axes_or_new(ax)
    one = values.isel(draw=draw).values
    size = dot_areas(idata, values, one[..., 0].size)[:, draw].reshape(-1)
    # Chains are not drawn one upon the other.
    order = np.random.default_rng(0).permutation(one[..., 0].size)
    colours = np.repeat([colour(k) for k in range(len(one))], one.shape[1])
    x, y = one.reshape(-1, 2)[order].T
    ax.scatter(x, y, s=size[order], c=colours[order], alpha=0.7, lw=0)
    return framed(ax, values, border, extent or around(one.reshape(-1, 2), border))


def particle_density(
    idata: Any,
    *,
    site: str | None = None,
    coordinates: tuple[int, int] | None = None,
    bandwidth: float | None = None,
    extent: Extent | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A kernel density estimate of the measure, from all chains and draws: more ink, more mass. It
    is corrected at the border, drawn as by `particle_cloud`.

    site, coordinates, extent: as for `particle_cloud`. bandwidth: standard deviation of the
    Gaussian kernel, in the units of the points. Default: Scott's rule."""
    values, border = _in_plane(idata, site, coordinates, extent)
    ax, points = axes_or_new(ax), pooled(values)
    masses = pooled_masses(idata, values)
    if bandwidth is None:
        bandwidth = scott_bandwidth(points, masses)
    extent = extent or around(points, border)
    inside = None
    if border is not None:
        inside = within(cut_off(border, extent), *np.meshgrid(*centres(extent, CELLS)))
    density = grid_density(points, extent, bandwidth, CELLS, inside, masses)
    ax.imshow(density.values, origin="lower", extent=extent, cmap=INK, interpolation="bilinear")
    return framed(ax, values, border, extent)


def draw_measure(ax: Axes, measure: Atoms, extent: Extent, border: Outline | None = None) -> Axes:
    """A given measure: shaded cells where its points lie on a grid, else discs with areas in
    proportion to the weights; and the border of a support."""
    points, weights = measure
    cell = grid_steps(points)
    if cell is None:
        largest = float(np.clip(1200 / len(points), 4, 120))
        sizes = largest * weights / weights.max()
        ax.scatter(*points.T, s=sizes, color="black", alpha=0.6, lw=0)
    else:
        origin = points.min(axis=0)
        at = np.rint((points - origin) / cell).astype(int)
        columns, rows = at.max(axis=0) + 1
        image = np.zeros((rows, columns))
        np.add.at(image, (at[:, 1], at[:, 0]), weights)
        (left, bottom), (width, height) = origin - cell / 2, cell
        box = (left, left + columns * width, bottom, bottom + rows * height)
        ax.imshow(image, origin="lower", extent=box, cmap=INK, vmin=0)
    return _bordered(ax, border, extent)


def covering(
    measures: Sequence[Atoms], others: Float[np.ndarray, "n 2"], border: Outline | None = None
) -> Extent:
    """A rectangle around measures, other points, and what a border has of finite ends; without a
    border half a cell is the margin of a grid."""
    points = np.concatenate([points for points, _ in measures])
    cell = grid_steps(points)
    half = 0.0 if cell is None else cell / 2
    low = np.minimum(points.min(axis=0) - half, others.min(axis=0))
    high = np.maximum(points.max(axis=0) + half, others.max(axis=0))
    if cell is None or border is not None:
        return around(np.stack([low, high]), border)
    (left, bottom), (right, top) = low, high
    return float(left), float(right), float(bottom), float(top)


def grid_steps(points: Float[np.ndarray, "m 2"]) -> np.ndarray | None:
    """(dx, dy) of the regular grid that the points lie on and fill a fiftieth of; None where there
    is none."""
    steps, cells, count = [], 1.0, len(np.unique(points, axis=0))
    for values in points.T:
        distinct = np.unique(values)
        gaps = np.diff(distinct)
        # Any two points lie on some grid; those of one share rows and columns.
        if not gaps.size or len(distinct) == count:
            return None
        # Rounding must not make two columns of one.
        wide = gaps[gaps > 1e-4 * (distinct[-1] - distinct[0])]
        if not wide.size:
            return None
        step = wide.min()
        multiples = (values - distinct[0]) / step
        if np.max(np.abs(multiples - np.rint(multiples))) > 1e-2 or multiples.max() > 512:
            return None
        steps.append(step)
        cells *= multiples.max() + 1
    return np.array(steps) if count >= cells / 50 else None


def as_atoms(measures: Sequence[Any]) -> list[Atoms]:
    """Measures and (points, weights) pairs, as NumPy arrays in the plane."""
    found = []
    for k, measure in enumerate(measures):
        points, weights = (
            (measure.points, measure.weights) if isinstance(measure, Measure) else measure
        )
        points, weights = np.asarray(points), np.asarray(weights)
        if points.ndim != 2 or points.shape[1] != 2 or weights.shape != points.shape[:1]:
            raise ValueError(
                f"input {k} must have points of shape (m, 2) and weights of shape (m,), got "
                f"{points.shape} and {weights.shape}"
            )
        found.append((points, weights))
    return found


def around(
    points: Float[np.ndarray, "m 2"], border: Outline | None = None, margin: float = 0.05
) -> Extent:
    """A rectangle around points, and around what a border has of finite ends, with a margin in
    parts of its sides."""
    if border is not None:
        ends = np.where(np.isinf(border), points[:1], border)
        points = np.concatenate([points, ends])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * np.maximum(high - low, 1e-12)
    (left, bottom), (right, top) = low - pad, high + pad
    return float(left), float(right), float(bottom), float(top)


def framed(ax: Axes, values: xr.DataArray, border: Outline | None, extent: Extent) -> Axes:
    """The axes of two coordinates, with their names, the border of their support, these limits,
    and one scale on both."""
    first, second = entry_names(values)
    ax.set(xlabel=first, ylabel=second)
    return _bordered(ax, border, extent)


def _in_plane(
    idata: Any, site: str | None, chosen: tuple[int, int] | None, extent: Extent | None
) -> tuple[xr.DataArray, Outline | None]:
    """Two coordinates of the particles, and the border of their support, near to them or to a
    view that is given."""
    # Two coordinates that are named may be those of a longer vector.
    values = particles_of(idata, site, 2 if site is None and chosen is None else None)
    coordinates = (0, 1) if chosen is None else chosen
    size = values.shape[-1]
    if len(coordinates) != 2 or not all(c in range(size) for c in coordinates):
        raise ValueError(f"coordinates must be two of 0 to {size - 1}, got {coordinates!r}")
    values = values.isel({values.dims[-1]: list(coordinates)})
    near = values
    if extent is not None:
        near = xr.DataArray(np.reshape(extent, (2, 2)).T, name=values.name)
    return values, border_of(idata, near, coordinates)


def _bordered(ax: Axes, border: Outline | None, extent: Extent) -> Axes:
    """The axes with a border, these limits, and one scale on both."""
    if border is not None:
        ax.fill(*cut_off(border, extent).T, fill=False, edgecolor="black", lw=0.8)
        ax.spines[:].set_visible(False)  # One frame is enough.
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    return ax
