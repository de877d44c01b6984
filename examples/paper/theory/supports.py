"""The maps whose constants are measured, and points of their sets near the boundary."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc

from mmfld_ppl import constraints as convex
from mmfld_ppl import mirrors

PRISM = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 2.0]]), np.array([0.0, 0.0, 2.0])


def default(constraint: nc.Constraint, *shape: int) -> tuple[mirrors.MirrorMap, Any]:
    """The map that the registry gives and a point in the middle."""
    bijection = biject_to(constraint)
    middle = bijection(jnp.zeros(bijection.inverse_shape(shape)))
    mirror = mirrors.mirror_map(constraint, shape, middle.dtype)
    if mirror is None:
        raise ValueError(f"{constraint} has no mirror map")
    return mirror, middle


def all_maps() -> dict[str, tuple[mirrors.MirrorMap, Any]]:
    """By name, a map and a point in the middle of its set. Call it in double precision."""
    third = jnp.full(3, 1 / 3)
    matrix = jnp.diag(jnp.array([0.5, 0.3, 0.2]))
    return {
        "Euclidean": default(nc.real),
        "HalfLine": default(nc.positive),
        "Interval": default(nc.unit_interval),
        "Simplex": default(nc.simplex, 3),
        "Ball": default(convex.ball(1.0), 3),
        "Polytope": default(convex.polytope(*PRISM), 2),
        "OrderedVector": default(nc.ordered_vector, 3),
        "PositiveDefinite": default(nc.positive_definite, 3, 3),
        "Spectraplex": (mirrors.Spectraplex(), matrix),
        "CorrelationMatrix": default(nc.corr_matrix, 3, 3),
        "LogBarrier": (mirrors.LogBarrier(), jnp.array(1.0)),
        "EntropyOrthant": (mirrors.EntropyOrthant(), jnp.array(1.0)),
        "EntropyInterval": (mirrors.EntropyInterval(), jnp.array(0.5)),
        "EntropySimplex": (mirrors.EntropySimplex(), third),
        "VonNeumannPSD": (mirrors.VonNeumannPSD(), matrix),
        "VonNeumannSpectraplex": (mirrors.VonNeumannSpectraplex(), matrix),
    }


def towards_boundary(
    mirror: mirrors.MirrorMap, middle: Any, distances: np.ndarray, count: int, seed: int
) -> Any:
    """Points in `count` random directions from the middle, stacked along two axes (distances,
    directions): those at which the slack is this many times what it is in the middle, or, where
    no boundary is met, one over it in units of the metric away."""
    metric = mirror.metric(middle)
    zeros, unravel_noise = ravel_pytree(mirror.noise_like(middle))
    noise = jax.random.normal(jax.random.key(seed), (count, zeros.size), zeros.dtype)
    flat, unravel = ravel_pytree(middle)

    def one(distance, xi):
        d = ravel_pytree(metric.solve(metric.sqrt(unravel_noise(xi))))[0]
        least = distance * mirror.slack(middle)

        def halve(_, ends):
            inner, outer = ends
            t = 0.5 * (inner + outer)
            inside = mirror.slack(unravel(flat + t * d)) > least
            return jnp.where(inside, t, inner), jnp.where(inside, outer, t)

        t, _ = jax.lax.fori_loop(0, 90, halve, (jnp.zeros(()), 1 / distance))
        return unravel(flat + t * d)

    along = jax.vmap(one, (None, 0))
    return jax.vmap(along, (0, None))(jnp.asarray(distances), noise)
