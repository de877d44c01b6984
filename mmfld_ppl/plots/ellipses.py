"""Positive definite matrices as ellipses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from .style import axes_or_new, bare, colour, legend_above, particle_masses, particles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANGLES = np.linspace(0, 2 * np.pi, 97)


def ellipses(
    idata: Any,
    *,
    site: str | None = None,
    draw: int = -1,
    most: int = 60,
    coordinates: tuple[int, int] = (0, 1),
    ax: Axes | None = None,
) -> Axes:
    """Positive (semi)definite matrices as the ellipses {X^(1/2) u : |u| = 1}: particles of one
    draw, a colour a chain, and in black the mean of all of its particles.

    As a covariance, X has one standard deviation in each direction inside. Of a larger matrix the
    ellipse of two coordinates is drawn: the shadow of its ellipsoid in their plane.

    site: default, the only particle site of matrices. most: particles of a chain that are drawn.
    coordinates: the two. Raises ValueError for matrices that are not square, or too small."""
    values = particles_of(idata, site, None, None)
    rows, columns = values.shape[3:]
    if rows != columns or not all(0 <= c < rows for c in coordinates):
        raise ValueError(
            f"ellipses need square matrices with coordinates {coordinates}, and site "
            f"'{values.name}' has shape {(rows, columns)}"
        )
    one = values.isel(draw=draw).values[..., np.ix_(coordinates, coordinates)[0], coordinates]
    ax = axes_or_new(ax)
    for k, chain in enumerate(one):
        for matrix in chain[:most]:
            ax.plot(*outline(matrix), color=colour(k), lw=0.7, alpha=0.35)
    masses = particle_masses(idata, str(values.name))
    weights = None if masses is None else masses.isel(draw=draw).values.reshape(-1)
    mean = np.average(one.reshape(-1, 2, 2), axis=0, weights=weights)
    ax.plot(*outline(mean), color="black", lw=1.8, label="mean")
    names = [f"along {values[values.dims[-1]].values[c]}" for c in coordinates]
    ax.set(aspect="equal", xlabel=f"{values.name}, {names[0]}", ylabel=names[1])
    legend_above(ax)
    return bare(ax)


def outline(matrix: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "2 m"]:
    """The image of the unit circle under the symmetric root of a matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
    # Rounding may leave an eigenvalue of a singular matrix just below zero.
    return vectors @ (np.sqrt(np.where(values > 0, values, 0.0))[:, None] * (vectors.T @ circle))
