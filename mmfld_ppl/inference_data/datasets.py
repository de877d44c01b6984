"""Named arrays to datasets, one convention of names for every group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array

SAMPLE_DIMS = ("chain", "draw")

#: An array and the names of its axes.
Named = tuple[Sequence[str], Array | np.ndarray]
Coords = Mapping[str, Sequence[Any]]


def file_name(name: str) -> str:
    """A name that a file can hold: a slash, as `numpyro.handlers.scope` writes it, starts a group
    there."""
    return name.replace("/", ".")


def dataset_of(arrays: Mapping[str, Named], coords: Coords) -> xr.Dataset:
    """Variables with a coordinate for every dimension: the one given, or 0, 1, ..."""
    variables = {
        file_name(name): xr.Variable([file_name(d) for d in dims], np.asarray(value))
        for name, (dims, value) in arrays.items()
    }
    sizes: dict[str, int] = {}
    for name, variable in variables.items():
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            if sizes.setdefault(str(dim), size) != size:
                raise ValueError(
                    f"dimension '{dim}' has {size} entries in '{name}' and {sizes[str(dim)]} in "
                    "another variable: give their axes different names"
                    + (f", none of them '{dim}', which is that of the draws" * (dim in SAMPLE_DIMS))
                )
    return xr.Dataset(variables, {dim: _coordinate(dim, n, coords) for dim, n in sizes.items()})


def masses_of(posterior: xr.Dataset) -> xr.DataArray | None:
    """The masses of the particles at each draw; None where they are equal, or left out."""
    return posterior.get(posterior.attrs.get("mass_site"))


def weighed(posterior: xr.Dataset, values: xr.DataArray) -> Any:
    """A site of the particles, to be averaged under their measure: with masses where they have
    them, and as it is where it holds these masses itself."""
    masses = masses_of(posterior)
    if masses is None or values.name == masses.name:
        return values
    known = np.isfinite(masses)
    # A draw with a mass that is not a number has no average.
    whole = known.all(posterior.attrs["particle_plate"])
    return values.where(whole).weighted(masses.where(known, 0.0))


def support_of(posterior: xr.Dataset, name: str) -> str:
    """The support of a site in words, as the export states it; empty where it does not."""
    return json.loads(posterior.attrs.get("supports", "{}")).get(name, "")


def _coordinate(dim: str, size: int, coords: Coords) -> np.ndarray:
    given = coords.get(dim)
    if given is None:
        return np.arange(size)
    if len(given) != size:
        raise ValueError(f"coords['{dim}'] has {len(given)} entries, the dimension has {size}")
    return np.asarray(given)
