"""One chain of a kernel: how it starts, moves its blocks in turn, and adapts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from .dynamics import (
    Adaptation,
    AdaptationState,
    Culprit,
    Langevin,
    LangevinState,
    MeanFieldLangevin,
    MeanFieldState,
    Transition,
)
from .latent import Chart, LatentProblem, ModelField, product_of
from .mirrors import MirrorMap, Product
from .state import KernelState, Refusals, Static
from .trees import all_finite, select

#: What `Chain.refresh` folds into the key of a state.
REFRESH = 101

Schedule = Callable[[Array], Array]
#: Of one unit, by the name of its site.
Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a kernel is configured with.

    step_size: a number or a schedule of the step's index. temperature: a schedule that multiplies
    the objective's temperature (that of the whole law in an ordinary model), or None.
    targets: the target acceptance of a block, where it is not that of the adaptation.
    geometry: (map, a unit, whether units are particles) -> the map that moves are made with, and
    that the warm-up adapts. transition: (that map, supports, shapes of one unit, whether units are
    particles) -> how a unit moves. transition_options: what it was configured with, for reports.
    keep_supports: whether the transition needs the supports.
    path_length: see `Langevin`; in a model with particles both blocks take one step a move, and
    keep 1/e of their momenta over half of this."""

    step_size: float | Schedule
    temperature: Schedule | None
    metropolize: bool
    adaptation: Adaptation
    init_strategy: Callable
    transition: Callable[[MirrorMap, PyTree, Shapes, bool], Transition]
    geometry: Callable[[Product, PyTree, bool], MirrorMap] = lambda map, unit, particles: map
    transition_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep_supports: bool = False
    path_length: float | None = None
    targets: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def adapts(self) -> bool:
        return self.adaptation.adapt_step_size or self.adaptation.adapt_metric

    def adaptation_of(self, block: str) -> Adaptation:
        """That of "globals" or "particles"."""
        target = self.targets.get(block, self.adaptation.target_accept_prob)
        return dataclasses.replace(self.adaptation, target_accept_prob=target)


class Chain:
    """The dynamics of one chain for one problem."""

    def __init__(self, problem: LatentProblem, settings: Settings) -> None:
        self.problem, self.settings = problem, settings

    def start(
        self,
        key: PRNGKeyArray,
        given: dict[str, Array],
        maps: dict[str, MirrorMap],
        supports: dict[str, Any],
        num_warmup: int,
    ) -> tuple[KernelState, Bool[Array, ""]]:
        """A state at given and drawn values, and whether densities and slopes are finite there."""
        problem, settings = self.problem, self.settings
        key_values, key_model, key_place, key_run = jax.random.split(key, 4)
        values = problem.initial_values(key_values, settings.init_strategy, given)
        coordinates = problem.coordinates(values, key_model)
        globals_, particles = (
            {
                s.name: jnp.asarray(coordinates[s.name], s.dtype)
                for s in problem.layout.block(mean_field)
            }
            for mean_field in (False, True)
        )
        dtype = jnp.result_type(*jax.tree.leaves((globals_, particles)))
        step_size = 1.0 if callable(settings.step_size) else settings.step_size
        adaptation, block = {}, "particles" if particles else "globals"
        stacked = {"globals": jax.tree.map(lambda x: x[None], globals_), "particles": particles}
        for name, units in stacked.items():
            if units:
                mean_field = name == "particles"
                unit = jax.tree.map(lambda x: x[0], units)
                geometry = product_of(problem.layout, maps, particles=mean_field)
                geometry = settings.geometry(geometry, unit, mean_field)
                adaptation[name] = settings.adaptation.init(geometry, step_size, num_warmup, units)
        state = KernelState(
            i=jnp.zeros((), jnp.int32),
            z=(),
            globals_=(),
            particles=(),
            adaptation=adaptation,
            supports=supports if settings.keep_supports else (),
            potential_energy=jnp.zeros((), dtype),
            accept_prob=jnp.ones((), dtype),
            accepted={name: jnp.ones((), dtype) for name in adaptation},
            step_size=jnp.asarray(step_size, dtype),
            diverging=jnp.zeros((), bool),
            objective=(),
            collective_ratio=jnp.zeros((), dtype) if self._has_ratio() else (),
            num_refused=jnp.zeros((), jnp.int32),
            refusals=Refusals.none(),
            layout=Static(problem.layout),
            rng_key=key_run,
        )
        state = self._placed(state, globals_, particles, key_place)
        scaled = {
            name: settings.adaptation.first_scale(adapted, *self._units_and_slopes(state, name))
            for name, adapted in adaptation.items()
        }
        state = state._replace(adaptation=scaled)
        state = state._replace(step_size=jnp.asarray(self._step_size(state, block), dtype))
        return jax.tree.map(_like, state, state), self._valid(state, maps)

    def refresh(self, state: KernelState) -> KernelState:
        """The same point and adaptation, the model's arguments having changed."""
        positions = _positions(state.globals_), _positions(state.particles)
        # The next move splits the key itself, whose i-th part is fold_in(key, i), into fewer.
        placed = self._placed(state, *positions, jax.random.fold_in(state.rng_key, REFRESH))
        return jax.tree.map(_like, placed, state)

    def _placed(
        self,
        state: KernelState,
        globals_: dict[str, Array],
        particles: dict[str, Array],
        key: PRNGKeyArray,
    ) -> KernelState:
        """The state with its blocks at these positions, evaluated there."""
        if particles:
            evaluation, _ = self.problem.evaluate(globals_ | particles, key)
            dynamics = self._mean_field(state, globals_, evaluation.temperature)
            state = state._replace(particles=dynamics.init(particles, key, state.particles or None))
        if globals_:
            block = self._langevin(state, particles).init(globals_, key, state.globals_ or None)
            state = state._replace(globals_=block)
        return self._report(state)

    def move(self, state: KernelState) -> KernelState:
        """Each block in turn."""
        # A key of its own for each use: what is drawn by one key is the same wherever it is drawn.
        rng_key, key_globals, key_particles, *keys_again = jax.random.split(state.rng_key, 5)
        both = bool(state.globals_) and bool(state.particles)
        before, infos = state, {}
        if state.globals_:
            block, particles = state.globals_, _positions(state.particles)
            dynamics = self._langevin(state, particles)
            if both or self._tempers_coordinates():
                # The particles, or the temperature, are others than this energy was computed with.
                block = dynamics.init(block.position, keys_again[0], block)
            block = block.at_rest(self._remapped(state, "globals"))
            block, infos["globals"] = dynamics.step(key_globals, block)
            state = state._replace(globals_=block)
        if state.particles:
            block = state.particles
            temperature = block.frozen.aux.temperature
            dynamics = self._mean_field(state, _positions(state.globals_), temperature)
            if both:
                block = dynamics.init(block.particles, keys_again[1], block)
            block = block.at_rest(self._remapped(state, "particles"))
            block, infos["particles"] = dynamics.step(key_particles, block)
            ratio = infos["particles"].collective_ratio if self._has_ratio() else ()
            state = state._replace(particles=block, collective_ratio=ratio)
        refused = [info.nonfinite.astype(jnp.int32) for info in infos.values()]
        culprits = {block: info.culprit for block, info in infos.items()}
        state = state._replace(
            i=state.i + 1,
            rng_key=rng_key,
            accept_prob=sum(info.accept_prob for info in infos.values()) / len(infos),
            accepted={block: info.judged for block, info in infos.items()},
            step_size=self._step_size(before, "particles" if state.particles else "globals"),
            diverging=sum(refused) > 0,
            num_refused=sum(refused),
            refusals=self._refusals(before, refused, culprits),
        )
        return jax.tree.map(_like, self._report(state), before)

    def _refusals(
        self, state: KernelState, refused: list[Array], culprits: dict[str, Culprit]
    ) -> Refusals:
        refusals, sites = state.refusals, self.problem.layout.sites
        for count, (block, culprit) in zip(refused, culprits.items(), strict=True):
            # The leaves of a block are in the order of its sites' names.
            of_block = self.problem.layout.block(particles=block == "particles")
            names = sorted(site.name for site in of_block)
            where = [i for name in names for i, site in enumerate(sites) if site.name == name]
            site = jnp.array([*where, -1], jnp.int32)[culprit.leaf]
            particle = culprit.unit if block == "particles" else jnp.full_like(culprit.unit, -1)
            refusals = select(count > 0, refusals.at(state.i + 1, site, particle), refusals)
        return refusals

    def adapt(self, state: KernelState) -> dict[str, AdaptationState]:
        """Every block's step size and metric after one update, for the warm-up."""
        adaptation = {}
        for block, adapted in state.adaptation.items():
            shared = block == "particles" and self._has_ratio()
            # There is none where the measure was refused, or drifts end nowhere: too long a step.
            ratio = jnp.nan_to_num(state.collective_ratio, nan=jnp.inf) if shared else 0.0
            adaptation[block] = self.settings.adaptation_of(block).update(
                adapted, *self._units_and_slopes(state, block), state.accepted[block], ratio
            )
        return adaptation

    def _remapped(self, state: KernelState, block: str) -> Bool[Array, ""]:
        """Whether the map has other weights than at the last step, so that a momentum kept under
        those means nothing any more."""
        return self.settings.adaptation.adapt_metric & state.adaptation[block].window_ended()

    def _has_ratio(self) -> bool:
        layout = self.problem.layout
        return layout.particles is not None and layout.stochastic is None

    def _tempers_coordinates(self) -> bool:
        """Whether the energy of the coordinates changes with the scheduled temperature: their
        determinants, where they have any, are not tempered, see `Evaluation.energy`."""
        charts = {site.chart for site in self.problem.layout.block(particles=False)}
        return self.settings.temperature is not None and not charts <= {Chart.MIRROR, Chart.WRAPPED}

    def _scale(self, i: Array) -> Array | float:
        if self.settings.temperature is None:
            return 1.0
        scale = self.settings.temperature(i)
        # A law of negative temperature would be another one: such moves are refused and reported.
        return jnp.where(scale > 0, scale, jnp.nan)

    def _step_size(self, state: KernelState, block: str) -> Array:
        if callable(self.settings.step_size):
            return self.settings.step_size(state.i)
        return state.adaptation[block].step_size()

    def _transition(self, state: KernelState, block: str) -> Transition:
        particles = block == "particles"
        sites = self.problem.layout.block(particles=particles)
        shapes = {site.name: site.shape for site in sites}
        return self.settings.transition(
            state.adaptation[block].map, state.supports, shapes, particles
        )

    def _langevin(self, state: KernelState, particles: dict[str, Array]) -> Langevin:
        scale = self._scale(state.i)
        carry = state.particles.frozen.carry if particles else None
        transition = self._transition(state, "globals")
        return Langevin(
            self.problem.global_potential(particles, carry, scale),
            transition,
            self._step_size(state, "globals"),
            1.0 if particles else scale,
            metropolize=self.settings.metropolize,
            # Beside particles each step costs a functional of all of them, and one step of each
            # block in turn is the better use of it.
            path_length=None if particles else self.settings.path_length,
            friction=self._friction(transition) if particles else None,
        )

    def _friction(self, transition: Transition) -> float | None:
        """Of moves of one step. Half a path length keeps 1/e, as moves of ordinary models have half
        of the greatest length on the average."""
        length = self.settings.path_length
        return 2 / length if length is not None and transition.has_momentum else None

    def _mean_field(
        self, state: KernelState, globals_: dict[str, Array], temperature: Array
    ) -> MeanFieldLangevin:
        scheduled = self.settings.temperature is not None
        transition = self._transition(state, "particles")
        return MeanFieldLangevin(
            ModelField(self.problem, globals_),
            transition,
            self._step_size(state, "particles"),
            temperature * self._scale(state.i),
            temperature * self._scale(state.i + 1) if scheduled else None,
            metropolize=self.settings.metropolize,
            friction=self._friction(transition),
        )

    def _report(self, state: KernelState) -> KernelState:
        """Fills in the values and densities of the present point."""
        evaluation = state.particles.frozen.aux if state.particles else state.globals_.aux
        log_density = evaluation.log_density()
        if state.particles:
            value = state.particles.frozen.value
            size = state.particles.felt.variation.shape[0]
            state = state._replace(objective=value)
            log_density -= size / evaluation.temperature * value
        return state._replace(z=self.problem.report(evaluation), potential_energy=-log_density)

    def _valid(self, state: KernelState, maps: dict[str, MirrorMap]) -> Bool[Array, ""]:
        """Whether the point is inside every support, with finite density and slopes."""
        valid = jnp.isfinite(state.potential_energy)
        for block in state.adaptation:
            units, slopes = self._units_and_slopes(state, block)
            valid &= all_finite(slopes)
            for name, x in units.items():
                valid &= jnp.all(_inside(maps[name], x))
        return valid

    def _units_and_slopes(self, state: KernelState, block: str) -> tuple[dict, dict]:
        """The positions of a block and the slopes there, stacked."""
        if block == "particles":
            return state.particles.particles, state.particles.felt.slope
        dynamics = self._langevin(state, _positions(state.particles))
        slope = dynamics.tempered(state.globals_.slope)
        return jax.tree.map(lambda x: x[None], (state.globals_.position, slope))

    def complaints(self, state: KernelState, maps: dict[str, MirrorMap]) -> list[str]:
        """Why the point of a concrete state is not valid, in words."""
        found, steep = [], []
        for block in state.adaptation:
            units, slopes = self._units_and_slopes(state, block)
            for name, x in units.items():
                finite = jnp.all(jnp.isfinite(slopes[name]).reshape(len(x), -1), axis=1)
                if not bool(jnp.all(finite)):
                    at = x[jnp.argmin(finite)]
                    steep.append(f"the gradient at site '{name}' = {at} is not finite")
                inside = _inside(maps[name], x)
                if not bool(jnp.all(inside)):
                    support = self.problem.layout.site(name).support_in_short
                    found.append(
                        f"site '{name}' is on or outside of the boundary of its support "
                        f"{support}, or nearer to it than {x.dtype} can tell: "
                        f"{x[jnp.argmin(inside)]}"
                    )
        if found:
            return found
        positions = _positions(state.globals_) | _positions(state.particles)
        found = self.problem.complaints(positions, state.rng_key)
        return found or steep + self.problem.steep(positions, state.rng_key)


def _positions(block: LangevinState | MeanFieldState | tuple) -> dict[str, Array]:
    if isinstance(block, LangevinState):
        return block.position
    return block.particles if isinstance(block, MeanFieldState) else {}


def _inside(part: MirrorMap, units: Array) -> Bool[Array, " n"]:
    """Whether stacked points are in the interior of the support, and on the affine set where it
    lies in one, as a simplex: only there do the gradients of phi and phi* undo each other."""

    def inside(x: Array) -> Array:
        back = part.conjugate_grad(part.grad(x), x)
        return (part.slack(x) > 0) & jnp.all(jnp.abs(back - x) <= 1e-3 * (1 + jnp.abs(x)))

    return jax.vmap(inside)(units)


def _like(new: Array, old: Array) -> Array:
    """In the dtype of `old` and never weakly typed, so that a step compiles once."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return new
    return jax.lax.convert_element_type(new, old.dtype)
