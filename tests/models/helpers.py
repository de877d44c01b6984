"""Barycenters: runs; closed forms for Gaussians; a solver on a grid that knows nothing of them.

The coupling of N(0, v) and N(0, s^2) with least E|x - y|^2 + epsilon KL has the covariance
c = sqrt(v s^2 + epsilon^2/16) - epsilon/4, and OT_epsilon has the derivative 1 - c/v in v (Janati
et al. 2020). Setting the derivative of the objective in v to zero gives the equations below."""

from __future__ import annotations

import jax
import numpy as np
from numpyro.infer import MCMC
from scipy.optimize import brentq
from scipy.special import logsumexp

import mmfld_ppl as mm
from models.barycenter import barycenter, init_to_targets

#: Three Gaussians on the line that no symmetry relates.
MEANS, SDS, WEIGHTS = (-0.5, 0.2, 1.0), (0.3, 0.5, 0.8), np.array([0.5, 0.3, 0.2])


def barycenter_variance(epsilon, tau, sds, weights, debiased=False):
    """Of the doubly regularised barycenter of isotropic Gaussians, in each direction."""
    sds, weights = np.asarray(sds), np.asarray(weights)

    def excess(v):
        c = np.sqrt(v * sds**2 + epsilon**2 / 16) - epsilon / 4
        own = np.sqrt(v**2 + epsilon**2 / 16) - epsilon / 4 if debiased else v
        return own - weights @ c - tau / 2

    return brentq(excess, 1e-9, 100.0, xtol=1e-14)


def gaussian_atoms(mean, sd, count=25, width=4.5):
    """A Gaussian on a grid, (points (m, 1), masses): sums over it are integrals, up to rounding."""
    x = mean + sd * np.linspace(-width, width, count)
    masses = np.exp(-((x - mean) ** 2) / (2 * sd**2))
    return x[:, None], masses / masses.sum()


def grid_barycenter(grid, targets, weights, epsilon, tau, debiased=False, rounds=800):
    """Masses on the grid: damped iteration of mu = exp(-(1/tau) dF/dmu(mu)), with one Sinkhorn
    update of every potential a round. Two equal digits of step and nothing to tune."""
    distance = (grid[:, None] - grid) ** 2
    costs = [(grid[:, None] - y[:, 0]) ** 2 for y, _ in targets]
    log_mu = np.full(len(grid), -np.log(len(grid)))
    g = [np.zeros(len(b)) for _, b in targets]
    p, step = np.zeros(len(grid)), tau / (tau + epsilon)
    for _ in range(rounds):
        variation = np.zeros(len(grid))
        for k, (cost, (_, b)) in enumerate(zip(costs, targets, strict=True)):
            f = -epsilon * logsumexp((g[k] - cost) / epsilon, axis=1, b=b)
            g[k] = -epsilon * logsumexp(
                (f + log_mu * epsilon)[:, None] / epsilon - cost / epsilon, axis=0
            )
            variation += weights[k] * f
        if debiased:
            q = -epsilon * logsumexp((p / epsilon + log_mu)[:, None] - distance / epsilon, axis=0)
            p = (p + q) / 2
            variation -= p
        new = -variation / tau
        log_mu = (1 - step) * log_mu + step * (new - logsumexp(new))
        log_mu -= logsumexp(log_mu)
    return np.exp(log_mu)


def sampled(targets, *, warmup, draws, chains, thin=1, key=0, **setting):
    kernel = mm.MMFLD(barycenter, init_strategy=init_to_targets(targets))
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        thinning=thin,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(key), targets, **setting)
    return mcmc
