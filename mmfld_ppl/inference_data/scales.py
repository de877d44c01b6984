"""Latent sites whose law has a scale that other latent sites make, and what it is at their values:
the neck of a hierarchy is where it is small, whatever it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions.distribution import validation_enabled
from numpyro.handlers import seed, substitute, trace
from numpyro.ops.provenance import eval_provenance

from ..latent.reading import unwrapped

#: Of a statistic that is the scale of a site, before its name.
SCALE_OF = "scale_of_"


def scales_at(
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any],
    values: Mapping[str, Array | np.ndarray],
    sites: Collection[str],
) -> dict[str, Array]:
    """The scales of those of the sites whose law has one, at values of all latent sites."""
    placed = substitute(seed(model, jax.random.key(0)), data=dict(values))
    with validation_enabled(False):
        found = trace(placed).get_trace(*args, **kwargs)
    scales = {name: getattr(unwrapped(found[name]["fn"]), "scale", None) for name in sites}
    return {name: jnp.asarray(scale) for name, scale in scales.items() if scale is not None}


def scaled_by(
    model: Callable, args: tuple, kwargs: Mapping[str, Any], latent: Mapping[str, Array]
) -> dict[str, list[str]]:
    """The sites whose scale depends on others, with these. latent: a value of each."""

    def scales(**values: Array) -> dict[str, Array]:
        return scales_at(model, args, kwargs, values, latent)

    found = eval_provenance(scales, **latent)
    sources = {name: sorted(names - {name}) for name, names in found.items()}
    return {name: names for name, names in sources.items() if names}
