"""The border of a support, in the plane of two coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from ..inference_data import dataset
from ..inference_data.angles import is_angle
from .density import Extent
from .style import stated_numbers

#: Of a circle.
ANGLES = np.linspace(0, 2 * np.pi, 180, endpoint=False)

#: Corners of a closed line, of which the first is not repeated.
Outline = Float[np.ndarray, "m 2"]


def border_of(idata: Any, values: xr.DataArray, at: tuple[int, int]) -> Outline | None:
    """Around what the support of a vector site casts on the plane of its coordinates `at`: a ball,
    a box, which may go on for ever on a side, or a polygon; None for other supports.

    values: of these two coordinates. Ends of a box that are further from all of them than these
    are from each other count as infinite: nothing is near enough to feel them."""
    name, points = str(values.name), values.values.reshape(-1, 2)
    radius = stated_numbers(idata, name, "radius")
    if radius is not None:
        return radius * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    corners = stated_numbers(idata, name, "corners")
    if corners is not None:
        return corners.reshape(-1, 2)[:, list(at)]
    if is_angle(dataset(idata, "posterior"), name):  # What goes on at its other end has no end.
        return None
    low = _ends(stated_numbers(idata, name, "lower_bound"), at, -np.inf)
    high = _ends(stated_numbers(idata, name, "upper_bound"), at, np.inf)
    least, most = points.min(axis=0), points.max(axis=0)
    low = np.where(least - low > most - least, -np.inf, low)
    high = np.where(high - most > most - least, np.inf, high)
    if np.isinf([low, high]).all():
        return None
    (left, bottom), (right, top) = low, high
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def within(outline: Outline, x: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "h w"]:
    """Which points of a grid are inside."""
    from matplotlib.path import Path

    inside = Path(outline).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
    return inside.reshape(x.shape)


def cut_off(outline: Outline, extent: Extent) -> Outline:
    """The outline with its infinite ends moved to where they are just out of a view."""
    low, high = np.array(extent).reshape(2, 2).T
    room = high - low
    return np.where(np.isinf(outline), np.clip(outline, low - room, high + room), outline)


def _ends(
    stated: Float[np.ndarray, " d"] | None, at: tuple[int, int], otherwise: float
) -> Float[np.ndarray, "2"]:
    """Of two coordinates, where one number may be that of all."""
    if stated is None:
        return np.full(2, otherwise)
    return np.resize(stated, 2) if stated.size == 1 else stated[list(at)]
