"""The measure of particles that are numbers: its density up to the ends of its support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from ..inference_data.angles import about_mean_direction, is_angle
from ..inference_data.groups import dataset
from .density import effective_count
from .style import (
    axes_or_new,
    bare,
    chain_labels,
    colour,
    legend_above,
    particle_masses,
    particles_of,
    pooled,
    stated_bound,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELLS = 512
#: Shares of the mass left out on a side without an end.
TAIL = 0.001


def line_density(
    idata: Any,
    *,
    site: str | None = None,
    bandwidth: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The density of a scalar site, a line a chain, from all draws, each particle with its mass;
    below it a rug, the particles of the last draw.

    The estimate is reflected at the ends of the site's support, and goes round the circle for
    angles: nothing leaks over the ends, and no mass is lost. On the half-line the view ends where
    one particle in a thousand is left.

    site: default, the only particle site of numbers, or of vectors of length one. bandwidth:
    standard deviation of the Gaussian kernel, in the units of the site. Default: n^(-1/5) times the
    spread, by quartiles where these give less."""
    from matplotlib.transforms import ScaledTranslation

    values = particles_of(idata, site)
    name = str(values.name)
    ends = [stated_bound(idata, name, f"{side}_bound") for side in ("lower", "upper")]
    periodic = is_angle(dataset(idata, "posterior"), name)
    cut = about_mean_direction(values, values.dims) if periodic else values
    everything = pooled(cut)
    masses = particle_masses(idata, name)
    shares = None if masses is None else pooled(masses)
    tails = _quantiles(everything, [TAIL, 1 - TAIL], shares)
    low, high = (float(t) if e is None else e for t, e in zip(tails, ends, strict=True))
    width = spread_bandwidth(everything, shares) if bandwidth is None else bandwidth
    # Beyond an open end, room for the kernel.
    low, high = (
        v if e is not None else v + sign * 3 * width
        for v, e, sign in zip((low, high), ends, (-1, 1), strict=True)
    )
    ax = axes_or_new(ax)
    for k, label in enumerate(chain_labels(values)):
        chain = pooled(values.isel(chain=[k]))
        weights = None if masses is None else pooled(masses.isel(chain=[k]))
        x, density = density_between(chain, low, high, width, weights, periodic=periodic)
        ax.plot(x, density, color=colour(k), lw=1.2, label=label)
        ax.fill_between(x, density, color=colour(k), alpha=0.12, lw=0)
        last = values.isel(chain=k, draw=-1).values
        last = last[(last >= low) & (last <= high)]
        ax.plot(
            last,
            np.zeros(len(last)),
            "|",
            color=colour(k),
            ms=4,
            mew=0.6,
            alpha=0.6,
            # In points, as the pad of the numbers below.
            transform=ax.get_xaxis_transform()
            + ScaledTranslation(0, (-4 - 5 * k) / 72, ax.figure.dpi_scale_trans),
            clip_on=False,
        )
    pad = 0.02 * (high - low)
    ax.set(xlabel=name, ylabel="density", ylim=(0, None), xlim=(low - pad, high + pad))
    # The rug stands between the axis and its numbers.
    ax.tick_params(axis="x", pad=6 + 5 * values.sizes["chain"], length=0)
    legend_above(ax)
    return bare(ax)


def spread_bandwidth(
    points: Float[np.ndarray, " n"], masses: Float[np.ndarray, " n"] | None = None
) -> float:
    """n^(-1/5) times the spread of the points, the less of what variance and quartiles say, with n
    as by `effective_count`."""
    low, high = _quantiles(points, [0.25, 0.75], masses)
    mean = np.average(points, weights=masses)
    sd = np.sqrt(np.average((points - mean) ** 2, weights=masses))
    spreads = [s for s in (sd, (high - low) / 1.349) if s > 0]
    return float(min(spreads, default=1.0) * effective_count(points, masses) ** -0.2)


def _quantiles(
    points: np.ndarray, levels: list[float], masses: np.ndarray | None
) -> Float[np.ndarray, " levels"]:
    return np.quantile(points, levels, weights=masses, method="inverted_cdf")


def density_between(
    points: Float[np.ndarray, " n"],
    low: float,
    high: float,
    bandwidth: float,
    weights: Float[np.ndarray, " n"] | None = None,
    *,
    periodic: bool = False,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Places in [low, high], and the Gaussian kernel estimate there, reflected at both ends or
    going on at the other one.

    The mass of the points inside is kept to the last digit: what the kernel carries over an end
    comes back as its mirror image, or at the other end. Points outside are not in the estimate.
    weights: of the points; default: equal. periodic: whether the ends are one point."""
    edges = np.linspace(low, high, CELLS + 1)
    mass = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    inside, _ = np.histogram(points, edges, weights=mass)
    step = edges[1] - edges[0]
    density = inside / (mass.sum() * step)
    # "reflect" repeats the first cell: the mirror stands at the end itself.
    mode = "wrap" if periodic else "reflect"
    smooth = gaussian_filter1d(density, bandwidth / step, mode=mode, truncate=6.0)
    return (edges[1:] + edges[:-1]) / 2, smooth
