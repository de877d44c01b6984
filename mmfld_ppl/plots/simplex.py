"""A measure on the simplex of three coordinates, as a ternary plot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float

from .density import centres, grid_density, scott_bandwidth
from .style import (
    INK,
    REFERENCE,
    colour,
    dot_areas,
    entry_names,
    legend_above,
    particles_of,
    pooled,
    pooled_masses,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpltern import TernaryAxes

#: Images of the unit vectors in the data coordinates of mpltern: left, right and top.
CORNERS = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, np.sqrt(3)]]) / np.sqrt(3)
SIDE = 2 / np.sqrt(3)
EXTENT = (-SIDE / 2, SIDE / 2, 0.0, 1.0)
#: Shapes of the marks, in their order.
MARKS = "*DPX"
CELLS = 240


def simplex(
    idata: Any,
    *,
    site: str | None = None,
    draw: int = -1,
    labels: Sequence[str] | None = None,
    marks: Mapping[str, Float[Array, "3"]] | None = None,
    bandwidth: float | None = None,
    ax: Axes | None = None,
) -> TernaryAxes:
    """The particles of one draw over the density of all draws, each with its mass, in the triangle
    of (x_0, x_1, x_2): left, right and top.

    site: a particle site of three coordinates that sum to one; default, the only one of three.
    labels: of the corners; default, the coordinates' own. marks: points to compare with, by label;
      the first is a star, others have other shapes.
    bandwidth: standard deviation of the density's kernel, in units of the triangle's side.
      Default: Scott's rule. The estimate is corrected at the edges.
    ax: ternary axes, from `plt.subplots(subplot_kw={"projection": "ternary"})` after `import
      mpltern`. Their own methods take the coordinates in the order top, left, right.

    Raises ValueError for points outside the simplex, or axes of another kind."""
    from matplotlib.colors import PowerNorm

    values = particles_of(idata, site, 3)
    points = to_plane(pooled(values))
    masses = pooled_masses(idata, values)
    width = scott_bandwidth(points, masses) if bandwidth is None else SIDE * bandwidth
    triangle = ternary_axes(ax, labels or entry_names(values))
    grid = np.stack(np.meshgrid(*centres(EXTENT, CELLS)), axis=-1)
    # A cell more on each side, which the triangle's own edge cuts off.
    inside = np.all(to_simplex(grid) >= -2 / CELLS, axis=-1)
    density = grid_density(points, EXTENT, width, CELLS, inside, masses)
    highest = np.max(density.values[np.all(to_simplex(grid) >= 0, axis=-1)])
    # Ink as the root of the density, so that a peak leaves something to be seen beside it; and the
    # darkest third of the shades is left out, so that the particles stay visible.
    levels = highest * np.linspace(0, 1, 9) ** 2
    options = {"cmap": INK, "norm": PowerNorm(0.5, 0, 2.2 * highest), "zorder": 0.5}
    triangle.contourf(*density, levels, **options).set_clip_path(triangle.patch)
    one = values.isel(draw=draw).values
    size = dot_areas(idata, values, one[..., 0].size)[:, draw]
    for k, chain in enumerate(one):
        triangle.scatter(*in_order(chain), s=size[k], color=colour(k), alpha=0.7, lw=0, zorder=3)
    for shape, (label, point) in zip(itertools.cycle(MARKS), (marks or {}).items(), strict=False):
        at = in_order(np.asarray(point)[None])
        look = {"ms": 15 if shape == "*" else 10, "mfc": REFERENCE, "mec": "white", "ls": ""}
        triangle.plot(*at, shape, **look, label=label, zorder=6)
    legend_above(triangle)
    return triangle


def ternary_axes(ax: Axes | None, names: Sequence[str]) -> Any:
    """The axes given, or those of a new figure, with names at the corners left, right and top."""
    from matplotlib import pyplot as plt
    from mpltern import TernaryAxes

    triangle: Any = ax  # mpltern states no types
    if ax is None:
        triangle = plt.subplots(layout="constrained", subplot_kw={"projection": "ternary"})[1]
    if not isinstance(triangle, TernaryAxes):
        raise ValueError(
            "the simplex is drawn in ternary axes: import mpltern, and make ax with "
            f"plt.subplots(subplot_kw={{'projection': 'ternary'}}), got {type(ax).__name__}"
        )
    left, right, top = names
    triangle.set_tlabel(top)
    triangle.set_llabel(left)
    triangle.set_rlabel(right)
    for axis in (triangle.taxis, triangle.laxis, triangle.raxis):
        axis.set_label_rotation_mode("horizontal")
        # The corners have their names.
        axis.set_ticks([0.2, 0.4, 0.6, 0.8])
    triangle.grid(color="black", alpha=0.15, lw=0.6, zorder=2)
    triangle.tick_params(labelsize="small")
    return triangle


def in_order(x: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates as mpltern takes them: top, left, right."""
    left, right, top = np.asarray(x, float).T
    return top, left, right


def to_plane(x: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 2"]:
    """Barycentric coordinates to points of the triangle."""
    x = np.asarray(x, float)
    if np.any(x < 0) or np.any(np.abs(x.sum(axis=-1) - 1) > 1e-3):
        raise ValueError("a ternary plot takes points with non-negative entries that sum to one")
    return x @ CORNERS


def to_simplex(p: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 3"]:
    """Points of the plane to barycentric coordinates."""
    last = p[..., 1]
    second = p[..., 0] / SIDE + (1 - last) / 2
    return np.stack([1 - second - last, second, last], axis=-1)
