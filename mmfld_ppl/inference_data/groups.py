"""Groups of datasets as ArviZ holds them: the one place that knows its two generations.

ArviZ takes long to import, so each function does it by itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpyro.infer import MCMC

#: Groups all of whose variables are by chain and draw.
OF_DRAWS = (
    "posterior",
    "sample_stats",
    "log_likelihood",
    "unconstrained_posterior",
    "posterior_predictive",
    "predictions",
    "prior",
    "prior_predictive",
)
#: What makes the groups that a run need not have.
MADE_BY = {
    "mean_field": "mm.to_inference_data(mcmc, diagnostics=True)",
    "density": "mixture_result(..., grid=...) of models.mixture_result",
    "empirical_bayes": "mixture_result of models.mixture_result",
    "gradient": "mixture_result(..., theta_grid=...) of models.mixture_result",
}


def from_groups(groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any]) -> Any:
    """`arviz.InferenceData` (arviz < 1) or `xarray.DataTree` (arviz >= 1)."""
    tree = xr.DataTree.from_dict(dict(groups))
    tree.attrs = dict(attrs)
    if not version("arviz").startswith("0."):
        return tree
    import arviz as az

    with warnings.catch_warnings():
        # Of groups that its schema does not have.
        warnings.filterwarnings("ignore", message=".*not defined in the InferenceData scheme")
        return az.from_datatree(tree)


def with_groups(idata: Any, groups: Mapping[str, xr.Dataset]) -> Any:
    """An exported run with more groups, in place of those of the same names."""
    names = idata.children if isinstance(idata, xr.DataTree) else idata.groups()
    present = {str(name): _group(idata, str(name)) for name in names}
    return from_groups(present | dict(groups), {str(k): v for k, v in idata.attrs.items()})


def dataset(idata: Any, group: str) -> xr.Dataset:
    """One group of an exported run, of either ArviZ generation.

    Raises ValueError when there is no such group, and where one chain or draw was selected by a
    number from a group that does not have all of its variables for each draw; TypeError for a run
    that is not exported."""
    if isinstance(idata, MCMC):
        raise TypeError("got an MCMC, where an exported run is taken: mm.to_inference_data(mcmc)")
    if group not in idata:
        present = list(idata.children if isinstance(idata, xr.DataTree) else idata.groups())
        advice = f"; {MADE_BY[group]} makes it" if group in MADE_BY else ""
        raise ValueError(
            f"the inference data have no group '{group}', only {sorted(present)}{advice}"
        )
    found = _group(idata, group)
    # Of one chain or draw that was selected by a number.
    lost = [dim for dim in ("chain", "draw") if dim in found.coords and dim not in found.dims]
    if not lost:
        return found
    if group.removeprefix("warmup_") not in OF_DRAWS:
        raise ValueError(
            f"the group '{group}' has lost its dimension '{lost[0]}', as by "
            f"isel({lost[0]}=0), and with it what it has for each {lost[0]} and what for all "
            f"of them: select by a list, as isel({lost[0]}=[0])"
        )
    return found.expand_dims(lost).transpose("chain", "draw", ..., missing_dims="ignore")


def _group(idata: Any, name: str) -> xr.Dataset:
    node = idata[name]
    return node.to_dataset() if isinstance(node, xr.DataTree) else node


def replicate_statistics(quantities: xr.Dataset) -> dict[str, Any]:
    """Moments, Monte Carlo standard errors, effective sample sizes and R-hat over the dimensions
    chain and draw, by ArviZ's names; R-hat is NaN for one chain."""
    import arviz as az

    quantities = quantities.astype(float)
    mean = quantities.mean(("chain", "draw"))
    sd = quantities.std(("chain", "draw"), ddof=1)
    # ArviZ takes fourth powers, and what varies by less than 1e-15, as squares may, for constant.
    unit = sd.where(sd > 0, 1.0)
    scaled = (quantities - mean) / unit
    # ArviZ would say so in a log message for every variable.
    undefined = xr.full_like(mean, float("nan"))
    # Of what never moves, ArviZ divides zero by zero; the table has NaN there.
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mean": mean,
            "sd": sd,
            "mcse_mean": unit * az.mcse(scaled, method="mean"),
            "mcse_sd": unit * az.mcse(scaled, method="sd"),
            "ess_bulk": az.ess(scaled, method="bulk"),
            "ess_tail": az.ess(scaled, method="tail", prob=(0.05, 0.95)),
            "r_hat": az.rhat(scaled) if quantities.sizes["chain"] > 1 else undefined,
        }
