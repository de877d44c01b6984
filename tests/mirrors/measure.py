"""What the laws compare, computed once for each map and kept.

Closed forms are compared with automatic differentiation of the potential along the tangent
space, in the local norm: a matrix M that should be the Hessian H = L L^T gives L^-1 M L^-T, which
should be the identity, however badly scaled the point.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from mmfld_ppl.mirrors import Independent, MirrorMap, Moments
from tests.mirrors.cases import CASES, Case
from tests.mirrors.spaces import COUNT

EDGE = 1e-6  # distance from the boundary of the extreme points
EDGES = 4
FAR = 4
DIRECTIONS = 24

BY_NAME = {case.name: case for case in CASES}


def flat(tree: Any) -> jax.Array:
    return ravel_pytree(tree)[0]


def point(points: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], points)


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@functools.cache
def measured(name: str, adapted: bool) -> dict[str, np.ndarray]:
    """In float64: `laws` at COUNT interior points, then at EDGES points close to the boundary."""
    case = BY_NAME[name]
    with jax.enable_x64(True):
        mirror, points, noise = _problem(case, adapted, jnp.float64)
        directions = np.random.default_rng(5).normal(size=(DIRECTIONS, len(case.tangent)))
        if case.bounded:
            edges = _approach(mirror, case.tangent, directions[:EDGES], points)
            points = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), points, edges)
        unit = flat(mirror.noise_like(point(points, 0)))
        seen = _laws(mirror, case.tangent, unit, noise, directions, points)
        return jax.tree.map(np.asarray, seen)


@functools.cache
def single_precision(name: str, x64: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """All methods over a batch of `Independent` copies in float32, and one by one in float64."""
    case = BY_NAME[name]
    with jax.enable_x64(True):
        mirror, points, noise = _problem(case, True, jnp.float64)
        points = cast(cast(points, jnp.float32), jnp.float64)
        exact = _every_method_mapped(mirror, points, noise)
    with jax.enable_x64(x64):
        mirror = cast(mirror, jnp.float32)
        noise, points = cast((noise, points), jnp.float32)
        stacked = Independent.of(mirror, (COUNT,))
        noises = jax.vmap(lambda x: _like(mirror.noise_like(x), noise))(points)
        batched = _every_method(stacked, points, noises)
    return batched, exact


def _problem(case: Case, adapted: bool, dtype: Any) -> tuple[MirrorMap, Any, jax.Array]:
    rng = np.random.default_rng(len(case.name))
    points = cast(case.points(rng), dtype)
    mirror = case.build(dtype).adaptable(dtype)
    if adapted:
        seen = _observe_mapped(mirror, points)
        moments = Moments(
            jax.tree.map(lambda c: jnp.mean(c, 0), seen.coordinates),
            jax.tree.map(lambda c: jnp.var(c, 0), seen.coordinates),
            jax.tree.map(lambda v: jnp.mean(v, 0), seen.local_variance),
        )
        mirror = mirror.adapted(moments, jnp.asarray(0.7, dtype))
    return mirror, points, jnp.asarray(rng.normal(size=64), dtype)


def _like(tree: Any, noise: jax.Array) -> Any:
    """A tree of this structure, filled from the noise."""
    zeros, unravel = ravel_pytree(tree)
    return unravel(noise[: zeros.size])


def _mapped(function: Callable) -> Callable:
    """Over the points, which come last, and compiled once for each structure of the map."""

    def run(mirror, *arguments):
        *shared, points = arguments
        return jax.vmap(lambda x: function(mirror, *shared, x))(points)

    return jax.jit(run)


@_mapped
def _observe_mapped(mirror, x):
    return mirror.observe(x)


@jax.jit
def _approach(mirror, tangent, directions, points):
    """Points at distance EDGE from the boundary, straight ahead from the first few."""

    def one(direction, x):
        vector, unravel = ravel_pytree(x)
        step = direction @ tangent

        def slack(t):
            return mirror.slack(unravel(vector + t * step))

        ahead = jnp.where(jax.grad(slack)(0.0) > 0, -1.0, 1.0)
        beyond = jax.lax.while_loop(lambda s: s[1] > 0, lambda s: (2 * s[0], slack(2 * s[0])),
                                    (ahead * 1e-3, slack(ahead * 1e-3)))[0]

        def halve(_, ends):
            inner, outer = ends
            middle = 0.5 * (inner + outer)
            inside = slack(middle) > EDGE
            return jnp.where(inside, middle, inner), jnp.where(inside, outer, middle)

        inner, _ = jax.lax.fori_loop(0, 100, halve, (jnp.zeros_like(beyond), beyond))
        return unravel(vector + inner * step)

    return jax.vmap(one)(directions, jax.tree.map(lambda leaf: leaf[:EDGES], points))


@_mapped
def _laws(mirror, tangent, unit, noise, directions, x):
    vector, unravel = ravel_pytree(x)
    k = len(tangent)

    def event(t):
        return unravel(vector + t @ tangent)

    def on_tangent(dual):
        return tangent @ flat(dual)

    origin = jnp.zeros(k, vector.dtype)
    gradient = jax.grad(lambda t: mirror.potential(event(t)))(origin)
    hessian = jax.hessian(lambda t: mirror.potential(event(t)))(origin)
    factor = jnp.linalg.cholesky(hessian)

    def white(columns):
        return solve_triangular(factor, columns, lower=True)

    def congruent(matrix):
        return white(white(matrix).T).T

    metric = mirror.metric(x)
    noise_shape = ravel_pytree(mirror.noise_like(x))[1]
    units = jax.vmap(lambda t: unravel(t @ tangent))(jnp.eye(k))
    applied = jax.vmap(metric.apply)(units)
    kicks = jax.vmap(lambda e: metric.sqrt(noise_shape(e)))(jnp.eye(unit.size))
    dual = unravel(noise[: vector.size])
    solved = flat(metric.solve(dual))

    y = mirror.grad(x)
    # A direction that no tangent vector sees; the size is that of the dual point.
    invisible = noise[: vector.size] - (tangent @ noise[: vector.size]) @ tangent
    size = jnp.max(jnp.abs(flat(y)))
    shifted = unravel(flat(y) + size * invisible)
    start = unravel(vector + 0.0)
    local = white(on_tangent(dual))
    kicked = unravel(flat(y) + jnp.sqrt(jnp.sum(local**2)) ** -1 * flat(dual))
    moved = mirror.conjugate_grad(kicked, start)

    observation = mirror.observe(x)
    jacobian = jax.jacfwd(lambda t: flat(mirror.observe(event(t)).coordinates))(origin)

    def along(direction):
        direction = jax.scipy.linalg.solve_triangular(factor.T, direction)

        def third(t):
            return mirror.potential(event(t * direction))

        d2 = jax.grad(jax.grad(third))
        return jnp.abs(jax.grad(d2)(0.0)) / (2 * d2(0.0) ** 1.5)

    return {
        "slack": mirror.slack(x),
        "gradient": white(on_tangent(y) - gradient) / (1 + jnp.linalg.norm(white(gradient))),
        "apply": congruent(jax.vmap(on_tangent)(applied).T),
        "sqrt": congruent(jax.vmap(on_tangent)(kicks).T @ jax.vmap(on_tangent)(kicks)),
        "solve of apply": factor.T @ (jax.vmap(lambda u: tangent @ flat(metric.solve(u)))(applied).T)
        @ jnp.linalg.inv(factor.T),
        "solve": (factor.T @ (tangent @ solved), local),
        "solve, off the tangent space": (solved - (tangent @ solved) @ tangent)
        / jnp.max(jnp.abs(solved)),
        "inverse norm": (metric.inverse_norm_sq(dual), jnp.sum(local**2)),
        "log det": metric.log_det() - 2 * jnp.sum(jnp.log(jnp.diagonal(factor))),
        "round trip": factor.T @ (tangent @ (flat(mirror.conjugate_grad(y, start)) - vector)),
        "class": factor.T @ (tangent @ (flat(mirror.conjugate_grad(shifted, start)) - vector)),
        "dual round trip": white(on_tangent(mirror.grad(moved)) - on_tangent(kicked))
        / (1 + jnp.linalg.norm(white(gradient))),
        "moved, off the tangent space": flat(moved) - vector
        - (tangent @ (flat(moved) - vector)) @ tangent,
        "local variance": (
            flat(observation.local_variance),
            jnp.sum(white(jacobian.T) ** 2, axis=0),
        ),
        "concordance": jax.vmap(along)(directions),
        "stated": jnp.asarray(mirror.self_concordance),
    }


def _methods(mirror, x, noise):
    metric = mirror.metric(x)
    kick = metric.sqrt(noise)
    y = mirror.grad(x)
    observation = mirror.observe(x)
    kicked = jax.tree.map(lambda a, b: a + jnp.asarray(0.3, a.dtype) * b, y, kick)
    return {
        "potential": mirror.potential(x),
        "slack": mirror.slack(x),
        "grad": y,
        "round trip": mirror.conjugate_grad(y, x),
        "conjugate_grad": mirror.conjugate_grad(kicked, x),
        "sqrt": kick,
        "apply": metric.apply(x),
        "solve": metric.solve(kick),
        "inverse_norm_sq": metric.inverse_norm_sq(kick),
        "log_det": metric.log_det(),
        "coordinates": observation.coordinates,
        "local_variance": observation.local_variance,
    }


_every_method = jax.jit(_methods)


@_mapped
def _every_method_mapped(mirror, noise, x):
    return _methods(mirror, x, _like(mirror.noise_like(x), noise))


@functools.cache
def extremes(name: str, x64: bool) -> dict[str, np.ndarray]:
    """Primal points of dual points of size `reach`, from an ordinary start, and back again."""
    case = BY_NAME[name]
    dtype = jnp.float64 if x64 else jnp.float32
    with jax.enable_x64(x64):
        mirror, points, _ = _problem(case, True, dtype)
        start = point(points, 0)
        signs = np.sign(np.random.default_rng(3).normal(size=(FAR, flat(start).size)))
        ys = jnp.asarray(case.reach * signs, dtype)
        return jax.tree.map(np.asarray, _far_mapped(mirror, case.tangent.astype(dtype), start, ys))


@_mapped
def _far_mapped(mirror, tangent, start, y):
    vector, unravel = ravel_pytree(start)
    x = mirror.conjugate_grad(unravel(y), start)
    back = tangent @ flat(mirror.grad(x))
    return {
        "x": flat(x),
        "slack": mirror.slack(x),
        "error": jnp.max(jnp.abs(back - tangent @ y)) / jnp.max(jnp.abs(y)),
    }
