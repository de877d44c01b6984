"""What the laws compare, computed once for each map and kept.

Closed forms are compared with automatic differentiation of the potential along the tangent
space, in the local norm: a matrix M that should be the Hessian H = L L^T gives L^-1 M L^-T, which
should be the identity, however badly scaled the point.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from mmfld_ppl.mirrors import Independent, MirrorMap, Moments
from tests.mirrors.cases import CASES, Case
from tests.mirrors.spaces import COUNT

EDGE = 1e-6  # distance from the boundary of the extreme points
EDGES = 4  # how many of them follow the COUNT interior points
DIRECTIONS = 20

BY_NAME = {case.name: case for case in CASES}

# Every function runs once or twice: what optimisation saves in running it loses in compiling.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def flat(tree: Any) -> jax.Array:
    return ravel_pytree(tree)[0]


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@functools.cache
def measured(name: str, adapted: bool) -> dict[str, Any]:
    """In float64: `laws` at COUNT interior points, then at EDGES points close to the boundary."""
    case = BY_NAME[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(len(name))
        points = cast(case.points(rng), jnp.float64)
        mirror = _map(case, adapted, jnp.float64)
        directions = rng.normal(size=(DIRECTIONS, len(case.tangent)))
        if case.bounded:
            edges = _approach(mirror, points, directions[:EDGES] @ case.tangent)
            points = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), points, edges)
        count = len(jax.tree.leaves(points)[0])
        noise, far = _noises(case, count)
        return jax.tree.map(np.asarray, _laws(mirror, case.tangent, directions, noise, far, points))


@functools.cache
def single_precision(name: str) -> dict[str, Any]:
    """In float32, although x64 is on: `methods` of `Independent` copies of the adapted map."""
    case = BY_NAME[name]
    with jax.enable_x64(True):
        points = cast(case.points(np.random.default_rng(len(name))), jnp.float32)
        stacked = Independent.of(_map(case, True, jnp.float32), (COUNT,))
        noise, far = cast(_noises(case, COUNT), jnp.float32)
        return _methods_of_stack(stacked, noise, far, points)


def _map(case: Case, adapted: bool, dtype: Any) -> MirrorMap:
    mirror = case.build(dtype).adaptable(dtype)
    if adapted:
        seen = measured(case.name, False)["methods"]
        coordinates, local = (
            jax.tree.map(lambda leaf: leaf[:COUNT], seen[key])
            for key in ("coordinates", "local variance")
        )
        moments = Moments(
            jax.tree.map(lambda c: np.mean(c, 0), coordinates),
            jax.tree.map(lambda c: np.var(c, 0), coordinates),
            jax.tree.map(lambda v: np.mean(v, 0), local),
        )
        adapt = compiled(lambda mirror, moments: mirror.adapted(moments, jnp.ones((), dtype)))
        mirror = adapt(mirror, cast(moments, dtype))
    return mirror


def _noises(case: Case, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each point: normals, of which a map takes as many as it needs, and a far dual point."""
    noise, far = np.random.default_rng(17).normal(size=(2, COUNT + EDGES, 32))
    return noise[:count], case.reach * np.sign(far[:count])


def _approach(mirror: MirrorMap, points: Any, steps: np.ndarray) -> Any:
    """Points at distance EDGE from the boundary, straight ahead of the first few."""
    flattened, unravel = jax.vmap(flat)(points)[:EDGES], _unravel(points)
    slack = jax.jit(jax.vmap(lambda x: mirror.slack(unravel(x))))

    def at(t: np.ndarray) -> np.ndarray:
        return np.asarray(slack(flattened + t[:, None] * steps))

    t = np.where(at(np.full(EDGES, 1e-4)) < at(np.full(EDGES, -1e-4)), 1e-4, -1e-4)
    while np.any(ahead := at(t) > 0):
        t = np.where(ahead, 2 * t, t)
    inner, outer = np.zeros(EDGES), t
    for _ in range(90):
        middle = 0.5 * (inner + outer)
        inside = at(middle) > EDGE
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    return jax.vmap(unravel)(flattened + inner[:, None] * steps)


def _unravel(points: Any) -> Callable:
    return ravel_pytree(jax.tree.map(lambda leaf: leaf[0], points))[1]


def _like(tree: Any, values: jax.Array) -> Any:
    """A tree of this structure, filled from a vector."""
    vector, unravel = ravel_pytree(tree)
    return unravel(values[: vector.size])


def _laws_of_one(mirror, tangent, directions, noise, far, x):
    vector, unravel = ravel_pytree(x)
    k, size = tangent.shape
    origin = jnp.zeros(k, vector.dtype)

    def event(t):
        return unravel(vector + t @ tangent)

    def potential(t):
        return mirror.potential(event(t))

    gradient = jax.grad(potential)(origin)
    factor = jnp.linalg.cholesky(jax.jacfwd(jax.grad(potential))(origin))
    inverse_factor = solve_triangular(factor, jnp.eye(k), lower=True)

    # Tangent vectors: the basis. Dual vectors: their images, and one at random.
    metric = mirror.metric(x)
    applied = jax.vmap(lambda u: flat(metric.apply(unravel(u))))(tangent)
    dual = noise[:size]
    solved = jax.vmap(lambda v: flat(metric.solve(unravel(v))))(jnp.stack([*applied, dual]))
    zeros = mirror.noise_like(x)
    kicks = jax.vmap(lambda e: flat(metric.sqrt(_like(zeros, e))))(jnp.eye(flat(zeros).size))

    # Dual points: y plus what no tangent vector sees, and half a unit of the local norm away.
    y = flat(mirror.grad(x))
    local = inverse_factor @ (tangent @ dual)
    invisible = dual - (tangent @ dual) @ tangent
    kicked = y + 0.5 / jnp.linalg.norm(local) * dual
    extra = (unravel(y + jnp.max(jnp.abs(y)) * invisible), unravel(kicked))

    seen = methods(mirror, _like(zeros, noise), _like(x, far), x, extra)
    reached = jax.vmap(flat)(seen["conjugate_grad"])
    back = jax.vmap(lambda x: flat(mirror.grad(unravel(x))))(reached)
    moved = (reached - vector) @ tangent.T

    slack, slope = jax.value_and_grad(lambda t: mirror.slack(event(t)))(origin)
    # Straight to the nearest boundary, if there is one.
    outward = jnp.where(jnp.isfinite(slack), inverse_factor @ slope, 1)
    coordinates = jax.jacfwd(lambda t: flat(mirror.observe(event(t)).coordinates))(origin)
    pulled = flat(mirror.pull_slope(x, unravel(dual)))

    def third_derivative_ratio(direction):
        unit = inverse_factor.T @ direction

        def derivative(function):
            return lambda t: jax.jvp(function, (t,), (jnp.ones_like(t),))[1]

        second = derivative(derivative(lambda t: potential(t * unit)))
        zero = jnp.zeros((), vector.dtype)
        return jnp.abs(derivative(second)(zero)) / (2 * second(zero) ** 1.5)

    return {
        "methods": seen,
        "slack": slack,
        "hessian": factor @ factor.T,
        "gradient": inverse_factor @ (tangent @ y - gradient),
        "gradient norm": jnp.linalg.norm(inverse_factor @ gradient),
        "apply": inverse_factor @ (applied @ tangent.T) @ inverse_factor.T,
        "sqrt": inverse_factor @ tangent @ kicks.T @ kicks @ tangent.T @ inverse_factor.T,
        "solve of apply": (factor.T @ (tangent @ solved[:-1].T), factor.T),
        "solve": (factor.T @ (tangent @ solved[-1]), local),
        "solve, normal part": solved - solved @ tangent.T @ tangent,
        "inverse norm": (metric.inverse_norm_sq(unravel(dual)), jnp.sum(local**2)),
        "log det": metric.log_det() - 2 * jnp.sum(jnp.log(jnp.diagonal(factor))),
        "round trip": moved[0] @ factor,
        "class": moved[3] @ factor,
        "dual round trip": inverse_factor @ (tangent @ (back[4] - kicked)),
        "normal part": (reached - vector - moved @ tangent)
        / jnp.max(jnp.abs(reached), axis=1, keepdims=True),
        "far slack": mirror.slack(unravel(reached[2])),
        "far round trip": tangent @ (back[2] - far[:size]),
        "local variance": (
            flat(seen["local variance"]),
            jnp.sum((coordinates @ inverse_factor.T) ** 2, axis=1),
        ),
        "pulled slope": (inverse_factor @ (coordinates.T @ pulled), local),
        "third derivative": jax.vmap(third_derivative_ratio)(
            jnp.stack([*directions, *jnp.eye(k), outward])
        ),
        "stated constant": mirror.self_concordance * jnp.ones(()),
    }


def methods(mirror, noise, far, x, extra=()):
    """Every method of a map. The conjugate is taken of the dual point of x, of that plus a noise,
    of a far dual point, and of the extra ones."""
    metric = mirror.metric(x)
    y = mirror.grad(x)
    kick = metric.sqrt(noise)
    duals = (y, jax.tree.map(lambda a, b: a + 0.3 * b, y, kick), far, *extra)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *duals)
    observation = mirror.observe(x)
    return {
        "potential": mirror.potential(x),
        "slack": mirror.slack(x),
        "grad": y,
        "conjugate_grad": jax.vmap(lambda y: mirror.conjugate_grad(y, x))(stacked),
        "sqrt": kick,
        "apply": metric.apply(x),
        "solve": metric.solve(kick),
        "inverse_norm_sq": metric.inverse_norm_sq(kick),
        "log_det": metric.log_det(),
        "coordinates": observation.coordinates,
        "local variance": observation.local_variance,
    }


@compiled
def _laws(mirror, tangent, directions, noise, far, points):
    def one(noise, far, x):
        return _laws_of_one(mirror, tangent, directions, noise, far, x)

    return jax.vmap(one)(noise, far, points)


@compiled
def _methods_of_stack(stacked, noise, far, points):
    noise = jax.vmap(_like)(stacked.noise_like(points), noise)
    return methods(stacked, noise, jax.vmap(_like)(points, far), points)
