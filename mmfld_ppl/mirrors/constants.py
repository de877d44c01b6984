"""Constants of a map, and of a potential beside it, at one point: what convergence theory asks of
them. Maximise over points for those of a set, and let points approach its boundary to see which are
finite at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..linalg import inner, matmul
from .base import Event, MirrorMap, Scalar
from .metric import Metric

#: What rounding may leave of a sum that is zero, in units of the last place: one was seen.
ROUNDINGS = 16


class MapConstants(NamedTuple):
    """concordance: the greatest |D^3 phi[u,u,u]| / (2 (D^2 phi[u,u])^(3/2)) seen, c_1 of assumption
    7 of Gu and Kim 2025. convexity: the least D^2 phi[u,u] / |u|^2, c_2 of the same."""

    concordance: Float[Array, ""]
    convexity: Float[Array, ""]


class RelativeConstants(NamedTuple):
    """slope: |grad V| in the norm of G^-1. curvature: the greatest |D^2 V[u,u]| / D^2 phi[u,u]."""

    slope: Float[Array, ""]
    curvature: Float[Array, ""]


def map_constants(
    mirror: MirrorMap, x: Event, key: PRNGKeyArray, *, directions: int = 100
) -> MapConstants:
    """Those of the map at an interior point x.

    The first is over random directions, even on the unit sphere of the metric, and the one straight
    to the boundary: a lower bound, since it is seen in these directions only. The second is exact,
    on the tangent space, in 1 / (units of x)^2. NaN where one of them is not known, see
    `self_concordance_ratio`. Cost: a Hessian and `directions` derivatives of it.

    x: one event, inside; outside the numbers mean nothing. key: of the directions. directions: how
      many of them.

        >>> import jax, jax.numpy as jnp
        >>> from mmfld_ppl.mirrors import EntropyOrthant
        >>> entropy = EntropyOrthant()
        >>> found = map_constants(entropy, jnp.array(1e-4), jax.random.key(0))
        >>> print(f"{found.concordance:.0f} {found.convexity:.0f}")
        50 10000
    """
    metric = mirror.metric(x)
    _, unravel = ravel_pytree(x)
    frame = jax.vmap(lambda b: ravel_pytree(b)[0])(local_frame(mirror, metric, x))
    random = jax.random.normal(key, (directions, len(frame)), frame.dtype)
    tangents = jax.vmap(unravel)(matmul(random, frame))
    ratios = jax.vmap(lambda u: self_concordance_ratio(mirror, x, u))(tangents)
    slope = jax.grad(mirror.slack)(x)
    across, steep = metric.solve(slope), ravel_pytree(slope)[0]
    # Where there is no boundary, and where all of it is as near but for rounding, there is no way
    # to it; one in its place keeps the ratio a number.
    least, most = matmul(frame, steep), matmul(jnp.abs(frame), jnp.abs(steep))
    rounding = ROUNDINGS * jnp.finfo(frame.dtype).eps * jnp.linalg.norm(most)
    nowhere = jnp.linalg.norm(least) <= rounding
    safe = jax.tree.map(lambda a, t: jnp.where(nowhere, t[0], a), across, tangents)
    along = jnp.where(nowhere, 0, self_concordance_ratio(mirror, x, safe))
    found = jnp.maximum(jnp.max(ratios), along)
    return MapConstants(found, 1 / jnp.linalg.eigvalsh(matmul(frame, frame.T))[-1])


def self_concordance_ratio(mirror: MirrorMap, x: Event, u: PyTree) -> Scalar:
    """|D^3 phi(x)[u,u,u]| / (2 (D^2 phi(x)[u,u])^(3/2)) for a tangent vector u of any length.

    At most `mirror.self_concordance` wherever x and u are, as the class states it. x: one event,
    inside. u: shaped like x, not zero.

    NaN under the von Neumann maps where eigenvalues of x are equal: their gradient is by way of the
    eigenvectors, which have no derivative there."""
    length = jnp.sqrt(inner(u, mirror.metric(x).apply(u)))
    unit = jax.tree.map(lambda v: v / length, u)

    def bend(z: Event) -> PyTree:
        # Of the gradient, not of the metric, which may be factored by eigenvectors.
        return jax.jvp(mirror.grad, (z,), (unit,))[1]

    return 0.5 * jnp.abs(inner(unit, jax.jvp(bend, (x,), (unit,))[1]))


def relative_constants(
    mirror: MirrorMap, potential: Callable[[Event], Scalar], x: Event
) -> RelativeConstants:
    """Those of a potential V at an interior point x: how steep and how curved V is in units of the
    metric there. V is relatively Lipschitz, or smooth, where they are bounded over the set
    (assumption 5 of Gu and Kim 2025).

    potential: V of one event, twice differentiable. x: one event, inside. Cost: a product with the
      Hessian of V for each number of the noise.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.mirrors import LogBarrier
        >>> found = relative_constants(LogBarrier(), lambda x: -2 * jnp.log(x), jnp.array(1e-3))
        >>> print(f"{found.slope:.2f} {found.curvature:.2f}")
        2.00 2.00
    """
    metric = mirror.metric(x)
    slope = jnp.sqrt(metric.inverse_norm_sq(jax.grad(potential)(x)))
    frame = local_frame(mirror, metric, x)

    def bend(u: PyTree) -> PyTree:
        return jax.jvp(jax.grad(potential), (x,), (u,))[1]

    bent = jax.vmap(bend)(frame)
    pairs = jax.vmap(lambda b: jax.vmap(lambda c: inner(b, c))(bent))(frame)
    return RelativeConstants(slope, jnp.max(jnp.abs(jnp.linalg.eigvalsh(0.5 * (pairs + pairs.T)))))


def local_frame(mirror: MirrorMap, metric: Metric, x: Event) -> PyTree:
    """Tangent vectors b_i, stacked, with sum_i b_i b_i^T = G^-1: images of the units of noise."""
    zeros, unravel = ravel_pytree(mirror.noise_like(x))
    units = jnp.eye(zeros.size, dtype=zeros.dtype)
    return jax.vmap(lambda e: metric.solve(metric.sqrt(unravel(e))))(units)
