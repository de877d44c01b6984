"""Reads a model once: which latent sites it has, their supports, maps and blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions import constraints as nc
from numpyro.handlers import seed, trace

from .. import mirrors
from ..mirrors import Independent, MirrorMap, Product, mirror_map
from ..primitives import OBJECTIVE
from .charts import Chart, coordinate_of, reference
from .checks import (
    dynamic_supports,
    find_objective,
    particle_plate,
    require_continuous,
    require_uncoupled,
    subsampled_plates,
)


@dataclasses.dataclass(frozen=True)
class Site:
    """One latent site.

    shape: of the coordinate, without the particle axis. particle_axis: the particles' axis in the
    value, counted from the right; None for a global site. support, geometry: for reports."""

    name: str
    shape: tuple[int, ...]
    particle_axis: int | None
    chart: Chart
    support: str
    geometry: str

    @classmethod
    def of(
        cls,
        name: str,
        shape: tuple[int, ...],
        particle_axis: int | None,
        chart: Chart,
        support: nc.Constraint,
        geometry: MirrorMap,
    ) -> Site:
        """With the report's words for a support and its map."""
        moves = geometry.describe()
        if chart is not Chart.MIRROR:
            moves = f"{moves}, in its {chart.value}"
        return cls(name, shape, particle_axis, chart, _short(support), moves)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is static about a model's latent variables.

    particles: the name of the particle plate, None for an ordinary model. objective: name of the
    objective's site. stochastic: why evaluations differ from key to key, None when they do not.
    """

    sites: tuple[Site, ...]
    particles: str | None
    objective: str | None
    stochastic: str | None

    def block(self, particles: bool) -> tuple[Site, ...]:
        """The particle sites, or the global ones."""
        return tuple(s for s in self.sites if (s.particle_axis is not None) == particles)

    def site(self, name: str) -> Site:
        """The site of this name."""
        return next(s for s in self.sites if s.name == name)

    def describe(self) -> str:
        """A table: site, event shape, support, how it moves, block."""
        rows = [("site", "shape", "support", "moves in", "block")]
        for s in self.sites:
            block = "global" if s.particle_axis is None else f"particles '{self.particles}'"
            rows.append((s.name, str(s.shape), s.support, s.geometry, block))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


class KeyWatch(numpyro.primitives.Messenger):
    """Notes whether the model asks for random keys of its own."""

    used = False

    def process_message(self, msg):
        self.used |= msg["type"] == "prng_key"


def read_model(
    model: Callable,
    args: tuple,
    kwargs: dict,
    key: PRNGKeyArray,
    mirror_maps: Mapping[str, MirrorMap],
    strict: bool,
) -> tuple[Layout, dict[str, MirrorMap], dict[str, nc.Constraint]]:
    """The layout of a model, and the mirror map and the support of each site (of one particle, at
    particle sites).

    Raises ValueError, naming the site, on discrete latents, latents in a subsampled plate,
    mirror_maps of unknown sites, objectives without particles, sites that couple the particles
    outside an objective, and in strict mode on supports without a mirror map."""
    watch = KeyWatch()
    with watch, trace() as tr, seed(rng_seed=key):
        model(*args, **kwargs)
    latents = {
        name: site
        for name, site in tr.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    require_continuous(latents)
    for name in mirror_maps:
        if name not in latents:
            raise ValueError(
                f"mirror_maps names '{name}', which is not a latent site of the model; its latent "
                f"sites are {sorted(latents)}"
            )
    subsampled = subsampled_plates(tr)
    for name, site in latents.items():
        for frame in site["cond_indep_stack"]:
            if frame.name in subsampled:
                raise ValueError(
                    f"latent site '{name}' is inside plate '{frame.name}', which is subsampled: "
                    "its values would not be updated together; only observed sites can be in a "
                    "subsampled plate"
                )
    plate = particle_plate(tr)
    objective = find_objective(tr, plate, latents)
    if objective is None:
        plate = None
    moving = dynamic_supports(model, args, kwargs, key, latents)
    if plate is not None:
        require_uncoupled(model, args, kwargs, key, tr, latents, plate, objective)
    sites, maps, supports = [], {}, {}
    for name, site in latents.items():
        described, maps[name], supports[name] = _read_site(
            site, plate, name in moving, mirror_maps.get(name), strict
        )
        sites.append(described)
    stochastic = None
    if subsampled:
        stochastic = f"plate '{sorted(subsampled)[0]}' is subsampled"
    elif watch.used:
        stochastic = "it draws random keys"
    elif objective and tr[objective]["infer"][OBJECTIVE].functional.stochastic:
        stochastic = f"objective '{objective}' draws minibatches"
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
        support = _one_particle(support, axis, name)
    if dynamic and chosen is not None:
        raise ValueError(
            f"mirror_maps['{name}']: the support of this site depends on other latent sites, so "
            "its map cannot be chosen; leave it out of mirror_maps"
        )
    chart, shape, geometry = geometry_of(
        name, support, site["value"], axis, chosen, strict, dynamic
    )
    return Site.of(name, shape, axis, chart, support, geometry), geometry, support


def geometry_of(
    name: str,
    support: nc.Constraint,
    value: Array,
    axis: int | None,
    chosen: MirrorMap | None,
    strict: bool,
    dynamic: bool = False,
) -> tuple[Chart, tuple[int, ...], MirrorMap]:
    """(chart, shape of the coordinate without the particle axis, mirror map) of one site.

    dynamic: whether the support depends on other latent sites. Raises ValueError in strict mode
    where there is no mirror map."""
    dtype, shape = jnp.result_type(value, jnp.float32), _without(jnp.shape(value), axis)
    if chosen is not None:
        batch = shape[: len(shape) - support.event_dim]
        return Chart.MIRROR, shape, Independent.of(chosen, batch) if batch else chosen
    chart, fixed = Chart.MIRROR, support
    if dynamic:
        image = reference(support)
        chart, fixed = (Chart.AFFINE, image[0]) if image else (Chart.BIJECTION, None)
    geometry = None if fixed is None else mirror_map(fixed, shape, dtype)
    if geometry is not None:
        return chart, shape, geometry
    if strict:
        raise ValueError(
            f"site '{name}': no mirror map for its support {support!r}, and strict=True rules out "
            "the unconstrained chart; supported are "
            f"{sorted(t.__name__.strip('_') for t in mirrors.registered())}; register one with "
            "mm.mirrors.register, or pass mirror_maps={'" + name + "': map}"
        )
    free = jax.eval_shape(lambda x: coordinate_of(Chart.BIJECTION, support, x), value)
    shape = _without(free.shape, axis)
    return Chart.BIJECTION, shape, mirror_map(nc.real, shape, dtype)


def _one_particle(support: nc.Constraint, axis: int, name: str) -> nc.Constraint:
    """The support of one particle, where its parameters carry the particle axis."""

    def first(leaf):
        leaf = jnp.asarray(leaf)
        at = axis + support.event_dim
        if leaf.ndim < -at or leaf.shape[at] == 1:
            return leaf
        rows = jnp.moveaxis(leaf, at, 0)
        if not isinstance(rows, jax.core.Tracer) and bool(jnp.any(rows != rows[0])):
            raise ValueError(
                f"site '{name}': its support {support!r} differs from particle to particle, and "
                "particles must be exchangeable; give them one support"
            )
        return jnp.moveaxis(rows[:1], 0, at)

    return jax.tree.map(first, support)


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    if axis is None:
        return shape
    return tuple(n for i, n in enumerate(shape) if i != len(shape) + axis)


def _short(support: nc.Constraint) -> str:
    text = repr(support).replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."


def product_of(layout: Layout, maps: Mapping[str, MirrorMap], particles: bool) -> Product:
    """The map of one block: of one particle, or of all global sites."""
    return Product({s.name: maps[s.name] for s in layout.block(particles)})
