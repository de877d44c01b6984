"""Coordinates without a boundary, in which densities are estimated."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc

from ..constraints.by_type import base_of


def unconstrained(
    support: nc.Constraint, x: Float[Array, "..."]
) -> tuple[Float[Array, " k"], Float[Array, ""]]:
    """Free coordinates z of a value, and log |det dx/dz|.

    With p the density of x in NumPyro's sense, that of z is p(x) |det dx/dz|. So the number of
    coordinates and the unit of volume are those of NumPyro's own densities: d - 1 numbers on the
    simplex, with respect to Lebesgue measure on all entries but the last; n(n+1)/2 - 1 on the
    spectraplex, on the lower triangle without its last diagonal entry; n(n+1)/2 on positive
    definite matrices. There is no boundary in z, at which a nearest-neighbour estimate would be
    biased.

    support: constraint of the value; leading axes of the value beyond its event are independent
    copies. On the simplex z_i = log(x_i / x_d); elsewhere the inverse of `biject_to(support)`.

        >>> z, log_det = unconstrained(nc.simplex, jnp.array([0.25, 0.25, 0.5]))
        >>> print(z.shape, f"{log_det:.3f}", f"{jnp.log(0.25 * 0.25 * 0.5):.3f}")
        (2,) -3.466 -3.466
    """
    base = base_of(support)
    if base is nc.simplex:
        logs = jnp.log(x)
        return (logs[..., :-1] - logs[..., -1:]).reshape(-1), jnp.sum(logs)
    transform = biject_to(base)
    z = transform.inv(x)
    return z.reshape(-1), jnp.sum(transform.log_abs_det_jacobian(z, x))
