"""How much of a measure lies at the boundary of its support, and which particles do not move."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def boundary_fraction(slack: Float[Array, "*batch n"], eps: float) -> Float[Array, "*batch"]:
    """The share of n particles whose slack is at most `eps`: (1/n) sum_i 1[slack_i <= eps].

    slack: of each particle, as `MirrorMap.slack` gives it, in the units of the coordinates; a NaN
      counts as on the boundary.
    eps: 0 counts particles on the boundary or outside.

        >>> import jax.numpy as jnp
        >>> print(boundary_fraction(jnp.array([0.0, 0.02, 0.3, 0.4]), 0.05))
        0.5

    Raises ValueError for a negative eps."""
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    return jnp.mean(~(jnp.asarray(slack) > eps), axis=-1)


def stuck_particles(
    draws: Float[np.ndarray, "draw n d"],
) -> Bool[np.ndarray, " n"]:
    """Which particles are at the same point in every one of consecutive draws.

    With acceptance a this happens by chance with probability (1 - a)^(draws - 1): take enough.

        >>> import numpy as np
        >>> print(stuck_particles(np.array([[[0.1], [0.5]], [[0.2], [0.5]]])))
        [False  True]
    """
    draws = np.asarray(draws)
    return np.all(draws == draws[:1], axis=(0, 2))
