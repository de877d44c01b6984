"""A mean-field model around a frozen measure: energies, forces, and draws of its Gibbs density.

Frozen at mu, the model has the proximal Gibbs density mu_hat proportional to base *
exp(-(1/tau) dF/dmu(mu)), and mu is the minimiser if and only if mu = mu_hat.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..diagnostics import unconstrained
from ..dynamics import Field, Frozen, MeanFieldLangevin, Mirror
from ..functionals.stein import Lifted, lift_point
from ..latent import LatentProblem, product_of
from ..latent.charts import wrapped
from ..measures import Measure
from ..mirrors import MirrorMap
from .angles import on_circles

#: Coordinates of N particles by site, the particle axis in front.
Block = dict[str, Array]

#: Of all evaluations: nothing here is random, or changes with a subsample.
KEY = jax.random.key(0)

#: Steps between two looks at the draws of the Gibbs density, and the most that are taken.
ROUND, MOST_ROUNDS = 25, 40
#: Correlation with where they started, below which draws have forgotten it; and change of a mean in
#: a round, in standard deviations, below which their law has settled.
FORGOTTEN = 0.1
#: Acceptance that the step is kept between, what is aimed at, and by how much it grows at most.
EASY, HARD, AIM, GROWTH = 0.8, 0.4, 0.7, 8.0


class FrozenField(Field):
    """The field of a model's objective under one linearisation, whatever the particles do."""

    problem: LatentProblem
    tangent: PyTree

    def linearize(self, particles: Block, carry: PyTree, key: PRNGKeyArray) -> Frozen:
        dtype = jax.tree.leaves(particles)[0].dtype
        return Frozen(jnp.zeros((), dtype), self.tangent, None)

    def potentials(
        self, frozen: Frozen, particles: Block, key: PRNGKeyArray
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        # Of a subsample, the one that the tangent is of.
        evaluation, stated = self.problem.evaluate(particles, KEY)
        return stated.functional.first_variation(self.tangent, stated.points), evaluation.log_base

    def init_carry(self, particles: Block) -> PyTree:
        return None

    @property
    def fixed(self) -> bool:
        return True


class Walk(NamedTuple):
    """blocks: draws of the Gibbs density, (block, N, ...) by site. acceptance: of the first steps,
    of the length that was asked for. memory: largest correlation of an energy or a free coordinate
    with where it started. steps: number taken. step_size: of the last."""

    blocks: Block
    acceptance: float
    memory: float
    steps: int
    step_size: float


class FrozenModel:
    """A mean-field model without global sites, as functions of its particles.

    problem: of the run. maps, supports: of its sites' coordinates. centres: of those that are
    angles, opposite to which their free coordinate is cut. temperature: tau."""

    def __init__(
        self,
        problem: LatentProblem,
        maps: Mapping[str, MirrorMap],
        supports: Mapping[str, Any],
        centres: Mapping[str, np.ndarray],
        temperature: float,
    ) -> None:
        self.problem, self.temperature = problem, temperature
        self.supports, self.centres = supports, centres
        self.map = product_of(problem.layout, maps, particles=True)
        sites = problem.layout.block(particles=True)
        on_circle = {s.name: np.full(s.shape, s.name in centres) for s in sites}
        self.angles = np.asarray(ravel_pytree(on_circle)[0])
        self.linearize = jax.jit(self._linearize)
        self.mixture = jax.jit(self._mixture)
        self.energies = jax.jit(jax.vmap(self._energies, (None, 0)))
        self.values = jax.jit(self._values)
        self.forces = jax.jit(self._forces)
        self.slack = jax.jit(jax.vmap(self._slack))
        self._advance = jax.jit(self._steps)

    def _linearize(self, blocks: Block) -> tuple[Float[Array, ""], PyTree]:
        """F and the tangent at the pooled measure of all blocks."""
        return self._at(blocks, Measure.uniform(self._pooled(blocks)))

    def _mixture(
        self, blocks: Block, others: Block, share: Array
    ) -> tuple[Float[Array, ""], PyTree]:
        """F and the tangent at (1 - share) times the measure of the blocks plus share times that
        of as many others."""
        pooled = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b]), self._pooled(blocks), self._pooled(others)
        )
        half = jax.tree.leaves(pooled)[0].shape[0] // 2
        weights = jnp.repeat(jnp.stack([1 - share, share]) / half, half)
        return self._at(blocks, Measure(pooled, weights))

    def _pooled(self, blocks: Block) -> PyTree:
        """The points of the objective, of all blocks."""
        points = jax.lax.map(lambda b: self.problem.evaluate(b, KEY)[1].points, blocks)
        return jax.tree.map(lambda p: p.reshape(-1, *p.shape[2:]), points)

    def _at(self, blocks: Block, measure: Measure) -> tuple[Float[Array, ""], PyTree]:
        _, stated = self.problem.evaluate(jax.tree.map(lambda x: x[0], blocks), KEY)
        at = stated.functional.linearize(measure, stated.functional.init_carry(measure))
        return at.value, at.tangent

    def _energies(
        self, tangent: PyTree, block: Block
    ) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, "n k"]]:
        """First variation, minus the log of the Gibbs density, and the free coordinates that it is
        the density of, of each particle."""
        field = FrozenField(self.problem, tangent)
        variation, log_base = field.potentials(field.linearize(block, None, KEY), block, KEY)
        z, log_det = free_coordinates(block, self.supports, self.centres)
        return variation, variation / self.temperature - log_base - log_det, z

    def _values(self, block: Block, weights: Float[Array, "w n"]) -> Float[Array, " w"]:
        """F of the particles under several weightings."""
        _, stated = self.problem.evaluate(block, KEY)
        return jax.lax.map(lambda w: stated.functional(Measure(stated.points, w)), weights)

    def _forces(self, tangent: PyTree, block: Block, chosen: Int[Array, " k"]) -> Lifted:
        """Flattened particles, angles as (cos, sin), with drift and mobility of mirror Langevin
        dynamics at each of those chosen. The model has a place for every particle, so that the
        block holds all."""
        field = FrozenField(self.problem, tangent)
        frozen = field.linearize(block, None, KEY)
        slopes = field.feel(frozen, block, self.temperature, KEY).slope
        scores = jax.tree.map(jnp.negative, slopes)
        there = jax.tree.map(lambda leaf: leaf[chosen], (block, scores))
        lifted = jax.vmap(functools.partial(lift_point, self.map))(*there)
        return jax.vmap(functools.partial(on_circles, angles=self.angles))(lifted)

    def _slack(self, block: Block) -> dict[str, Float[Array, " n"]]:
        return {name: jax.vmap(self.map.parts[name].slack)(x) for name, x in block.items()}

    def _steps(
        self, tangent: PyTree, blocks: Block, step_size: Array, key: PRNGKeyArray
    ) -> tuple[Block, Float[Array, ""]]:
        """A round of adjusted steps of every particle on its own; their mean acceptance."""
        dynamics = MeanFieldLangevin(
            FrozenField(self.problem, tangent), Mirror(self.map), step_size, self.temperature
        )

        def walk(block: Block, key: PRNGKeyArray):
            def step(state, key):
                state, info = dynamics.step(key, state)
                return state, info.accept_prob

            keys = jax.random.split(key, ROUND)
            state, accepted = jax.lax.scan(step, dynamics.init(block, KEY), keys)
            return state.particles, jnp.mean(accepted)

        count = jax.tree.leaves(blocks)[0].shape[0]
        moved, accepted = jax.vmap(walk)(blocks, jax.random.split(key, count))
        return moved, jnp.mean(accepted)

    def draw(self, tangent: PyTree, blocks: Block, step_size: float, key: PRNGKeyArray) -> Walk:
        """Draws of the Gibbs density, by adjusted mirror Langevin dynamics from the particles.

        They walk until they have forgotten where they started and their law has settled, or
        `MOST_ROUNDS` are over; a law with modes that are far apart is not left by then, and its
        weights stay those of the particles. step_size: the first to try."""
        begin = before = self._features(tangent, blocks)
        h, first, memory, taken = step_size, np.nan, 1.0, 0
        # Correlations and differences of so many independent particles are this large by chance.
        chance = 3 / np.sqrt(len(begin))
        forgotten, settled = max(FORGOTTEN, chance), max(FORGOTTEN, chance * np.sqrt(2))
        for taken in range(1, MOST_ROUNDS + 1):
            key, round_key = jax.random.split(key)
            blocks, accepted = self._advance(tangent, blocks, jnp.asarray(h), round_key)
            rate = float(accepted)
            first = rate if taken == 1 else first
            if rate < HARD:
                h *= max(0.1, rate / 0.6)
            elif rate > EASY:
                # What is refused grows about as the step does, or slower.
                h *= min(GROWTH, (1 - AIM) / max(1 - rate, 1e-6))
            now = self._features(tangent, blocks)
            memory, moves, before = _memory(begin, now), _moves(before, now), now
            if memory < forgotten and moves < settled and rate >= HARD / 2:
                break
        return Walk(blocks, first, memory, taken * ROUND, h)

    def _features(self, tangent: PyTree, blocks: Block) -> Float[np.ndarray, "n f"]:
        _, energy, z = self.energies(tangent, blocks)
        # NumPy adds rows one to another: far from zero that takes double precision.
        columns = np.asarray(energy).reshape(-1, 1), np.asarray(z).reshape(-1, z.shape[-1])
        return np.concatenate(columns, axis=1, dtype=float)


def free_coordinates(
    block: Block, supports: Mapping[str, Any], centres: Mapping[str, np.ndarray]
) -> tuple[Float[Array, "n k"], Float[Array, " n"]]:
    """Free coordinates of each particle, and the log determinant of the way back."""
    about = {n: wrapped(block[n] - jnp.asarray(c, block[n].dtype)) for n, c in centres.items()}
    parts = [
        jax.vmap(functools.partial(unconstrained, supports[n]))(x)
        for n, x in (block | about).items()
    ]
    return (
        jnp.concatenate([z for z, _ in parts], axis=1),
        jnp.sum(jnp.stack([log_det for _, log_det in parts]), axis=0),
    )


def _memory(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "n f"]) -> float:
    """Largest correlation between a feature and itself later."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt(np.sum(a**2, axis=0) * np.sum(b**2, axis=0))
    moving = scale > 0
    if not np.any(moving):
        return 1.0
    return float(np.max(np.abs(np.sum(a * b, axis=0)[moving] / scale[moving])))


def _moves(a: Float[np.ndarray, "n f"], b: Float[np.ndarray, "n f"]) -> float:
    """Largest change of a feature's mean, in standard deviations, or of their logarithm."""
    spread, now = a.std(axis=0), b.std(axis=0)
    moving = (spread > 0) & (now > 0)
    if not np.any(moving):
        return 0.0
    shift = np.abs(b.mean(axis=0) - a.mean(axis=0))[moving] / now[moving]
    return float(max(np.max(shift), np.max(np.abs(np.log(now[moving] / spread[moving])))))
