"""Entropic transport in NumPy, written without a view to speed."""

import numpy as np
from scipy.special import logsumexp


def squared_distances(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def entropic_plan(cost, a, b, eps, tolerance=1e-13):
    """The minimiser P of <C, P> + eps KL(P | a x b) over couplings, by log-domain Sinkhorn."""
    g = np.zeros(len(b))
    for _ in range(100_000):
        f = -eps * logsumexp((g - cost) / eps, axis=1, b=b)
        plan = a[:, None] * b * np.exp((f[:, None] + g - cost) / eps)
        if np.abs(plan.sum(0) - b).sum() < tolerance:
            return plan
        g = -eps * logsumexp((f[:, None] - cost) / eps, axis=0, b=a[:, None])
    raise RuntimeError("the oracle did not converge")


def entropic_cost(cost, a, b, eps):
    """OT_eps, from the primal."""
    plan = entropic_plan(cost, a, b, eps)
    return np.sum(plan * cost) + eps * np.sum(plan * np.log(plan / (a[:, None] * b)))


def smoothed(log_factors, kernels):
    """Marginals of the chain  prod_t exp(log_factors[t]) prod_t kernels[t]  on a grid."""
    forward, backward = [log_factors[0]], [np.zeros_like(log_factors[0])]
    for log_factor, kernel in zip(log_factors[1:], kernels, strict=True):
        forward.append(log_factor + logsumexp(forward[-1][:, None] + kernel, axis=0))
    for log_factor, kernel in zip(log_factors[:0:-1], kernels[::-1], strict=True):
        backward.insert(0, logsumexp(kernel + (log_factor + backward[0])[None], axis=1))
    log_marginals = np.array(forward) + np.array(backward)
    return np.exp(log_marginals - logsumexp(log_marginals, axis=1, keepdims=True))


def path_marginals(grid, snapshots, weights, times, tau, sigma, lam):
    """Marginals of the law R of paths on a grid that minimises  sum_t weights[t] Fit_t(R_t) +
    lam tau KL(R | W): mirror descent, whose iterates all are of the form exp(sum_t potential_t) W,
    so that their marginals are those of a chain."""
    kernels = [-squared_distances(grid, grid) / (2 * tau * gap) for gap in np.diff(times)]
    blur = [np.exp(-squared_distances(grid, z) / (2 * sigma**2)) for z in snapshots]
    potentials, rest = np.zeros((len(times), len(grid))), np.inf
    while rest > 1e-12:
        marginals = smoothed(potentials, kernels)
        fits = [-np.mean(k / (p @ k), axis=1) for k, p in zip(blur, marginals, strict=True)]
        wanted = -weights[:, None] / (lam * tau) * np.array(fits)
        rest = np.abs(wanted - potentials).max()
        potentials = potentials + 0.2 * (wanted - potentials)
    return marginals
