"""One loop for every experiment: a method, at given steps, on a batch of problems and seeds.

Compiling such a loop takes as long as running it, so that one program serves every number of
particles N: a run moves `total` of them, as total // N independent ensembles side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int, PyTree

from mmfld_ppl import Measure, dynamics, mirrors
from mmfld_ppl.dynamics.field import Field, Frozen
from mmfld_ppl.functionals import Functional
from mmfld_ppl.projections import projection

#: Particles nearer to the boundary than this are said to be on the edge.
EDGE = 1e-3


class Problem(NamedTuple):
    """Minimise F(mu) + temperature * KL(mu | uniform) on one support, for parameters that vary.

    base: the uniform law. functional: parameters, a pytree of arrays -> F. statistics: of one
    particle, what is averaged over particles and kept."""

    base: dist.Distribution
    functional: Callable[[Any], Functional]
    statistics: Callable[[Array], Float[Array, " p"]]


class Method(NamedTuple):
    """A way to move particles.

    parts: a step moves one particle in so many at a time, the next ones in the field that these
    leave; after it all have moved. burn_in: how particles move in the half of a run that is
    forgotten, without adjustment and at the share `slower` of the step; None: as in the rest."""

    name: str
    transition: dynamics.Transition
    metropolize: bool = False
    parts: int = 1
    burn_in: dynamics.Transition | None = None
    slower: float = 1.0

    @property
    def gradients(self) -> int:
        """Of the first variation at all particles, in a step. An adjusted one needs another at
        the points that it proposes. Sub-steps of a diffusion need none."""
        return 2 if self.metropolize else 1


class Length(NamedTuple):
    """forgotten: steps before anything is kept. draws: ensembles kept. thinning: steps before
    each."""

    forgotten: int
    draws: int
    thinning: int

    @classmethod
    def of(cls, gradients: int, method: Method, draws: int) -> Length:
        """Half of a budget of gradients to forget the start, half of it to keep."""
        steps = gradients // (2 * method.gradients)
        forgotten = steps if method.burn_in is None else gradients // 2
        return cls(forgotten, min(draws, steps), max(1, steps // draws))


class Kept(NamedTuple):
    """Ensembles, with the axes (run, draw, ensemble); `statistics` has another.

    objective: F. statistics: averages over the particles. edge: share of particles on the edge.
    Without the axis of ensembles, averages over all particles: accepted; refused, the share of
    moves that ended where something is not finite; collective_ratio, of runs with one ensemble.
    last: all particles at the end, (run, total, ...)."""

    objective: Any
    statistics: Any
    edge: Any
    last: Any
    accepted: Any
    refused: Any
    collective_ratio: Any


class SideBySide(Field):
    """The field of ensembles of `size` particles each, which do not feel one another.

    Their particles follow one another in one array of `total`; those left over feel nothing."""

    functional: Functional
    size: Int[Array, ""]
    slots: int
    total: int

    def label(self) -> Int[Array, " total"]:
        """The ensemble of each particle."""
        return jnp.arange(self.total) // self.size

    def weights(self) -> Float[Array, "slots total"]:
        """Of the particles in each ensemble."""
        mine = self.label() == jnp.arange(self.slots)[:, None]
        return mine / self.size

    def linearize(self, particles: PyTree, carry: PyTree, key: Array) -> Frozen:
        def one(weights, key):
            return self.functional.linearize(Measure(particles, weights), None, key)

        value, tangent, _ = jax.vmap(one)(self.weights(), jax.random.split(key, self.slots))
        complete = (jnp.arange(self.slots) + 1) * self.size <= self.total
        return Frozen(jnp.mean(value, where=complete), tangent, None)

    def potentials(self, frozen: Frozen, particles: PyTree, key: Array):
        return self.felt_by(frozen, particles, self.label())

    def felt_by(self, frozen: Frozen, particles: PyTree, label: Int[Array, " n"]):
        """The same for some particles, each in the field of the ensemble that its label says."""
        tangents = jax.tree.map(lambda leaf: leaf[label], frozen.tangent)
        one = jax.tree.map(lambda leaf: leaf[:, None], particles)
        variation = jax.vmap(self.functional.first_variation)(tangents, one)[:, 0]
        return variation, jnp.zeros_like(variation)

    def init_carry(self, particles: PyTree) -> None:
        return None


class Part(Field):
    """The field at one particle in `stride`, from the `first` on, while all others stay.

    particles: all of them. Where there are as many parts as `stride`, each has its share of every
    ensemble whose size is a multiple of that."""

    whole: SideBySide
    particles: PyTree
    first: Int[Array, ""]
    stride: int

    def of(self, everyone: Array) -> Array:
        """The entries of the particles that move."""
        return everyone.reshape(-1, self.stride, *everyone.shape[1:])[:, self.first]

    def put(self, some: Array) -> Array:
        """All particles, with these for those that move."""
        split = self.particles.reshape(-1, self.stride, *some.shape[1:])
        return split.at[:, self.first].set(some).reshape(self.particles.shape)

    def linearize(self, particles: PyTree, carry: PyTree, key: Array) -> Frozen:
        return self.whole.linearize(self.put(particles), carry, key)

    def potentials(self, frozen: Frozen, particles: PyTree, key: Array):
        return self.whole.felt_by(frozen, particles, self.of(self.whole.label()))

    def init_carry(self, particles: PyTree) -> None:
        return None


def default_map(base: dist.Distribution) -> mirrors.MirrorMap:
    found = mirrors.mirror_map(base.support, base.event_shape)
    if found is None:
        raise ValueError(f"{base.support} has no mirror map")
    return found


def projected(base: dist.Distribution, barrier: float = 0.0) -> dynamics.Projected:
    """The paper's baselines: a Euclidean step, then a projection. barrier: weight of the
    default map's potential in the drift."""
    project = projection(base.support, base.event_shape)
    return dynamics.Projected(default_map(base), project, jnp.asarray(barrier), inset=1e-4)


def with_burn_in(
    map: mirrors.MirrorMap, parts: int = 1, arriving: mirrors.MirrorMap | None = None
) -> Method:
    """Adjusted dynamics that arrive: unadjusted steps first, which cost half as much and leave
    behind what is far from rest, then adjusted symmetric ones, which are longer and have no bias.

    parts: into how many parts particles are divided, which move in turn and so do not all answer
    one field. Steps can then be longer than a burn-in that has a bias may take; it takes a quarter
    of them. arriving: a map under which to arrive by its exact diffusion, in the place of one step
    under `map`; its steps are a twentieth as long, being in the units of another metric."""
    if arriving is not None:
        name, burn_in, slower = "exact burn-in", dynamics.Mirror(arriving, "exact"), 0.05
    else:
        name, burn_in, slower = "burn-in", dynamics.Mirror(map), 1.0 if parts == 1 else 0.25
    return Method(name, dynamics.Symmetric(map.stepping()), True, parts, burn_in, slower)


def stepper(
    field: SideBySide, transition: dynamics.Transition, metropolize: bool, parts: int
) -> Callable[[Any, Any, Array, dynamics.MeanFieldState], tuple[dynamics.MeanFieldState, tuple]]:
    """(step h, temperature, key, state) -> state after all particles have moved once, and the share
    of moves accepted, the number refused since not finite, the collective ratio."""

    def langevin(field: Field, h, temperature):
        return dynamics.MeanFieldLangevin(
            field, transition, h, temperature, metropolize=metropolize
        )

    def at_once(h, temperature, key, state):
        state, info = langevin(field, h, temperature).step(key, state)
        return state, (info.accept_prob, info.nonfinite, info.collective_ratio)

    def in_parts(h, temperature, key, state):
        def move(state, first_and_key):
            first, key = first_and_key
            part = Part(field, state.particles, first, parts)
            x = part.of(state.particles)
            felt = part.feel(state.frozen, x, temperature, key)
            own = dynamics.MeanFieldState(x, state.frozen, felt)
            own, info = langevin(part, h, temperature).step(key, own)
            state = state._replace(particles=part.put(own.particles), frozen=own.frozen)
            return state, (info.accept_prob, info.nonfinite)

        turns = jnp.arange(parts), jax.random.split(key, parts)
        state, (accepted, refused) = jax.lax.scan(move, state, turns)
        # The ratio is one of a step in which all particles move.
        return state, (jnp.mean(accepted), jnp.sum(refused), jnp.full((), jnp.nan))

    return at_once if parts == 1 else in_parts


def runner(
    problem: Problem, method: Method, total: int, least: int, length: Length
) -> Callable[[Any, PyTree, Any, Any, Array], Kept]:
    """A compiled (temperatures, parameters, steps h, sizes N, keys) -> Kept, batched along the
    leading axis of all five. N is at least `least`; ensembles beyond total // N are no ensembles.
    Every run starts from independent draws of the uniform law."""
    slack = jax.vmap(default_map(problem.base).slack)

    def run(temperature, parameters, h, size, key):
        functional = problem.functional(parameters)
        field = SideBySide(functional, size, total // least, total)
        settled = stepper(field, method.transition, method.metropolize, method.parts)
        rough, share = settled, 1.0
        if method.burn_in is not None:
            rough, share = stepper(field, method.burn_in, False, method.parts), method.slower

        def forget(state, key):
            return rough(share * h, temperature, key, state)[0], None

        def keep(state, key):
            def step(state, key):
                return settled(h, temperature, key, state)

            keys = jax.random.split(key, length.thinning)
            state, (accepted, refused, ratio) = jax.lax.scan(step, state, keys)
            x, weights = state.particles, field.weights()
            return state, Kept(
                jax.vmap(lambda w: functional(Measure(x, w)))(weights),
                weights @ jax.vmap(problem.statistics)(x),
                weights @ (slack(x) < EDGE),
                None,
                jnp.mean(accepted),
                jnp.mean(refused) / total,
                jnp.mean(ratio, where=jnp.isfinite(ratio)),
            )

        start, key_forget, key_keep = jax.random.split(key, 3)
        x = problem.base.sample(start, (total,))
        state = dynamics.MeanFieldLangevin(
            field, method.transition, h, temperature, metropolize=False
        ).init(x, start)
        state = jax.lax.scan(forget, state, jax.random.split(key_forget, length.forgotten))[0]
        state, kept = jax.lax.scan(keep, state, jax.random.split(key_keep, length.draws))
        return kept._replace(last=state.particles)

    compiled = jax.jit(jax.vmap(run))

    def batched(temperatures, parameters, h, sizes, keys):
        inputs = (np.asarray(temperatures, np.float32), np.asarray(h, np.float32))
        out = compiled(inputs[0], parameters, inputs[1], np.asarray(sizes), keys)
        return jax.tree.map(np.asarray, out)

    return batched
