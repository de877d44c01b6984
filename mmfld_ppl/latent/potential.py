"""A potential function of a pytree with given supports, in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree
from numpyro.distributions import constraints as nc

from ..mirrors import MirrorMap
from ..naming import flatten_named, require_known
from .charts import coordinate_of, value_of
from .geometry import geometry_of
from .layout import Layout
from .problem import Coordinates, Evaluation


class PotentialProblem:
    """exp(-potential_fn(z)) on the product of the supports of z's leaves.

    Leaves are named by their path, 'z' when z is one array."""

    def __init__(self, potential_fn: Callable, support: PyTree, layout: Layout, tree: Any) -> None:
        self.potential_fn, self.layout, self.tree = potential_fn, layout, tree
        self.supports = _by_name(support, [site.name for site in layout.sites], tree)

    def restore(self, values: Mapping[str, Array]) -> PyTree:
        """The pytree that the potential takes."""
        return jax.tree.unflatten(self.tree, [values[s.name] for s in self.layout.sites])

    def report(self, evaluation: Evaluation) -> PyTree:
        """What a draw holds."""
        return self.restore(evaluation.values)

    def initial_values(
        self, key: PRNGKeyArray, init_strategy: Callable, given: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The values given; a potential has no other."""
        return dict(given)

    def complaints(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """Whether the potential is not finite at concrete coordinates, in words."""
        evaluation, _ = self.evaluate(coordinates, key)
        value = evaluation.log_density()
        return [] if bool(jnp.isfinite(value)) else [f"the potential is {-value}"]

    def steep(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """Nothing: there is one density, and it is all of the potential."""
        return []

    def coordinates(self, values: Mapping[str, Array], key: PRNGKeyArray) -> Coordinates:
        """The coordinates of constrained values."""
        return {
            s.name: coordinate_of(s.chart, self.supports[s.name], values[s.name])
            for s in self.layout.sites
        }

    def evaluate(self, coordinates: Coordinates, key: PRNGKeyArray) -> tuple[Evaluation, None]:
        """The potential at these coordinates."""
        values, log_det = {}, jnp.zeros((), jax.tree.leaves(coordinates)[0].dtype)
        for s in self.layout.sites:
            of_site = self.supports[s.name], len(s.value_shape)
            values[s.name], change = value_of(s.chart, *of_site, coordinates[s.name])
            log_det += 0 if change is None else change
        log_density = log_det - self.potential_fn(self.restore(values))
        return Evaluation(log_density, None, log_det, None, values, {}), None

    def global_potential(self, particles, carry, temperature_scale):
        """-log density of the coordinates, to be taken at this temperature; there are no particles
        here."""

        def potential(coordinates: Coordinates, key: PRNGKeyArray):
            evaluation, _ = self.evaluate(coordinates, key)
            return evaluation.energy(temperature_scale), evaluation

        return potential


def read_potential(
    potential_fn: Callable,
    support: PyTree,
    values: PyTree,
    mirror_maps: Mapping[str, MirrorMap],
    strict: bool,
) -> tuple[PotentialProblem, dict[str, MirrorMap], dict[str, nc.Constraint]]:
    """The problem, and the maps and supports of its leaves' coordinates.

    values: initial values, for structure and shapes; all coordinates have one dtype, the widest of
    theirs. support: one constraint for every leaf, or a pytree of constraints like `values`."""
    names, leaves, tree = flatten_named(values)
    supports = _by_name(support, names, tree)
    require_known("mirror_maps", mirror_maps, names, "the latent sites ")
    sites, maps, fixed = [], {}, {}
    dtype = jnp.result_type(float, *(x for x in leaves if not jnp.iscomplexobj(x)))
    for name, leaf in zip(names, leaves, strict=True):
        value = jnp.asarray(leaf, jnp.result_type(dtype, leaf))
        site, maps[name], fixed[name] = geometry_of(
            name, supports[name], value, None, mirror_maps.get(name), strict
        )
        sites.append(site)
    layout = Layout(tuple(sites), None, None, None)
    return PotentialProblem(potential_fn, support, layout, tree), maps, fixed


def _by_name(support: PyTree, names: list[str], tree: Any) -> dict[str, nc.Constraint]:
    if isinstance(support, nc.Constraint):
        return dict.fromkeys(names, support)
    is_constraint = lambda c: isinstance(c, nc.Constraint)  # noqa: E731
    constraints, support_tree = jax.tree.flatten(support, is_leaf=is_constraint)
    if support_tree != tree:
        raise ValueError(
            f"support must be a constraint or a pytree of constraints like init_params: got "
            f"{support_tree}, expected {tree}"
        )
    return dict(zip(names, constraints, strict=True))
