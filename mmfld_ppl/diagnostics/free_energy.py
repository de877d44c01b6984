"""The objective that a mean-field run minimises, at a cloud of particles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .entropy import NEIGHBOURS, surprise
from .estimate import clustered_mean


class FreeEnergy(NamedTuple):
    """value: F(mu) + temperature * divergence. error: its standard error. divergence: the
    estimate of KL(mu | base), in nats."""

    value: float
    error: float
    divergence: float


def free_energy(
    objective: float,
    temperature: float,
    points: Float[np.ndarray, "n d"],
    log_base: Float[np.ndarray, " n"],
    *,
    neighbours: int = NEIGHBOURS,
) -> FreeEnergy:
    r"""L(mu) = F(mu) + tau KL(mu | base) of the law that n particles are a sample of.

        KL(mu | base) = E_mu log base^-1 - H(mu),

    H by nearest neighbours (`entropy`): with n particles the standard error is about
    tau sqrt((d/2 + 1/k) / n), and the bias that of the entropy, about one standard error for
    smooth laws in three dimensions and above it beyond. So L moves along a run by far more than it
    is wrong by at the end, and the last digits of it are noise.

    objective: F at the particles. points: their free coordinates (`unconstrained`).
    log_base: log density of the base measure in these coordinates, that is the log density of the
      values plus log |det dx/dz|.
    """
    terms = -np.asarray(log_base, float) - surprise(points, neighbours=neighbours)
    divergence = clustered_mean(terms)
    return FreeEnergy(
        float(objective) + temperature * divergence.value,
        temperature * divergence.error,
        divergence.value,
    )
