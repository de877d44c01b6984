"""Pictures of a fitted mixture, from the groups that a run of it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..inference_data import dataset
from ..inference_data.datasets import SAMPLE_DIMS
from .style import COLOURS, REFERENCE, axes_or_new, bare, legend_above, particle_masses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of the bands: the middle nine tenths of the draws of all chains.
BAND, BAND_LABEL = (0.05, 0.95), "90% of the draws"


def density_band(idata: Any, *, ax: Axes | None = None, label: str = "mixture") -> Axes:
    """Density of a datum on the grid: mean, and the band of nine tenths of the draws.

    Raises ValueError where the run has no group density, or a grid of several coordinates."""
    group = dataset(idata, "density")
    points = _one_dimensional(group["points"])
    ax = axes_or_new(ax)
    _band(ax, points, group["density"], COLOURS[0], label)
    ax.set(xlabel="datum", ylabel="density")
    legend_above(ax)
    return bare(ax)


def certificate(idata: Any, *, site: str = "theta", ax: Axes | None = None) -> Axes:
    """D(theta), the slope of the log-likelihood per observation towards a point mass at theta:
    nowhere positive at the maximum likelihood estimator."""
    group = dataset(idata, "gradient")
    others = sorted(str(n) for n in group.data_vars if str(n) not in ("gradient", f"{site}_points"))
    if others:
        raise ValueError(
            f"a certificate is drawn along one coordinate, and that of the run has {others} as "
            "well: look at the group 'gradient' itself"
        )
    points = _one_dimensional(group[f"{site}_points"])
    ax = axes_or_new(ax)
    _band(ax, points, group["gradient"], COLOURS[0], "mean")
    ax.axhline(0, color=REFERENCE, ls="--", lw=1.2, label=r"$D \leq 0$ at the maximum")
    ax.set(xlabel=rf"{site}", ylabel="slope $D$ of the likelihood")
    legend_above(ax)
    return bare(ax)


def mixing_distribution(
    idata: Any,
    *,
    site: str = "theta",
    mass: str | None = None,
    ax: Axes | None = None,
    label: str = "mixing measure",
) -> Axes:
    """The distribution function of a scalar theta: mean over draws, and the band of nine tenths.

    site: that of theta. mass: the site of the particles' masses. Default: the one that the run
    states, as `mixture` does.

    Raises ValueError where the run has no such site, or one that is no number of each particle."""
    posterior = dataset(idata, "posterior")
    if site not in posterior:
        raise ValueError(f"the run has no site '{site}', only {list(posterior.data_vars)}")
    values, plate = posterior[site], posterior.attrs.get("particle_plate")
    if plate not in values.dims or values.ndim != 3:
        raise ValueError(f"site '{site}' is no number of each particle: it has dims {values.dims}")
    theta = values.transpose(*SAMPLE_DIMS, plate).values
    if mass is not None and mass not in posterior:
        raise ValueError(f"the run has no site '{mass}', only {list(posterior.data_vars)}")
    masses = particle_masses(idata, site) if mass is None else posterior[mass]
    weights = np.ones_like(theta)
    if masses is not None:
        weights = masses.transpose(*SAMPLE_DIMS, plate).values
    levels = np.quantile(theta, np.linspace(0, 1, 400))
    flat = zip(*(np.reshape(v, (-1, theta.shape[-1])) for v in (theta, weights)), strict=True)
    share = np.stack([_distribution_function(levels, *one) for one in flat])
    ax = axes_or_new(ax)
    _band(ax, levels, xr.DataArray(share[None], dims=(*SAMPLE_DIMS, "level")), COLOURS[0], label)
    ax.set(xlabel=site, ylabel="share of the mixing measure", ylim=(0, 1.02))
    legend_above(ax)
    return bare(ax)


def shrinkage(
    idata: Any, estimates: np.ndarray, *, site: str = "theta", ax: Axes | None = None
) -> Axes:
    """Posterior means of a scalar theta, with their bands, against an estimate from each
    observation alone; on the dashed line the two agree. Observations with the same of both are
    drawn once.

    Reads the group `empirical_bayes`. estimates: shape (n,), in the order of the observations.

    Raises ValueError where the run has no such group, the site is no number, or for estimates of
    another number."""
    means = dataset(idata, "empirical_bayes")[site]
    if means.ndim != 3:
        raise ValueError(f"site '{site}' is no number: its posterior means have dims {means.dims}")
    low, high = (means.quantile(q, SAMPLE_DIMS).values for q in BAND)
    if np.shape(estimates) != low.shape:
        raise ValueError(
            f"shrinkage takes an estimate for each of the {low.size} observations of the run, got "
            f"shape {np.shape(estimates)}"
        )
    rows = np.stack([estimates, low, high, means.mean(SAMPLE_DIMS).values], axis=1)
    at, low, high, middle = np.unique(rows, axis=0).T
    ax = axes_or_new(ax)
    ax.vlines(at, low, high, color=COLOURS[0], lw=1, alpha=0.5, label=BAND_LABEL)
    ax.plot(at, middle, ".", ms=4, color=COLOURS[0], label="mean")
    ends = [at[0], at[-1]]
    ax.plot(ends, ends, color=REFERENCE, ls="--", lw=1.2, label="the two agree")
    ax.set(xlabel=f"{site} from the observation alone", ylabel=f"posterior mean of {site}")
    legend_above(ax)
    return bare(ax)


def _distribution_function(
    levels: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    order = np.argsort(points)
    total = np.r_[0, np.cumsum(weights[order], dtype=float)]
    return total[np.searchsorted(points[order], levels, side="right")] / total[-1]


def _band(ax: Axes, x: np.ndarray, values: xr.DataArray, color: str, label: str) -> None:
    order = np.argsort(x)
    low, high = (values.quantile(q, SAMPLE_DIMS).values[order] for q in BAND)
    ax.plot(x[order], values.mean(SAMPLE_DIMS).values[order], color=color, lw=1.4, label=label)
    ax.fill_between(x[order], low, high, color=color, alpha=0.25, lw=0, label=BAND_LABEL)


def _one_dimensional(points: xr.DataArray) -> np.ndarray:
    if points.ndim != 1:
        raise ValueError(f"the grid must have one coordinate to be drawn, got dims {points.dims}")
    return points.values
