"""What is wrong with the data and the constants of a model, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions import constraints as nc

from ..constraints.by_type import base_of
from ..digests import inner_arrays
from ..measures import Measure
from ..primitives import Objective
from .layout import in_words, shortened
from .reading import mask_of


def site_complaint(site: Mapping[str, Any], log_prob: Array) -> str | None:
    """What is wrong with a site of this log density, unsummed; None where nothing is seen to be."""
    name, found = site["name"], []
    if count := int(jnp.sum(~jnp.isfinite(log_prob))):
        gaps = int(jnp.sum(jnp.isnan(site["value"]))) if site["is_observed"] else 0
        found.append(
            f"the log density of '{name}' has {count} entries of {jnp.size(log_prob)} that are not "
            "finite" + (f", and its data {gaps} that are NaN" if gaps else "")
        )
    if excluded := data_complaint(site):
        found.append(excluded)
    return ", and ".join(found) or None


def data_complaint(site: Mapping[str, Any]) -> str | None:
    """How many entries of an observed site's data are not in its support, NaN and what is masked
    apart, in words; None where all are.

    With NumPyro's validation, which is on by default, such data have no density, and without it
    some have the one that a formula gives them."""
    if not site["is_observed"]:
        return None
    law, value = site["fn"], np.asarray(site["value"])
    support = base_of(law.support)
    if not isinstance(support, nc.Constraint) or nc.is_dependent(support):
        return None
    gaps = np.isnan(value).any(axis=tuple(range(-support.event_dim, 0)))
    outside = ~np.asarray(support(value)) & ~gaps & mask_of(law, support.event_dim)
    if not outside.any():
        return None
    return (
        f"{np.count_nonzero(outside)} of {outside.size} entries of the data of '{site['name']}' "
        f"are not in its support {shortened(in_words(law.support))}: correct them, or take a law "
        "of such data"
    )


def objective_complaint(name: str, stated: Objective) -> str | None:
    """That an objective is not finite at its points, and which of the arrays that its functional
    holds have gaps; None where it is finite."""
    measure = Measure.uniform(stated.points)
    value = stated.functional(measure)
    if bool(jnp.isfinite(value)):
        return None
    program = jax.make_jaxpr(stated.functional)(measure)
    held = [*program.consts, *inner_arrays(program.jaxpr)]
    # The same array may be held twice.
    gaps = dict.fromkeys(
        f"an array of shape {np.shape(array)} with {count} NaN"
        for array in held
        if jnp.issubdtype(array.dtype, jnp.inexact)
        and (count := np.count_nonzero(np.isnan(np.asarray(array))))
    )
    if gaps:
        return (
            f"objective '{name}' is {value}, and its functional holds {', '.join(gaps)}: leave the "
            "gaps out, or mend them"
        )
    return (
        f"objective '{name}' is {value}: look for gaps in the data and constants of its functional"
    )
