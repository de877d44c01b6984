"""Where chains start that are not told."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions import constraints as nc
from numpyro.infer.initialization import init_to_uniform

from ..constraints.by_type import base_of

#: How far from the middle of a chart: NumPyro's own default, and where that is too far.
RADIUS, NEAR = 2.0, 0.5


def default_start(site: dict | None = None) -> Any:
    """NumPyro's `init_to_uniform`, but nearer to the middle at matrices: radius 2 in their charts
    gives eigenvalues that are too unequal for single precision, where the rounding of a move
    changes the density more than the move does, and dual points lose the lesser ones. The chart of
    growing positive entries makes them grow like exp(i), whatever the radius; theirs grow like i,
    the logarithms of the gaps being uniform."""
    if site is None:
        return default_start
    if site["type"] != "sample" or site["is_observed"]:
        return init_to_uniform(site)
    support = base_of(site["fn"].support)
    if support is nc.positive_ordered_vector and site["value"] is None:
        shape = (*site["kwargs"]["sample_shape"], *site["fn"].shape())
        gaps = jax.random.uniform(site["kwargs"]["rng_key"], shape, minval=-NEAR, maxval=NEAR)
        return jnp.cumsum(jnp.exp(gaps), axis=-1)
    return init_to_uniform(site, radius=NEAR if support.event_dim == 2 else RADIUS)
