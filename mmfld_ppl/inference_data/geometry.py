"""What the mirror maps say about draws: distances from the boundary, and dual variables."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpyro.distributions.constraints import Constraint
from numpyro.infer import MCMC

from ..kernel import LangevinKernel
from ..latent import LatentProblem, Layout, Problem, Site, read_model
from ..latent.charts import Chart
from ..latent.problem import to_front
from ..mirrors import MirrorMap

#: Numbers that a batch of draws may hold.
BATCH_NUMBERS = 2_000_000

#: Values by site, leaves by chain and draw.
Draws = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The maps of a model's latent sites.

    problem: of the model or the potential. programs: what was compiled, for the next chunk
    of draws."""

    problem: LatentProblem
    maps: Mapping[str, MirrorMap]
    programs: dict[Any, Callable] = dataclasses.field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return self.problem.layout

    def coordinates(self, draws: Draws) -> Draws:
        """Of each site, with the particle axis behind chain and draw."""
        return self._of_draws("coordinates", lambda site, t: t, draws)

    def slack(self, draws: Draws) -> dict[str, Float[np.ndarray, "chain draw"]]:
        """Of each site with a boundary: its least slack, over the particles and the other axes."""

        def least(site: Site, t: Array) -> Array:
            return jnp.min(self._each(site, self.maps[site.name].slack)(t))

        found = self._of_draws("slack", least, draws)
        return {name: slack for name, slack in found.items() if not np.all(slack == np.inf)}

    def dual(self, draws: Draws) -> dict[str, Float[np.ndarray, "chain draw ..."]]:
        """y = grad phi of the coordinates, with the particle axis where the values have it."""

        def dual(site: Site, t: Array) -> Array:
            y = self._each(site, self.maps[site.name].grad)(t)
            axis = site.coordinate_axis
            return y if axis is None else jnp.moveaxis(y, 0, axis)

        return self._of_draws("dual", dual, draws)

    @staticmethod
    def _each(site: Site, method: Callable) -> Callable:
        return method if site.particle_axis is None else jax.vmap(method)

    def _of_draws(self, what: str, function: Callable[[Site, Array], Array], draws: Draws) -> dict:
        """`function` of each site's coordinate, at every draw of every chain; what: its name."""
        values = {s.name: jnp.asarray(draws[s.name]) for s in self.layout.sites if s.name in draws}
        if not values:
            return {}
        complete = len(values) == len(self.layout.sites)

        def one(values: dict[str, Array]) -> PyTree:
            coordinates = self._coordinates(values, complete)
            return {name: function(self.layout.site(name), t) for name, t in coordinates.items()}

        chains, length = next(iter(values.values())).shape[:2]
        flat = {name: v.reshape(chains * length, *v.shape[2:]) for name, v in values.items()}
        numbers = sum(math.prod(v.shape[1:]) for v in flat.values())
        batch = max(1, min(chains * length, BATCH_NUMBERS // max(numbers, 1)))
        fresh = jax.jit(lambda v: jax.lax.map(one, v, batch_size=batch))
        result = self.programs.setdefault((what, batch, tuple(flat)), fresh)(flat)
        return {
            name: np.asarray(v).reshape(chains, length, *v.shape[1:]) for name, v in result.items()
        }

    def _coordinates(self, values: dict[str, Array], complete: bool) -> dict[str, Array]:
        moved = [s for s in self.layout.sites if s.name in values and s.chart is not Chart.MIRROR]
        if complete and moved:
            return self.problem.coordinates(values, jax.random.key(0))
        # The coordinate of a site with a support of its own is its value. What another site's
        # chart needs may be among the sites that were not collected.
        return {
            s.name: to_front(values[s.name], s.coordinate_axis)
            for s in self.layout.sites
            if s.name in values and s.chart is Chart.MIRROR
        }


def supports_of(mcmc: MCMC, draw: PyTree) -> dict[str, Constraint]:
    """The supports of the sites' coordinates; of one particle, at particle sites."""
    return _read(mcmc, draw)[2]


def geometry_of(mcmc: MCMC, draw: PyTree, unadapted: bool) -> Geometry | None:
    """The geometry of a run's latent sites; None where they have none, as discrete ones.

    draw: one draw, as `get_samples` gives it. unadapted: whether the maps must be those before any
    adaptation, the same in every chain; those after it have the same slack, and are at hand."""
    kernel, state = mcmc.sampler, mcmc.last_state
    if isinstance(kernel, LangevinKernel):
        if unadapted:
            return Geometry(*_read(mcmc, draw)[:2])
        problem = kernel.problem(state.layout.value, draw, mcmc._args, mcmc._kwargs)
        blocks = [block.map.parts for block in state.adaptation.values()]
        if jnp.ndim(state.i):
            blocks = jax.tree.map(lambda leaf: leaf[0], blocks)
        return Geometry(problem, {name: part for parts in blocks for name, part in parts.items()})
    if kernel.model is None:
        return None
    try:
        return Geometry(*_read(mcmc, draw)[:2])
    except ValueError:
        return None


def _read(
    mcmc: MCMC, draw: PyTree
) -> tuple[LatentProblem, dict[str, MirrorMap], dict[str, Constraint]]:
    """The problem of any kernel's model, the maps of its sites before any adaptation, and the
    supports of their coordinates."""
    kernel, args, kwargs = mcmc.sampler, mcmc._args, mcmc._kwargs
    if isinstance(kernel, LangevinKernel):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The run has given its advice about the maps.
            return kernel.read(args, kwargs, draw)
    layout, maps, supports = read_model(
        kernel.model, args, kwargs, jax.random.key(0), {}, strict=False
    )
    return Problem(kernel.model, args, kwargs, layout), maps, supports
