"""Density estimates on a grid, for pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

#: (left, right, bottom, top), as Matplotlib's `extent`.
Extent = tuple[float, float, float, float]


class GridDensity(NamedTuple):
    """x, y: centres of the cells. values: the density there, (y, x)."""

    x: Float[np.ndarray, " w"]
    y: Float[np.ndarray, " h"]
    values: Float[np.ndarray, "h w"]


def centres(extent: Extent, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres of a grid of cells x cells over a rectangle."""
    left, right, bottom, top = extent
    steps = (np.arange(cells) + 0.5) / cells
    return left + (right - left) * steps, bottom + (top - bottom) * steps


def scott_bandwidth(
    points: Float[np.ndarray, "n 2"], weights: Float[np.ndarray, " n"] | None = None
) -> float:
    """n^(-1/6) times the spread of the points, with n as by `effective_count`."""
    off = points - np.average(points, axis=0, weights=weights)
    spread = np.sqrt(np.average(np.mean(off**2, axis=1), weights=weights))
    return float(spread * effective_count(points, weights) ** (-1 / 6))


def effective_count(
    points: Float[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"] | None
) -> float:
    """(sum w)^2 / sum w^2, the number of the points where their weights are equal."""
    return len(points) if weights is None else float(np.sum(weights) ** 2 / np.sum(weights**2))


def grid_density(
    points: Float[np.ndarray, "n 2"],
    extent: Extent,
    bandwidth: float,
    cells: int = 160,
    inside: Bool[np.ndarray, "h w"] | None = None,
    weights: Float[np.ndarray, " n"] | None = None,
) -> GridDensity:
    """Gaussian kernel density estimate from a histogram: its cost does not grow with points times
    cells.

    inside: cells of the support. The mass that the kernel puts outside of it is given back, each
    cell being divided by the share of its kernel that is inside; other cells are NaN. weights: of
    the points; default: equal."""
    left, right, bottom, top = extent
    x, y = centres(extent, cells)
    mass = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    box = ((bottom, top), (left, right))
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], cells, box, weights=mass)
    sigma = (bandwidth * cells / (top - bottom), bandwidth * cells / (right - left))
    area = (right - left) * (top - bottom) / cells**2
    values = gaussian_filter(counts / (mass.sum() * area), sigma, mode="constant")
    if inside is not None:
        share = gaussian_filter(inside.astype(float), sigma, mode="constant")
        values = np.where(inside, values / np.where(inside, share, 1.0), np.nan)
    return GridDensity(x, y, values)
