"""Where chains start that are not told."""

from __future__ import annotations

from typing import Any

from numpyro.infer.initialization import init_to_uniform

from ..constraints.by_type import base_of

#: How far from the middle of a chart: NumPyro's own default, and at matrices.
RADIUS, MATRIX_RADIUS = 2.0, 0.5


def default_start(site: dict | None = None) -> Any:
    """NumPyro's `init_to_uniform`, but nearer to the middle at matrices: entries of radius 2 in
    their charts give eigenvalues that are too unequal for single precision, where the rounding of
    a move changes the density more than the move does."""
    if site is None:
        return default_start
    latent = site["type"] == "sample" and not site["is_observed"]
    matrix = latent and base_of(site["fn"].support).event_dim == 2
    return init_to_uniform(site, radius=MATRIX_RADIUS if matrix else RADIUS)
