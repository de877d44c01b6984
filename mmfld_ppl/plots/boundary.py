"""How near the particles are to the boundary, and how near they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .style import axes_or_new, bare, chain_labels, colour, legend_above, pooled_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def boundary_slack(idata: Any, *, site: str | None = None, ax: Axes | None = None) -> Axes:
    """Quantiles of the distance of particles from the boundary, against those of the proximal
    Gibbs density, a line a chain beside a dashed one. Where the two lie on each other all is well;
    above or to the left of the dashed one particles pile up at the boundary.

    site: default, the first one with a boundary. Raises ValueError as `fixed_point` does, and where
    no site has a boundary."""
    found = pooled_statistics(idata, "slack", "no particle site of this run has a boundary")
    site = str(found["bounded_site"].values[0]) if site is None else site
    ax, share = axes_or_new(ax), found["quantile"]
    ours, theirs = (found[n].sel(bounded_site=site) for n in ("slack", "proximal_slack"))
    for k, label in enumerate(chain_labels(ours)):
        ax.plot(ours.isel(chain=k), share, color=colour(k), marker="o", ms=4, lw=1.2, label=label)
        last = k == ours.sizes["chain"] - 1
        label = r"proximal Gibbs density $\hat\mu$" if last else None
        beside = theirs.sel(chain=ours["chain"][k])
        ax.plot(beside, share, color="black", ls="--", lw=1.0, label=label)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel=f"distance of '{site}' from its boundary",
        ylabel="share of particles nearer",
    )
    legend_above(ax)
    return bare(ax)
