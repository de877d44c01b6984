"""Groups of datasets as ArviZ holds them: the one place that knows its two generations.

ArviZ takes long to import, so each function does it by itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import xarray as xr


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
    present = {str(name): dataset(idata, str(name)) for name in names}
    return from_groups(present | dict(groups), {str(k): v for k, v in idata.attrs.items()})


def dataset(idata: Any, group: str) -> xr.Dataset:
    """One group of an exported run, of either ArviZ generation.

    Raises ValueError when there is no such group."""
    if group not in idata:
        present = list(idata.children if isinstance(idata, xr.DataTree) else idata.groups())
        raise ValueError(f"the inference data have no group '{group}', only {sorted(present)}")
    node = idata[group]
    return node.to_dataset() if isinstance(node, xr.DataTree) else node


def replicate_statistics(quantities: xr.Dataset) -> dict[str, Any]:
    """Moments, Monte Carlo standard errors, effective sample sizes and R-hat over the dimensions
    chain and draw, by ArviZ's names; R-hat is NaN for one chain."""
    import arviz as az

    mean = quantities.mean(("chain", "draw"))
    # ArviZ would say so in a log message for every variable.
    undefined = xr.full_like(mean, float("nan"))
    return {
        "mean": mean,
        "sd": quantities.std(("chain", "draw"), ddof=1),
        "mcse_mean": az.mcse(quantities, method="mean"),
        "mcse_sd": az.mcse(quantities, method="sd"),
        "ess_bulk": az.ess(quantities, method="bulk"),
        "ess_tail": az.ess(quantities, method="tail", prob=(0.05, 0.95)),
        "r_hat": az.rhat(quantities) if quantities.sizes["chain"] > 1 else undefined,
    }
