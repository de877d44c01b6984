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
    """A way to move particles."""

    name: str
    transition: dynamics.Transition
    metropolize: bool = False

    @property
    def gradients(self) -> int:
        """Of the first variation at all particles, in a step. An adjusted one needs another at
        the points that it proposes. Sub-steps of a diffusion need none."""
        return 2 if self.metropolize else 1


class Length(NamedTuple):
    """draws: ensembles kept; as many before them are forgotten. thinning: steps before each."""

    draws: int
    thinning: int

    @classmethod
    def of(cls, gradients: int, method: Method, draws: int) -> Length:
        """Half of a budget of gradients to forget the start, half of it to keep."""
        steps = gradients // method.gradients
        return cls(min(draws, steps // 2), max(1, steps // (2 * draws)))


class Kept(NamedTuple):
    """Ensembles, with the axes (run, draw, ensemble); `statistics` has another.

    objective: F. statistics: averages over the particles. edge: share of particles on the edge.
    Without the axis of ensembles, averages over all particles: accepted; refused, the share of
    moves that ended where something is not finite; collective_ratio, of runs with one ensemble."""

    objective: Any
    statistics: Any
    edge: Any
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
        tangents = jax.tree.map(lambda leaf: leaf[self.label()], frozen.tangent)
        one = jax.tree.map(lambda leaf: leaf[:, None], particles)
        variation = jax.vmap(self.functional.first_variation)(tangents, one)[:, 0]
        return variation, jnp.zeros_like(variation)

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
    return dynamics.Projected(project, default_map(base), jnp.asarray(barrier), inset=1e-4)


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
        langevin = dynamics.MeanFieldLangevin(
            field, method.transition, h, temperature, metropolize=method.metropolize
        )

        def step(state, key):
            return langevin.step(key, state)

        def keep(state, key):
            state, info = jax.lax.scan(step, state, jax.random.split(key, length.thinning))
            x, weights = state.particles, field.weights()
            return state, Kept(
                jax.vmap(lambda w: functional(Measure(x, w)))(weights),
                weights @ jax.vmap(problem.statistics)(x),
                weights @ (slack(x) < EDGE),
                jnp.mean(info.accept_prob),
                jnp.mean(info.nonfinite) / total,
                jnp.mean(info.collective_ratio, where=jnp.isfinite(info.collective_ratio)),
            )

        start, key = jax.random.split(key)
        state = langevin.init(problem.base.sample(start, (total,)), start)
        kept = jax.lax.scan(keep, state, jax.random.split(key, 2 * length.draws))[1]
        return jax.tree.map(lambda leaf: leaf[length.draws :], kept)

    compiled = jax.jit(jax.vmap(run))

    def batched(temperatures, parameters, h, sizes, keys):
        inputs = (np.asarray(temperatures, np.float32), np.asarray(h, np.float32))
        out = compiled(inputs[0], parameters, inputs[1], np.asarray(sizes), keys)
        return jax.tree.map(np.asarray, out)

    return batched
