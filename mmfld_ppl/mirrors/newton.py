"""grad phi* by Newton's method, for maps without a closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..linalg import Scalar, inner

Vector = Float[Array, " n"]


class Hessian(Protocol):
    """What Newton's method asks of a Hessian."""

    def solve(self, v: PyTree, /) -> PyTree: ...


class Legendre(Protocol):
    """What Newton's method asks of a Legendre function; a `MirrorMap` has it."""

    def slack(self, x: PyTree, /) -> Scalar: ...

    def grad(self, x: PyTree, /) -> PyTree: ...

    def metric(self, x: PyTree, /) -> Hessian: ...


class _Iterate(NamedTuple):
    """A point; the Newton decrement before the step to it; whether that no longer fell."""

    point: Vector
    decrement: Scalar
    stalled: Bool[Array, ""]
    steps: Int[Array, ""]


def newton_conjugate(
    mirror: Legendre,
    y: PyTree,
    start: PyTree,
    self_concordance: float | Scalar,
    max_steps: int = 100,
) -> PyTree:
    """argmin_x phi(x) - <y, x> from an interior `start`, with the map's own `grad`, `metric` and
    `slack`: a map that knows its Hessian's structure gets a structured Newton method.

    Step 1/(1 + M lambda) while M times the Newton decrement lambda exceeds 1/4, then full steps.
    They stay inside and converge for a self-concordant phi (Nesterov and Nemirovskii 1994,
    theorem 2.2.3). For any other phi M counts as 1, and a step is halved until it is inside and
    the slope along it has not turned round. Ends with one full step once lambda is below
    eps^(1/4), where convergence is quadratic. Close to the boundary rounding of the point alone
    can keep lambda above that; then it ends when a full step no longer halves lambda, which exact
    arithmetic rules out for a self-concordant phi. NaN where `max_steps` do not suffice. Cost: one
    metric and solve a step.
    """
    x0, unravel = ravel_pytree(start)
    dual = ravel_pytree(y)[0].astype(x0.dtype)
    tolerance = jnp.finfo(x0.dtype).eps ** 0.25
    stated = jnp.asarray(self_concordance, x0.dtype)
    concordant = jnp.isfinite(stated)
    constant = jnp.where(concordant, stated, 1)
    inside_by_theory = isinstance(self_concordance, float) and np.isfinite(self_concordance)

    def residual_at(x: Vector) -> Vector:
        return dual - ravel_pytree(mirror.grad(unravel(x)))[0]

    def newton_step(x: Vector) -> tuple[Vector, Scalar]:
        residual = residual_at(x)
        direction = ravel_pytree(mirror.metric(unravel(x)).solve(unravel(residual)))[0]
        # What rounding makes negative is known to no better than its size, and is no convergence.
        return direction, jnp.sqrt(jnp.abs(inner(residual, direction)))

    def too_far(x: Vector, direction: Vector, decrement: Scalar) -> Bool[Array, ""]:
        # Slopes, not values: near the minimum values are equal to rounding.
        turned = inner(residual_at(x), direction) < -0.5 * jnp.square(decrement)
        return ~(mirror.slack(unravel(x)) > 0) | (turned & (decrement > tolerance))

    def unfinished(it: _Iterate) -> Bool[Array, ""]:
        return (it.decrement > tolerance) & ~it.stalled & (it.steps < max_steps)

    def iterate(it: _Iterate) -> _Iterate:
        direction, decrement = newton_step(it.point)
        damped = 1 / (1 + constant * decrement)
        t = jnp.where(constant * decrement > 0.25, damped, jnp.ones_like(damped))
        if not inside_by_theory:
            t = _shorten(t, lambda t: too_far(it.point + t * direction, direction, decrement))
        quadratic = concordant & (constant * it.decrement <= 0.25)
        stalled = quadratic & (decrement > 0.5 * it.decrement)
        return _Iterate(it.point + t * direction, decrement, stalled, it.steps + 1)

    infinite = jnp.asarray(jnp.inf, x0.dtype)
    begin = _Iterate(x0, infinite, jnp.asarray(False), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, iterate, begin)
    last = end.point + newton_step(end.point)[0]
    last = jnp.where(mirror.slack(unravel(last)) > 0, last, end.point)
    converged = (end.decrement <= tolerance) | end.stalled
    return unravel(jnp.where(converged, last, jnp.nan))


def _shorten(t: Scalar, too_far: Callable[[Scalar], Bool[Array, ""]]) -> Scalar:
    """Halves t while it is too far.

    The verdict travels with t. Were it the loop's condition, `vmap` would compile it twice, once
    to go on and once to choose which elements move, and where rounding makes the two disagree the
    loop would never end."""

    def halve(state):
        t = state[0] / 2
        return t, too_far(t) & (t > 1e-6)

    return jax.lax.while_loop(lambda state: state[1], halve, (t, too_far(t)))[0]
