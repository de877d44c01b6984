"""How many components a mixing measure has in effect."""

from __future__ import annotations

import jax.numpy as jnp
from jax.nn import logsumexp
from jaxtyping import Array, Float


def effective_components(
    log_densities: Float[Array, "m n"],
    log_weights: Float[Array, " m"],
    *,
    counts: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    r"""The number of components of a mixture that can be told apart by one datum.

        1 / sum_jk w_j w_k c_jk,   c_jk = int sqrt(k_j k_k) dz,

    the diversity of order two of components that are alike by c (Leinster and Cobbold 2012): m for
    m equal ones without overlap, 1 / sum w^2 for unequal ones, 1 where all are the same, however
    many atoms the measure has. The sum is an average over data from the mixture p = sum w_j k_j,

        sum_jk w_j w_k c_jk = E_p (sum_j w_j sqrt(k_j(z)))^2 / p(z),

    and is read from the data that p was fitted to.

    log_densities: log k_j(z_i) of each atom and datum. log_weights: log w_j, of weights that sum to
    one. counts: how often each datum occurs; None: once. Can be traced, and mapped over measures.

        >>> import jax.numpy as jnp
        >>> z, theta = jnp.array([-9.0, -8.0, 8.0, 9.0]), jnp.array([-8.5, -8.5, 8.5, 8.5])
        >>> log_k = -0.5 * (theta[:, None] - z) ** 2
        >>> print(f"{effective_components(log_k, jnp.log(jnp.full(4, 0.25))):.2f}")
        2.00
    """
    log_w = log_weights[:, None]
    halves = 2 * logsumexp(log_w + log_densities / 2, axis=0)
    overlap = jnp.exp(halves - logsumexp(log_w + log_densities, axis=0))
    return 1 / jnp.average(overlap, weights=counts)
