"""Reads a model once: which latent sites it has, their supports, maps and blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PRNGKeyArray
from numpyro.distributions import constraints as nc

from ..mirrors import MirrorMap
from ..naming import require_known
from ..primitives import OBJECTIVE
from .checks import (
    find_objective,
    particle_plate,
    require_continuous,
    require_separate,
    require_stated_supports,
    require_uncoupled,
    require_variation,
    require_whole,
    subsampled_plates,
    warn_of_outer_products,
)
from .geometry import geometry_of, one_particle
from .keys import changing_density
from .layout import Layout, Site
from .reading import Reading, dynamic_supports


def read_model(
    model: Callable,
    args: tuple,
    kwargs: dict,
    key: PRNGKeyArray,
    mirror_maps: Mapping[str, MirrorMap],
    strict: bool,
) -> tuple[Layout, dict[str, MirrorMap], dict[str, nc.Constraint]]:
    """The layout of a model, and the mirror map and the support of each site's coordinate (of one
    particle, at particle sites).

    Raises ValueError, naming the site, on discrete latents, latents in a subsampled plate,
    mirror_maps of unknown sites, objectives without particles, sites that couple the particles
    outside an objective, and in strict mode on supports without a mirror map."""
    reading = Reading.of(model, args, kwargs, key)
    latents = reading.latents
    require_continuous(latents)
    require_stated_supports(latents)
    require_known("mirror_maps", mirror_maps, latents, "the latent sites ")
    subsampled = subsampled_plates(reading.trace)
    require_whole(latents, subsampled)
    warn_of_outer_products(reading.trace)
    plate = particle_plate(reading.trace)
    objective = find_objective(reading.trace, plate, latents)
    if objective is None:
        plate = None
    moving = dynamic_supports(reading)
    sites, maps, supports = [], {}, {}
    for name, site in latents.items():
        described, maps[name], supports[name] = _read_site(
            site, plate, name in moving, mirror_maps.get(name), strict
        )
        sites.append(described)
    if plate is not None and objective is not None:
        require_uncoupled(reading, plate, objective)
        require_separate(reading, plate, objective)
        require_variation(reading, objective)
    stochastic = None
    if subsampled:
        stochastic = f"plate '{sorted(subsampled)[0]}' is subsampled"
    elif objective and reading.trace[objective]["infer"][OBJECTIVE].functional.stochastic:
        stochastic = f"objective '{objective}' draws minibatches"
    else:
        stochastic = changing_density(reading, objective)
    return Layout(tuple(sites), plate, objective, stochastic), maps, supports


def _read_site(
    site: Mapping[str, Any],
    plate: str | None,
    dynamic: bool,
    chosen: MirrorMap | None,
    strict: bool,
) -> tuple[Site, MirrorMap, nc.Constraint]:
    name, support, axis = site["name"], site["fn"].support, None
    for frame in site["cond_indep_stack"]:
        if frame.name == plate:
            axis = frame.dim - site["fn"].event_dim
    if axis is not None:
        support = one_particle(support, axis, name, dynamic)
    if dynamic and chosen is not None:
        raise ValueError(
            f"mirror_maps['{name}']: the support of this site depends on other latent sites, so "
            "its map cannot be chosen; leave it out of mirror_maps"
        )
    return geometry_of(name, support, site["value"], axis, chosen, strict, dynamic)
