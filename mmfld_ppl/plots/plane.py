"""Measures in the plane: particle clouds, their densities, and given measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..measures import Measure
from .density import Extent, grid_density, scott_bandwidth
from .style import INK, axes_or_new, colour, particles_of, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points that enter a density estimate.
MOST_POINTS = 500_000

#: A given measure: points (m, 2) and weights (m,).
Atoms = tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, " m"]]


def particle_cloud(
    idata: Any,
    *,
    site: str | None = None,
    draw: int = -1,
    extent: Extent | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The particles of one draw, a colour a chain.

    site: a particle site in the plane; default, the only one. extent: (left, right, bottom, top).
    """
    ax, values = axes_or_new(ax), particles_of(idata, site, 2)
    one = values.isel(draw=draw).values
    # Fewer points are drawn larger, and chains are not drawn one upon the other.
    size = float(np.clip(8000 / one[..., 0].size, 3, 16))
    order = np.random.default_rng(0).permutation(one[..., 0].size)
    colours = np.repeat([colour(k) for k in range(len(one))], one.shape[1])
    x, y = one.reshape(-1, 2)[order].T
    ax.scatter(x, y, s=size, c=colours[order], alpha=0.7, lw=0)
    return _in_plane(ax, values, extent or around(one.reshape(-1, 2)))


def particle_density(
    idata: Any,
    *,
    site: str | None = None,
    bandwidth: float | None = None,
    extent: Extent | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A kernel density estimate of the measure, from all chains and draws: more ink, more mass.

    bandwidth: standard deviation of the Gaussian kernel, in the units of the points. Default:
    Scott's rule. extent: (left, right, bottom, top)."""
    ax, values = axes_or_new(ax), particles_of(idata, site, 2)
    points = pooled(values, MOST_POINTS)
    if bandwidth is None:
        bandwidth = scott_bandwidth(points)
    extent = extent or around(points)
    density = grid_density(points, extent, bandwidth)
    ax.imshow(density.values, origin="lower", extent=extent, cmap=INK, interpolation="bilinear")
    return _in_plane(ax, values, extent)


def draw_measure(ax: Axes, measure: Atoms, extent: Extent) -> Axes:
    """A given measure: shaded cells where its points lie on a grid, else discs with areas in
    proportion to the weights."""
    points, weights = measure
    cell = grid_steps(points)
    if cell is None:
        ax.scatter(*points.T, s=120 * weights / weights.max(), color="black", alpha=0.6, lw=0)
    else:
        origin = points.min(axis=0)
        at = np.rint((points - origin) / cell).astype(int)
        columns, rows = at.max(axis=0) + 1
        image = np.zeros((rows, columns))
        np.add.at(image, (at[:, 1], at[:, 0]), weights)
        (left, bottom), (width, height) = origin - cell / 2, cell
        box = (left, left + columns * width, bottom, bottom + rows * height)
        ax.imshow(image, origin="lower", extent=box, cmap=INK, vmin=0)
    return _frame(ax, extent)


def covering(measures: Sequence[Atoms], others: Float[np.ndarray, "n 2"]) -> Extent:
    """A rectangle around measures and other points, with half a cell of margin on a grid."""
    points = np.concatenate([points for points, _ in measures])
    cell = grid_steps(points)
    if cell is None:
        return around(np.concatenate([points, others]))
    low = np.minimum(points.min(axis=0) - cell / 2, others.min(axis=0))
    high = np.maximum(points.max(axis=0) + cell / 2, others.max(axis=0))
    (left, bottom), (right, top) = low, high
    return float(left), float(right), float(bottom), float(top)


def grid_steps(points: Float[np.ndarray, "m 2"]) -> np.ndarray | None:
    """(dx, dy) of the regular grid that the points lie on; None where there is none."""
    steps = []
    for values in points.T:
        distinct = np.unique(values)
        gaps = np.diff(distinct)
        if not gaps.size:
            return None
        # Rounding must not make two columns of one.
        step = gaps[gaps > 1e-4 * (distinct[-1] - distinct[0])].min()
        multiples = (values - distinct[0]) / step
        if np.max(np.abs(multiples - np.rint(multiples))) > 1e-2 or multiples.max() > 512:
            return None
        steps.append(step)
    return np.array(steps)


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


def around(points: Float[np.ndarray, "m 2"], margin: float = 0.05) -> Extent:
    """A rectangle around points, with a margin in parts of its sides."""
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * np.maximum(high - low, 1e-12)
    (left, bottom), (right, top) = low - pad, high + pad
    return float(left), float(right), float(bottom), float(top)


def _in_plane(ax: Axes, values: xr.DataArray, extent: Extent) -> Axes:
    first, second = (str(c) for c in values[values.dims[-1]].values)
    ax.set(xlabel=f"{values.name}[{first}]", ylabel=f"{values.name}[{second}]")
    return _frame(ax, extent)


def _frame(ax: Axes, extent: Extent) -> Axes:
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    return ax
