"""A model at given coordinates: densities, values, and the fields that move its blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from numpyro.distributions.distribution import validation_enabled
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.util import compute_log_probs

from ..dynamics import Field, Frozen
from ..measures import Measure
from ..primitives import Objective, hold_objective
from ..trees import all_finite
from .charts import coordinate_of, value_of
from .complaints import objective_complaint, site_complaint
from .layout import Layout, Site
from .values import Sites

Coordinates = dict[str, Array]

#: In the `infer` of a factor: it is the log determinant of a chart.
DETERMINANT = "mmfld_log_det"


class Evaluation(NamedTuple):
    """A model at one point of its latent space.

    log_global: log density of everything outside the particle plate and the objective.
    log_base: log base density of each particle, None in an ordinary model; both in the
    coordinates that are moved. log_det: the sum of the charts' log determinants in them, which
    the density of the values does not have.
    temperature: of the objective, None without one.
    values: latent sites, as the model sees them. deterministics: deterministic sites."""

    log_global: Float[Array, ""]
    log_base: Float[Array, " n"] | Any
    log_det: Float[Array, ""]
    temperature: Float[Array, ""] | Any
    values: dict[str, Array]
    deterministics: dict[str, Array]

    def log_density(self) -> Float[Array, ""]:
        """Log density of the values, the objective left out."""
        return self.log_global + self.log_base_total() - self.log_det

    def energy(self, temperature: Float[Array, ""] | float) -> Float[Array, ""]:
        """V with exp(-V / temperature) the density of the coordinates, where it is that of the
        values that is tempered: determinants belong to the coordinates."""
        return -(self.log_global + self.log_base_total()) - (temperature - 1) * self.log_det

    def log_base_total(self) -> Float[Array, ""] | float:
        """Summed over the particles."""
        return 0.0 if self.log_base is None else jnp.sum(self.log_base)


class Problem:
    """A model with its arguments, as functions of the coordinates of its latent sites."""

    def __init__(self, model: Callable, args: tuple, kwargs: dict, layout: Layout) -> None:
        self.model, self.args, self.kwargs, self.layout = model, args, kwargs, layout

    def evaluate(
        self, coordinates: Coordinates, key: PRNGKeyArray
    ) -> tuple[Evaluation, Objective | None]:
        """The model at these coordinates; `key` draws its subsamples."""
        log_probs, tr = self._log_probs(coordinates, key)
        log_global, log_base, log_det = [], [], []
        for name, log_prob in log_probs.items():
            frames = {f.name: f.dim for f in tr[name]["cond_indep_stack"]}
            if tr[name]["infer"].get(DETERMINANT):
                # As it is: a `scale` handler is about densities, not about coordinates. A mask
                # takes it out all the same: what is masked is flat in its coordinate, and does not
                # weigh on the sites that its support depends on.
                log_prob = tr[name]["fn"].log_prob(tr[name]["value"])
                log_det.append(jnp.sum(log_prob))
            if self.layout.particles in frames:
                size = tr[self.layout.particles]["args"][0]
                log_base.append(_by_particle(log_prob, frames[self.layout.particles], size))
            elif name != self.layout.objective:
                log_global.append(jnp.sum(log_prob))
        zero = jnp.zeros((), jax.tree.leaves(coordinates)[0].dtype)
        stated = None
        if self.layout.objective is not None:
            stated = Objective.of(tr[self.layout.objective])
        evaluation = Evaluation(
            sum(log_global, start=zero),
            sum(log_base, start=zero) if log_base else None,
            sum(log_det, start=zero),
            None if stated is None else jnp.asarray(stated.temperature, zero.dtype),
            {s.name: tr[s.name]["value"] for s in self.layout.sites},
            {
                name: jax.tree.map(jnp.asarray, site["value"])
                for name, site in tr.items()
                if site["type"] == "deterministic"
            },
        )
        return evaluation, stated

    def _log_probs(self, coordinates: Coordinates, key: PRNGKeyArray) -> tuple[dict, dict]:
        """Log density of every site, unsummed, and the trace."""
        place = functools.partial(_place, {s.name: s for s in self.layout.sites}, coordinates)
        placed = substitute(seed(self.model, key), substitute_fn=place)
        with hold_objective():
            return compute_log_probs(placed, self.args, self.kwargs, {}, sum_log_prob=False)

    def complaints(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """What is not finite at concrete coordinates, and the data that their laws do not allow, in
        words."""
        with validation_enabled(False):  # Which names no site.
            log_probs, tr = self._log_probs(coordinates, key)
        found = [
            objective_complaint(name, Objective.of(tr[name]))
            if name == self.layout.objective
            else site_complaint(tr[name], log_prob)
            for name, log_prob in log_probs.items()
        ]
        return [words for words in found if words]

    def steep(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """The sites whose log density has a gradient that is not finite, in words."""

        def total(coordinates: Coordinates, name: str) -> Array:
            return jnp.sum(self._log_probs(coordinates, key)[0][name])

        found = []
        with validation_enabled(False):
            # One by one: where a gradient is infinite, zero times it is NaN in those of all others.
            for name in self._log_probs(coordinates, key)[0]:
                if not bool(all_finite(jax.grad(total)(coordinates, name))):
                    found.append(f"the log density of '{name}' has a gradient that is not finite")
        return found

    def initial_values(
        self, key: PRNGKeyArray, init_strategy: Callable, given: dict[str, Array]
    ) -> dict[str, Array]:
        """Constrained values of every latent site: as given, and by the strategy elsewhere."""
        choose = functools.partial(_initial, init_strategy, given)
        start = substitute(seed(self.model, key), substitute_fn=choose)
        # What is invalid will not be finite: then the sites are named, which NumPyro does not do.
        with hold_objective(), validation_enabled(False), trace() as tr:
            start(*self.args, **self.kwargs)
        return {s.name: tr[s.name]["value"] for s in self.layout.sites}

    def coordinates(self, values: Mapping[str, Array], key: PRNGKeyArray) -> Coordinates:
        """The coordinates of constrained values, particle axes in front."""
        with hold_objective(), validation_enabled(False), trace() as tr:
            substitute(seed(self.model, key), data=dict(values))(*self.args, **self.kwargs)
        return {
            s.name: to_front(
                coordinate_of(s.chart, tr[s.name]["fn"].support, values[s.name]), s.coordinate_axis
            )
            for s in self.layout.sites
        }

    def report(self, evaluation: Evaluation) -> Sites:
        """What a draw holds."""
        return Sites(evaluation.values, evaluation.deterministics)

    def global_potential(
        self, particles: Coordinates, carry: PyTree, temperature_scale: Float[Array, ""] | float
    ) -> Callable[[Coordinates, PRNGKeyArray], tuple[Float[Array, ""], Evaluation]]:
        """-log joint density of the global sites, the particles being held.

        `temperature_scale` multiplies the objective's temperature; in an ordinary model it is that
        at which the potential will be taken (`Evaluation.energy`)."""

        def potential(globals_: Coordinates, key: PRNGKeyArray):
            key_model, key_functional = jax.random.split(key)
            evaluation, stated = self.evaluate(particles | globals_, key_model)
            ordinary = evaluation.log_base is None
            energy = evaluation.energy(temperature_scale if ordinary else 1.0)
            if stated is not None:
                measure = Measure.uniform(stated.points)
                value = stated.functional.linearize(measure, carry, key_functional).value
                temperature = stated.temperature * temperature_scale
                energy = energy + measure.size / temperature * value
            return energy, evaluation

        return potential


class ModelField(Field):
    """The field of a model's objective and particle plate, the global sites being held."""

    problem: Any
    globals_: Coordinates

    def linearize(self, particles: Coordinates, carry: PyTree, key: PRNGKeyArray) -> Frozen:
        key_model, key_functional = jax.random.split(key)
        evaluation, stated = self.problem.evaluate(particles | self.globals_, key_model)
        at = stated.functional.linearize(Measure.uniform(stated.points), carry, key_functional)
        return Frozen(at.value, at.tangent, at.carry, evaluation)

    def potentials(
        self, frozen: Frozen, particles: Coordinates, key: PRNGKeyArray
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        # Subsamples that the objective is stated with are those that it was linearised with.
        key_model, _ = jax.random.split(key)
        evaluation, stated = self.problem.evaluate(particles | self.globals_, key_model)
        variation = stated.functional.first_variation(frozen.tangent, stated.points)
        return variation, evaluation.log_base

    def init_carry(self, particles: Coordinates) -> PyTree:
        _, stated = self.problem.evaluate(particles | self.globals_, jax.random.key(0))
        return stated.functional.init_carry(Measure.uniform(stated.points))

    @property
    def stochastic(self) -> bool:
        return self.problem.layout.stochastic is not None


def to_front(x: Array, axis: int | None) -> Array:
    """Moves the particle axis to the front, where there is one."""
    return x if axis is None else jnp.moveaxis(x, axis, 0)


def _place(sites: dict[str, Site], coordinates: Coordinates, message: dict) -> Array | None:
    """The value of a latent site, from its coordinate, in a `substitute` handler.

    Called in model order, so that the support is the one that earlier values give it."""
    site = sites.get(message["name"])
    if site is None or message["type"] != "sample":
        return None
    t = coordinates[site.name]
    if site.coordinate_axis is not None:
        t = jnp.moveaxis(t, 0, site.coordinate_axis)
    index = message["infer"].get("_scan_current_index")
    # The value has an axis of steps; its coordinate may have fewer axes of an event.
    if index is not None and len(site.value_shape) > len(message["fn"].shape()):
        t = t[index]
    fn = message["fn"]
    x, log_det = value_of(site.chart, fn.support, fn.event_dim, t)
    if log_det is not None:
        # A factor, not a side list: it survives `scan`, and sits in the plates of its site.
        unit = dist.Unit(log_det)
        infer = {"is_auxiliary": True, DETERMINANT: True}
        numpyro.sample(f"_{site.name}_log_det", unit, obs=unit.sample(None), infer=infer)
    return x


def _by_particle(log_prob: Array, dim: int, size: int) -> Float[Array, " n"]:
    """Sums a log density over every batch axis but the particles'."""
    if jnp.ndim(log_prob) < -dim:
        return jnp.broadcast_to(jnp.sum(log_prob), (size,))
    return jnp.sum(jnp.moveaxis(log_prob, dim, 0).reshape(size, -1), axis=1)


def _initial(init_strategy: Callable, given: dict[str, Array], site: dict) -> Array | None:
    """The value given for a site, or what the strategy makes of it."""
    if site["name"] in given:
        return given[site["name"]]
    try:
        value = init_strategy(site)
    except NotImplementedError:
        raise ValueError(
            f"site '{site['name']}': the init strategy finds no value, since NumPyro has neither a "
            f"sampler of its law nor a chart for its support {site['fn'].support!r}; pass "
            "init_params={'" + site["name"] + "': value}"
        ) from None
    if value is not None and site["type"] == "sample" and not site["is_observed"]:
        expected = site["fn"].shape(site["kwargs"].get("sample_shape", ()))
        if jnp.shape(value) != expected:
            raise ValueError(
                f"the init strategy gives site '{site['name']}' a value of shape "
                f"{jnp.shape(value)}, the site takes {expected}"
            )
    return value
