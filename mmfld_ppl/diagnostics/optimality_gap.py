"""How far a measure can be from the minimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from .entropy import NEIGHBOURS, surprise
from .estimate import Estimate, clustered_mean

#: Share of a sample that has to carry its weights, when it stands for another law.
LEAST_SHARE = 0.02


class Minorant(NamedTuple):
    """F linearised at a measure nu, as the gap of another measure mu sees it.

    excess: F(mu) - F(nu) - <dF(nu), mu - nu>; 0 for nu = mu, and positive for convex F.
    energies, reference_energies: W = dF(nu)/tau - log base at the points of mu and at those of the
    reference sample, minus the log of the density in their coordinates up to one constant."""

    excess: float
    energies: Float[np.ndarray, " n"]
    reference_energies: Float[np.ndarray, " m"]


def optimality_gap(
    points: Float[np.ndarray, "n d"],
    reference_points: Float[np.ndarray, "m d"],
    minorants: Sequence[Minorant],
    temperature: float,
    *,
    particles: Int[np.ndarray, " n"] | None = None,
    draws: Int[np.ndarray, " n"] | None = None,
    neighbours: int = NEIGHBOURS,
) -> Estimate:
    r"""An upper bound on L(mu) - L(mu*), for convex F: the least over the measures nu of

        [F(mu) - F(nu) - <dF(nu), mu - nu>] + tau KL(mu | nu_hat),

    nu_hat proportional to base exp(-dF(nu)/tau). For nu = mu this is tau KL(mu | mu_hat), the upper
    half of the entropy sandwich (Nitanda, Wu and Suzuki 2022; Chizat 2022; section 3 of Gu and Kim
    2025). It holds for any nu, since F lies above its tangents: L(mu*) >= F(nu) + min over rho of
    <dF(nu), rho - nu> + tau KL(rho | base), and the minimiser is nu_hat. At nu = mu* it is the gap
    itself. Between mu and mu_hat there is a nu that is nearly so: for |E x - q|^2 and a mean that
    is off, mu alone overestimates by 1 + 2 S / tau, S the variance, and that nu not at all.

    points: a sample of mu. minorants: at each nu. reference_points: a sample of the Gibbs density
      of the first of them, in the same coordinates, best of the same size; those of the others are
      seen by reweighting it, and left out where too few points carry it.
    particles, draws, neighbours, and what is returned: as for `relative_entropy`. NaN where the
    reference has atoms or no density, from which no bound follows.
    """
    own = surprise(points, neighbours=neighbours, labels=particles)
    if np.any(np.isneginf(own)):
        return Estimate(np.inf, np.nan)
    other, (first, *_) = surprise(reference_points, neighbours=neighbours), minorants
    if np.any(np.isneginf(other)):
        return Estimate(np.nan, np.nan)
    found = []
    for at in minorants:
        shift = np.asarray(first.reference_energies, float) - at.reference_energies
        weights = np.exp(shift - logsumexp(shift)) * len(shift)
        if np.mean(weights) ** 2 / np.mean(weights**2) < LEAST_SHARE:
            continue
        log_mass = logsumexp(shift) - np.log(len(shift))
        mu = clustered_mean(np.asarray(at.energies, float) - own, particles, draws)
        nu = clustered_mean(other - first.reference_energies + weights - 1)
        value = at.excess + temperature * (mu.value + nu.value + log_mass)
        found.append(Estimate(value, temperature * float(np.hypot(mu.error, nu.error))))
    return min(found)


def relative_entropy(
    points: Float[np.ndarray, "n d"],
    energies: Float[np.ndarray, " n"],
    reference_points: Float[np.ndarray, "m d"],
    reference_energies: Float[np.ndarray, " m"],
    *,
    particles: Int[np.ndarray, " n"] | None = None,
    draws: Int[np.ndarray, " n"] | None = None,
    neighbours: int = NEIGHBOURS,
) -> Estimate:
    r"""KL(mu | nu) in nats, for nu proportional to exp(-W) with an unknown constant.

        KL(mu | nu) = [H(nu) - E_nu W] - [H(mu) - E_mu W],

    the entropies by nearest neighbours: log Z = H(nu) - E_nu W takes the place of the normalising
    constant. With samples of one size the biases of the two entropies cancel as mu tends to nu,
    in any dimension. May come out slightly negative.

    points: a sample of mu, and reference_points one of nu, in the same coordinates; best of the
      same size. energies: W at each, up to one constant; -log density in these coordinates.
    particles, draws: which particle and which draw each point is: for the standard error, and
      because a particle is no neighbour of itself at another draw. Default: independent points.
    Plus infinity for a mu that has atoms, or no density in these coordinates; else NaN for such a
    sample of nu."""
    return optimality_gap(
        points,
        reference_points,
        [Minorant(0.0, energies, reference_energies)],
        1.0,
        particles=particles,
        draws=draws,
        neighbours=neighbours,
    )
