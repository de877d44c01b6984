"""The sites of a model with names for the axes of their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.handlers import block, seed, substitute, trace
from numpyro.infer.initialization import init_to_sample

from ..latent.checks import particle_plate
from ..latent.reading import mask_of
from ..naming import flatten_named
from ..primitives import OBJECTIVE, Objective, hold_objective
from .scales import scaled_by


class _WholeModel(numpyro.primitives.Messenger):
    """Runs a model on all of its data: no plate is subsampled."""

    def process_message(self, msg):
        if msg["type"] == "plate":
            size = msg["args"][0]
            msg["args"], msg["value"] = (size, size), jnp.arange(size)


def whole(model: Callable) -> Callable:
    """The model with every subsampled plate at its full size, and with its observed sites alone
    visible to a trace: neither factors nor the objective are observations."""
    observed = block(hold_objective(_WholeModel(model)), hide_fn=_is_factor)
    return seed(observed, jax.random.key(0))


def _is_factor(site: Mapping[str, Any]) -> bool:
    # Auxiliary latents, as reparametrisations make them, are values like any other.
    return site["type"] == "sample" and site["is_observed"] and "is_auxiliary" in site["infer"]


class Site(NamedTuple):
    """What a trace says of one site.

    kind: "latent", "deterministic" or "observed". plates: (name, axis, size) of each plate, the
    axis counted from the right among the batch axes; from the left at deterministic sites, which
    do not say where their event begins. event_dim: number of event axes, None where unknown.
    event_names: names for the event axes, where the model gives them. value: as traced."""

    kind: str
    plates: tuple[tuple[str, int, int], ...]
    event_dim: int | None
    event_names: tuple[str, ...]
    value: Any

    def axis_names(
        self, name: str, shape: Sequence[int], event_names: Sequence[str] | None = None
    ) -> list[str]:
        """Dimension names for a value of this shape: plates, then events."""
        names: list[str | None] = [None] * len(shape)
        batch = len(shape) - (self.event_dim or 0)
        for plate, axis, size in self.plates:
            at = batch + axis if axis < 0 else axis
            # A deterministic site in a plate need not have its axis, nor its size when subsampled.
            if 0 <= at < len(shape) and shape[at] == size:
                names[at] = plate
        return complete(name, names, self.event_names if event_names is None else event_names)

    def batch(self) -> Site:
        """The same site with its event axes summed over, as in a log density."""
        return self._replace(event_dim=0, event_names=())

    def resized(self, shape: Sequence[int]) -> Site:
        """The same site in plates of the sizes that a value of this shape has. Of a deterministic
        site, which may lack the axis of a plate, the size is all that tells."""
        batch = len(shape) - (self.event_dim or 0)
        plates = (
            (name, at, shape[batch + at] if 0 <= batch + at < batch else size)
            for name, at, size in self.plates
        )
        return self._replace(plates=tuple(plates))

    def batch_size(self) -> int:
        """The number of log densities of an observed site."""
        shape = np.shape(self.value)
        return math.prod(shape[: len(shape) - (self.event_dim or 0)])


def complete(name: str, names: Sequence[str | None], event_names: Sequence[str] = ()) -> list[str]:
    """Names for every axis: `event_names` for the last ones, `name_dim_0`, ... for what is left.

    event_names: names of plates may be among them, in their places."""
    names = list(names)
    free = [i for i, given in enumerate(names) if given is None]
    if len(event_names) <= len(names):
        pairs = list(zip(names[len(names) - len(event_names) :], event_names, strict=True))
        if all(own in (None, given) for own, given in pairs):
            event_names = [given for own, given in pairs if own is None]
    if len(event_names) > len(free):
        raise ValueError(
            f"'{name}' has {len(free)} axes without a plate, and {len(event_names)} names were "
            f"given for them: {list(event_names)}; a plate names its axis itself"
        )
    for i, given in zip(free[len(free) - len(event_names) :], event_names, strict=True):
        names[i] = given
    unnamed = (i for i in free if names[i] is None)
    for k, i in enumerate(unnamed):
        names[i] = f"{name}_dim_{k}"
    return [str(given) for given in names]


class Recording(NamedTuple):
    """A model, run once on all of its data.

    sites: those that carry values, in model order. masked: latent sites some of whose entries are
    masked, and have no density of their own. scaled_by: latent sites whose law has a scale that
    depends on others, with these. particle_plate: its name, and num_particles its size; None in a
    model without. objective: (name, statement), or None. mass: the site that holds
    the masses of the particles, `numpyro.sample(..., infer={"mass": True})`, or None."""

    sites: dict[str, Site]
    masked: tuple[str, ...]
    scaled_by: dict[str, list[str]]
    particle_plate: str | None
    num_particles: int | None
    objective: tuple[str, Objective] | None
    mass: str | None


def record(
    model: Callable | None, args: tuple, kwargs: Mapping[str, Any], draw: Mapping[str, np.ndarray]
) -> Recording:
    """Runs a model at a draw, without computing its objective. Sites that the draw does not have
    are drawn from the prior."""
    if model is None:
        return Recording({}, (), {}, None, None, None, None)

    def value(site: dict) -> Array | None:
        # In the body of a scan a site is one step, in a draw it is all of them.
        if site["type"] == "sample" and "_scan_current_index" not in site["infer"]:
            if site["name"] in draw:
                return jnp.asarray(draw[site["name"]])
        return init_to_sample(site)

    placed = substitute(seed(_WholeModel(model), jax.random.key(0)), substitute_fn=value)
    with hold_objective():
        traced = trace(placed).get_trace(*args, **kwargs)
    sites: dict[str, Site] = {}
    for name, site in traced.items():
        if site["type"] in ("sample", "deterministic") and not _is_factor(site):
            sites |= _sites_of(name, site)
    stated = [
        (name, Objective.of(site))
        for name, site in traced.items()
        if site["type"] == "sample" and OBJECTIVE in site["infer"]
    ]
    masked = tuple(n for n, s in sites.items() if s.kind == "latent" and _masked(traced[n]["fn"]))
    plate = particle_plate(traced)
    size = None if plate is None else traced[plate]["args"][0]
    mass = next((n for n, s in traced.items() if s.get("infer", {}).get("mass")), None)
    objective = stated[0] if stated else None
    latent = {n: traced[n]["value"] for n, s in sites.items() if s.kind == "latent"}
    # Particles go where their functional lets them.
    scaled = {} if objective else scaled_by(model, args, kwargs, latent)
    return Recording(sites, masked, scaled, plate, size, objective, mass)


def _masked(law: dist.Distribution) -> bool:
    """Whether entries are left out of its density."""
    return not np.all(mask_of(law, event_dim=0))


def _sites_of(name: str, site: Mapping[str, Any]) -> dict[str, Site]:
    frames = sorted(site["cond_indep_stack"], key=lambda frame: frame.dim)
    names = tuple(site.get("infer", {}).get("event_dims", ()))
    if site["type"] == "sample":
        plates = tuple((f.name, f.dim, f.size) for f in frames)
        kind = "observed" if site["is_observed"] else "latent"
        return {name: Site(kind, plates, site["fn"].event_dim, names, site["value"])}
    plates = tuple((f.name, i, f.size) for i, f in enumerate(frames))
    # A deterministic value may be a pytree, of which every leaf becomes a variable.
    leaves = zip(*flatten_named({name: site["value"]})[:2], strict=True)
    return {leaf: Site("deterministic", plates, None, names, value) for leaf, value in leaves}
