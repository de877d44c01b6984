"""Whether chains agree, where there are many short ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def nested_r_hat(draws: Float[np.ndarray, "superchain chain draw"]) -> float:
    r"""Nested R-hat (Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari and Gelman 2024).

        sqrt(1 + B / W),

    B the variance of the K superchain means, W the mean over superchains of the variance between
    the means of their M chains plus the variance within a chain of T draws (0 where T = 1). The
    chains of a superchain start at one point; it tells whether that start has been forgotten, also
    by chains of a single draw, for which the ordinary R-hat is not defined. Of stationary
    independent chains about sqrt(1 + 1/M), or less where T > 1: judge it against that.

    A replicate of a whole particle system is a chain. Particles are not: they interact.
    Raises ValueError with fewer than two superchains, or one chain of one draw in each."""
    x = np.asarray(draws, float)
    if x.ndim != 3 or x.shape[0] < 2 or x.shape[1] * x.shape[2] < 2:
        raise ValueError(
            "nested R-hat needs draws of shape (superchain, chain, draw) with two superchains or "
            f"more, and two draws or more in each, got {x.shape}"
        )
    _, m, t = x.shape
    chain_means = x.mean(axis=2)
    between = np.var(chain_means.mean(axis=1), ddof=1)
    within = 0.0
    if m > 1:
        within = within + np.var(chain_means, axis=1, ddof=1)
    if t > 1:
        within = within + np.var(x, axis=2, ddof=1).mean(axis=1)
    return float(np.sqrt(1 + between / np.mean(within)))
