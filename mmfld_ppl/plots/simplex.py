"""A measure on the simplex of three coordinates, as a ternary plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float

from .density import centres, grid_density, scott_bandwidth
from .style import INK, REFERENCE, axes_or_new, colour, particles_of, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Corners of an equilateral triangle: the images of the unit vectors.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
EXTENT = (0.0, 1.0, 0.0, float(CORNERS[2, 1]))
MOST_POINTS = 500_000


def simplex(
    idata: Any,
    *,
    site: str | None = None,
    draw: int = -1,
    labels: Sequence[str] | None = None,
    marks: Mapping[str, Float[Array, "3"]] | None = None,
    bandwidth: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The particles of one draw over the density of all draws, in the triangle of (x_0, x_1, x_2).

    site: a particle site of three coordinates that sum to one; default, the only one of three.
    labels: of the corners; default, the coordinates' own. marks: points to compare with, by label.
    bandwidth: standard deviation of the density's kernel, in units of the triangle's side.
      Default: Scott's rule. The estimate is corrected at the edges.

    Raises ValueError for points outside the simplex."""
    values = particles_of(idata, site, 3)
    points = to_plane(pooled(values, MOST_POINTS))
    if bandwidth is None:
        bandwidth = scott_bandwidth(points)
    ax = axes_or_new(ax)
    cells = 240
    grid = np.stack(np.meshgrid(*centres(EXTENT, cells)), axis=-1)
    inside = np.all(to_simplex(grid) >= 0, axis=-1)
    density = grid_density(points, EXTENT, bandwidth, cells, inside)
    highest = np.nanmax(density.values)
    # The darker half of the shades is left out, so that the particles stay visible.
    shades = ax.contourf(*density, np.linspace(0, highest, 9), cmap=INK, vmin=0, vmax=2 * highest)
    triangle = ax.fill(*CORNERS.T, fill=False, ec="black", lw=1.2, zorder=4)[0]
    shades.set_clip_path(triangle)
    _grid_lines(ax)
    one = values.isel(draw=draw).values
    size = float(np.clip(8000 / one[..., 0].size, 3, 16))
    for k, chain in enumerate(one):
        ax.scatter(*to_plane(chain).T, s=size, color=colour(k), alpha=0.7, lw=0, zorder=3)
    for label, point in (marks or {}).items():
        at = to_plane(np.asarray(point)[None])[0]
        ax.plot(*at, "*", ms=15, mfc=REFERENCE, mec="white", ls="", label=label, zorder=6)
    if marks:
        ax.legend(frameon=False, loc="upper right")
    names = labels or [f"{values.name}[{c}]" for c in values[values.dims[-1]].values]
    for corner, name, ha, va in zip(
        CORNERS, names, ("right", "left", "center"), ("top", "top", "bottom"), strict=True
    ):
        x, y = corner + 0.02 * np.sign(corner - CORNERS.mean(axis=0)) * (corner != 0.5)
        ax.text(x, y, name, ha=ha, va=va)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def to_plane(x: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 2"]:
    """Barycentric coordinates to points of the triangle."""
    x = np.asarray(x, float)
    if np.any(x < 0) or np.any(np.abs(x.sum(axis=-1) - 1) > 1e-3):
        raise ValueError("a ternary plot takes points with non-negative entries that sum to one")
    return x @ CORNERS


def to_simplex(p: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 3"]:
    """Points of the plane to barycentric coordinates."""
    last = p[..., 1] / CORNERS[2, 1]
    second = p[..., 0] - last / 2
    return np.stack([1 - second - last, second, last], axis=-1)


def _grid_lines(ax: Axes) -> None:
    """Where each coordinate is 0.2, 0.4, 0.6, 0.8."""
    for level in (0.2, 0.4, 0.6, 0.8):
        for axis in range(3):
            ends = np.zeros((2, 3))
            ends[:, axis] = level
            ends[0, axis - 1] = ends[1, axis - 2] = 1 - level
            ax.plot(*(ends @ CORNERS).T, color="black", alpha=0.15, lw=0.6, zorder=2)
