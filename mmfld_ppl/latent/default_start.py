"""Where chains start that are not told."""

from __future__ import annotations

from typing import Any

from numpyro.distributions import constraints as nc
from numpyro.infer.initialization import init_to_uniform

from ..constraints.by_type import base_of

#: How far from the middle of a chart: NumPyro's own default, and where that is too far.
RADIUS, NEAR = 2.0, 0.5


def default_start(site: dict | None = None) -> Any:
    """NumPyro's `init_to_uniform`, but nearer to the middle at matrices and at vectors of growing
    positive entries: radius 2 in their charts gives eigenvalues, and entries, that are too unequal
    for single precision, where the rounding of a move changes the density more than the move does,
    and dual points lose the lesser ones."""
    if site is None:
        return default_start
    near = False
    if site["type"] == "sample" and not site["is_observed"]:
        support = base_of(site["fn"].support)
        near = support.event_dim == 2 or support is nc.positive_ordered_vector
    return init_to_uniform(site, radius=NEAR if near else RADIUS)
