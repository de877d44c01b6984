"""The symmetric step of a map without a closed form."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ..linalg import inner
from .metric import Metric
from .newton import Legendre, newton_conjugate


class Geometry(Legendre, Protocol):
    """What a symmetric step asks of a Legendre function; a `MirrorMap` has it."""

    def metric(self, x: PyTree, /) -> Metric: ...

    def restore(self, x: PyTree, /) -> PyTree: ...


def newton_symmetric_step(
    mirror: Geometry, x: PyTree, momentum: PyTree, self_concordance: float | Float[Array, ""]
) -> tuple[PyTree, PyTree]:
    """`MirrorMap.symmetric_step` by Newton's method on phi(z) + |z - x|^2_{G(x)} / 2, whose
    self-concordance is that of phi. NaN where it does not converge."""
    here, y = mirror.metric(x), mirror.grad(x)
    target = jax.tree.map(lambda p, y: 2 * p + y, momentum, y)
    anchored = _Anchored(mirror, x, here)
    moved = mirror.restore(newton_conjugate(anchored, target, x, self_concordance))
    step = jax.tree.map(jnp.subtract, moved, x)
    pushed = jax.tree.map(
        lambda g, new, old: 0.5 * (g + new - old),
        mirror.metric(moved).apply(step),
        mirror.grad(moved),
        y,
    )
    return moved, pushed


class _Anchored(NamedTuple):
    """phi(z) + |z - x|^2_{G(x)} / 2, as far as `newton_conjugate` asks. metric: G(x)."""

    mirror: Geometry
    x: PyTree
    here: Metric

    def slack(self, z: PyTree) -> Array:
        return self.mirror.slack(z)

    def grad(self, z: PyTree) -> PyTree:
        step = jax.tree.map(jnp.subtract, z, self.x)
        return jax.tree.map(jnp.add, self.mirror.grad(z), self.here.apply(step))

    def metric(self, z: PyTree) -> _Sum:
        return _Sum(self.mirror.metric(z), self.here)


class _Sum(NamedTuple):
    """G(z) + G(x), solved by conjugate gradients preconditioned with G(x): its factors are at
    hand, and a step of a few local lengths leaves the two within a small factor."""

    there: Metric
    here: Metric

    def apply(self, u: PyTree) -> PyTree:
        return jax.tree.map(jnp.add, self.there.apply(u), self.here.apply(u))

    def solve(self, v: PyTree) -> PyTree:
        # Normal parts would grow from step to step, and rounding with them.
        v = self.here.shortest(v)
        begin = self.here.solve(v)
        size = inner(v, begin)
        zero = jax.tree.map(jnp.zeros_like, begin)
        tolerance = jnp.finfo(size.dtype).eps

        def unfinished(it: _Conjugate):
            return (it.size > tolerance * size) & (it.steps < 50)

        def iterate(it: _Conjugate) -> _Conjugate:
            pushed = self.apply(it.direction)
            t = it.size / inner(it.direction, pushed)
            solution = _add(it.solution, it.direction, t)
            residual = self.here.shortest(_add(it.residual, pushed, -t))
            preconditioned = self.here.solve(residual)
            rest = inner(residual, preconditioned)
            direction = _add(preconditioned, it.direction, rest / it.size)
            return _Conjugate(solution, residual, direction, rest, it.steps + 1)

        start = _Conjugate(zero, v, begin, size, jnp.zeros((), jnp.int32))
        return jax.lax.while_loop(unfinished, iterate, start).solution


class _Conjugate(NamedTuple):
    solution: PyTree
    residual: PyTree
    direction: PyTree
    size: Float[Array, ""]
    steps: Int[Array, ""]


def _add(a: PyTree, b: PyTree, scale: Float[Array, ""]) -> PyTree:
    return jax.tree.map(lambda u, v: u + scale * v, a, b)
