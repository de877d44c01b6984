"""Random keys that a model asks for by itself, and what depends on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.interpreters.partial_eval import dce_jaxpr
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..measures import Measure
from ..primitives import OBJECTIVE
from .charts import leaves_of
from .reading import Reading


def changing_density(reading: Reading, objective: str | None) -> str | None:
    """Which density changes with the keys that the model asks for, and the way out; None where none
    does: keys may serve for shapes and initial values only, or be the same at each call.

    Asked of the computation itself, by removing all of it that a density does not need."""
    if not reading.asks_for_keys:
        return None

    def densities(key: PRNGKeyArray):
        log_probs, tr = dataclasses.replace(reading, key=key).at(reading.values())
        found: dict[str, PyTree] = {f"site '{name}'": lp for name, lp in log_probs.items()}
        if objective is not None:
            found[f"objective '{objective}'"] = _objective(tr[objective])
        for name in reading.latents:  # A flat density does not show its support.
            found[f"site '{name}'"] = found[f"site '{name}'"], leaves_of(tr[name]["fn"].support)
        return found

    def parameters(key: PRNGKeyArray):
        _, tr = dataclasses.replace(reading, key=key).at(reading.values())
        return {name: site["value"] for name, site in tr.items() if site["type"] == "param"}

    changing = next(dependent(densities, reading.key), None)
    if changing is None:
        return None
    asked = "random keys that it asks for, as a site hidden by handlers.block does"
    way_out = "numpyro.handlers.seed(model, 0), a hidden site by numpyro.handlers.condition"
    if params := list(dependent(parameters, reading.key)):
        asked += f" (numpyro.param {', '.join(map(repr, params))})"
        way_out += f" or numpyro.handlers.substitute(model, {{{params[0]!r}: value}})"
    return f"the density of {changing} depends on {asked}; hold them fixed by {way_out}"


def dependent(f: Callable[[PRNGKeyArray], dict[str, PyTree]], key: PRNGKeyArray) -> Iterator[str]:
    """The names in f(key) of what is computed from the key."""

    names: list[str] = []

    def arrays(key: PRNGKeyArray) -> list[list[Array]]:
        found = f(key)
        names.extend(found)  # In the order of the model, which a dictionary that JAX returns loses.
        return [
            [jnp.asarray(leaf) for leaf in jax.tree.leaves(value) if hasattr(leaf, "dtype")]
            for value in found.values()
        ]

    closed, shapes = jax.make_jaxpr(arrays, return_shape=True)(key)
    owners = [name for name, leaves in zip(names, shapes, strict=True) for _ in leaves]
    for name in names:
        _, used = dce_jaxpr(closed.jaxpr, [owner == name for owner in owners])
        if any(used):
            yield name


def _objective(site: dict) -> PyTree:
    """What the dynamics take from an objective."""
    stated = site["infer"][OBJECTIVE]
    measure = Measure.uniform(stated.points)
    carry = stated.functional.init_carry(measure)
    at = stated.functional.linearize(measure, carry, jax.random.key(0))
    variation = stated.functional.first_variation(at.tangent, stated.points)
    return at.value, variation, stated.points, stated.temperature, site["scale"]
