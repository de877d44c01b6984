"""From the coordinates that the dynamics move to the values that the model sees.

Most sites have a support of their own and a mirror map on it: the coordinate is the value. A
support that depends on other latent variables is an affine image of a fixed one, and its fixed
preimage is moved; an angle runs on a line that is wrapped round its circle; whatever else is left
runs in NumPyro's unconstrained chart.
"""

from __future__ import annotations

import enum
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc

from .. import constraints as mc
from ..constraints.by_type import base_of

Angle = TypeVar("Angle", Array, np.ndarray)


class Chart(enum.Enum):
    """How a coordinate t becomes a value x."""

    #: x = t, on a support with a mirror map.
    MIRROR = "mirror map"
    #: x = loc + scale * t, where loc and scale may depend on other latent variables.
    AFFINE = "affine image"
    #: x = biject_to(support)(t), t unconstrained.
    BIJECTION = "unconstrained chart"
    #: x = t up to whole turns, on a circle: a chart with ends would cut it there.
    WRAPPED = "wrapped line"


def reference(constraint: nc.Constraint) -> nc.Constraint | None:
    """The fixed support of which this one is an affine image; None where there is none."""
    base = base_of(constraint)
    if isinstance(base, nc.interval) and base is not nc.circular:
        fixed = nc.unit_interval
    elif isinstance(base, nc.greater_than | nc.less_than):
        fixed = nc.positive
    elif isinstance(base, mc.ball):
        fixed = mc.ball(1.0)
    else:
        return None
    event = constraint.event_dim - base.event_dim
    return nc.independent(fixed, event) if event else fixed


def _placement(constraint: nc.Constraint) -> tuple[Any, Any]:
    """(loc, scale) with support = loc + scale * reference(support)."""
    base = base_of(constraint)
    if isinstance(base, nc.interval):
        return base.lower_bound, base.upper_bound - base.lower_bound
    if isinstance(base, nc.greater_than):
        return base.lower_bound, jnp.ones_like(base.lower_bound)
    if isinstance(base, nc.less_than):
        return base.upper_bound, -jnp.ones_like(base.upper_bound)
    radius = jnp.asarray(base.radius)[..., None]
    return jnp.zeros_like(radius), radius


def value_of(
    chart: Chart, support: nc.Constraint, event_dim: int, t: Array
) -> tuple[Array, Array | None]:
    """(x, log |det dx/dt| over its last `event_dim` axes); None where the determinant is one."""
    if chart is Chart.MIRROR:
        return t, None
    if chart is Chart.WRAPPED:
        return wrapped(t), None
    if chart is Chart.AFFINE:
        loc, scale = _placement(support)
        log_det = jnp.broadcast_to(jnp.log(jnp.abs(scale)), jnp.shape(t))
        x = loc + scale * t
    else:
        transform = biject_to(support)
        x = transform(t)
        log_det = transform.log_abs_det_jacobian(t, x)
    surplus = jnp.ndim(log_det) - (jnp.ndim(x) - event_dim)
    return x, jnp.sum(log_det, axis=tuple(range(-surplus, 0)))


def wrapped(t: Angle) -> Angle:
    """The angle in [-pi, pi) that differs from t by whole turns; of JAX or NumPy, as t is."""
    return (t + jnp.pi) % (2 * jnp.pi) - jnp.pi


def coordinate_of(chart: Chart, support: nc.Constraint, x: Array) -> Array:
    """The t of which x is the value."""
    if chart in (Chart.MIRROR, Chart.WRAPPED):
        return x
    if chart is Chart.AFFINE:
        loc, scale = _placement(support)
        return jnp.broadcast_to((x - loc) / scale, jnp.shape(x))
    return biject_to(support).inv(x)


def leaves_of(constraint: nc.Constraint) -> list[Array]:
    """The parameters of a constraint, as arrays."""
    return [jnp.asarray(leaf) for leaf in jax.tree.leaves(constraint)]
