"""Entropic Wasserstein barycenters of measures on a box."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals import SinkhornBarycenter


def barycenter(
    targets: Sequence[mm.Measure],
    *,
    particles: int = 200,
    epsilon: float = 0.01,
    temperature: float = 0.002,
    weights: Float[Array, " k"] | None = None,
    debiased: bool = False,
    low: Sequence[float] | Array = (0.0, 0.0),
    high: Sequence[float] | Array = (1.0, 1.0),
) -> None:
    r"""The (epsilon, tau) doubly regularised barycenter (Chizat 2023).

        min over mu of  sum_k weights[k] OT_epsilon(mu, targets[k]) + tau KL(mu | uniform)

    targets: measures on the box [low, high], of any sizes. particles: atoms of mu. epsilon,
    temperature: both in units of squared distance; epsilon blurs the transport, temperature
    spreads the measure, by about sqrt(tau / 2) in each direction. weights: of the targets, equal by
    default. debiased: subtract OT_epsilon(mu, mu) / 2, which takes the blur out again.

    Sites: `x`, the particles, shape (particles, d)."""
    with mm.particles("atom", particles):
        x = numpyro.sample("x", mm.distributions.UniformBox(jnp.asarray(low), jnp.asarray(high)))
    loss = SinkhornBarycenter(targets, weights, epsilon=epsilon, debiased=debiased)
    mm.objective("loss", loss, x, temperature=temperature)
