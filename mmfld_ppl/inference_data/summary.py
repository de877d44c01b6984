"""Tables of a run: posterior expectations with their errors, and the state of each chain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from ..naming import require_known
from .angles import unrolled
from .datasets import SAMPLE_DIMS, weighed
from .groups import dataset, replicate_statistics

#: Statistics of a draw that are summarised beside its values.
SUMMARISED = ("objective", "lp")


def summary(
    idata: Any, *, var_names: str | Sequence[str] | None = None, round_to: int | None = None
) -> pd.DataFrame:
    """Expectations with their Monte Carlo errors, across the replicates of a run.

    A row a number: `objective` (F) and `lp` where the run has them, global and deterministic sites,
    and of each site in the particle plate `mean(x)` and `sd(x)`, the mean and the standard
    deviation under the measure of the particles, coordinate by coordinate: each particle has the
    mass that a site with `infer={"mass": True}` gives it, as that of `models.mixture`, or the same
    mass. There is no row for a particle: particles are exchangeable, and the measure is the
    unknown. Of a functional of several measures each has its rows, as those of the times in
    `models.trajectory`: `mean(x)[2, 0]` for the third, or its time after `with_trajectories`, and
    the first coordinate. Angles are those within half a turn of their mean direction.

    Columns are those of ArviZ: mean, sd, mcse_mean, mcse_sd, ess_bulk, ess_tail, r_hat (NaN for
    one chain). Chains are replicates of the whole system, so an ess counts systems.

    idata: from `to_inference_data`, or read from a file. var_names: some variables only, by their
    names in the groups posterior and sample_stats; "~name" for all but that one, as in ArviZ.
    round_to: decimals; default, all.
    Raises ValueError on unknown names."""
    posterior = unrolled(by_measure(dataset(idata, "posterior")))
    variables = {n: stat for n, stat in _statistics(idata).items() if n in SUMMARISED}
    variables |= {str(name): posterior[name] for name in posterior.data_vars}
    if var_names is not None:
        variables = {name: variables[name] for name in _chosen(var_names, list(variables))}
    plate = posterior.attrs.get("particle_plate")
    quantities: dict[str, xr.DataArray] = {}
    for name, values in variables.items():
        if plate in values.dims:
            measure = weighed(posterior, values)
            quantities[f"mean({name})"] = measure.mean(plate)
            quantities[f"sd({name})"] = measure.std(plate)
        else:
            quantities[name] = values
    columns = replicate_statistics(xr.Dataset(quantities))
    rows = {
        label: {column: float(table[name][at]) for column, table in columns.items()}
        for name, values in quantities.items()
        for label, at in _entries(name, values)
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    return table if round_to is None else table.round(round_to)


def by_measure(posterior: xr.Dataset) -> xr.Dataset:
    """The particles by the measures that the functional is one of, along a dimension of their own
    in front of the plate; as they are where it is one of a single measure, or where some particles
    are missing."""
    plate, blocks = str(posterior.attrs.get("particle_plate")), posterior.attrs.get("num_blocks", 1)
    if blocks == 1 or posterior.sizes.get(plate) != posterior.attrs["num_particles"]:
        return posterior
    size = posterior.sizes[plate] // blocks
    # The number of a particle is none of its block.
    split = posterior.drop_vars(plate, errors="ignore").coarsen({plate: size})
    return split.construct({plate: (block_dim(plate), plate)}, keep_attrs=True)


def block_dim(plate: str) -> str:
    """The dimension of the measures in a plate; a coordinate of this name has their names."""
    return f"{plate}_block"


def _chosen(var_names: str | Sequence[str], present: list[str]) -> list[str]:
    """Those named, or all, less those that are named with a tilde in front."""
    given = [var_names] if isinstance(var_names, str) else list(var_names)
    negated = [name for name in given if name.startswith("~") and name not in present]
    names = [name for name in given if name not in negated]
    left_out = {name[1:] for name in negated}
    require_known("var_names", [*names, *left_out], present)
    among = present if negated and not names else names
    return [name for name in among if name not in left_out]


def chain_summary(idata: Any) -> pd.DataFrame:
    """How each chain ran, a row a chain, with the columns that the run has statistics for:

    acceptance_rate: mean over draws. step_size: of the last draw. diverging: number of draws with
    moves that were refused because something was not finite. objective: mean F. collective_ratio:
    mean; over 1 the particles overshoot together. boundary_slack: least over draws.
    """
    stats = _statistics(idata)
    columns = {
        "acceptance_rate": lambda s: s.mean("draw"),
        "step_size": lambda s: s.isel(draw=-1),
        "diverging": lambda s: s.sum("draw"),
        "objective": lambda s: s.mean("draw"),
        "collective_ratio": lambda s: s.mean("draw"),
        "boundary_slack": lambda s: s.min("draw"),
    }
    table = {name: f(stats[name]).values for name, f in columns.items() if name in stats}
    chains = dataset(idata, "posterior")["chain"].values
    return pd.DataFrame(table, index=pd.Index(chains, name="chain"))


def _statistics(idata: Any) -> dict[str, xr.DataArray]:
    if "sample_stats" not in idata:
        return {}
    stats = dataset(idata, "sample_stats")
    return {str(name): stats[name] for name in stats.data_vars}


def _entries(name: str, values: xr.DataArray) -> Iterator[tuple[str, dict[str, int]]]:
    """Label and position of every number that a variable has in each draw."""
    dims = [str(dim) for dim in values.dims if dim not in SAMPLE_DIMS]
    for index in itertools.product(*(range(values.sizes[dim]) for dim in dims)):
        labels = [str(values[dim].values[i]) for dim, i in zip(dims, index, strict=True)]
        label = f"{name}[{', '.join(labels)}]" if labels else name
        yield label, dict(zip(dims, index, strict=True))
