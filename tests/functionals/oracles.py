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
