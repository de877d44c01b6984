"""Exact minimisers of quadratic functionals on a quadrature rule.

Mean matching is all that is needed: |E_mu f - q|^2 with features f. For a kernel k they come from
the eigenvectors of its matrix, k(x, y) = 2 <f(x), f(y)>, so that |E_mu f - E_nu f|^2 is half the
squared discrepancy of mu and nu. See `exact.match_mean` for the solver.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.special import roots_legendre
from scipy.stats import beta

from .exact import Rule, Solution, match_mean


def interval_rule(low: float, high: float, order: int = 60) -> Rule:
    """Gauss-Legendre, of mass one."""
    t, w = roots_legendre(order)
    return Rule(low + (high - low) * (1 + t) / 2, w / 2)


def product_rule(first: Rule, second: Rule) -> Rule:
    """Pairs of nodes, shape (n m, 2)."""
    pairs = np.stack(np.meshgrid(first.points, second.points, indexing="ij"), axis=-1)
    return Rule(pairs.reshape(-1, 2), np.outer(first.weights, second.weights).reshape(-1))


def minimiser(
    rule: Rule,
    features: np.ndarray,
    target: np.ndarray,
    tau: float,
    potential: np.ndarray | None = None,
) -> Solution:
    """Of |E_mu f - target|^2 + E_mu U + tau KL(mu | rule). features, potential: at the nodes."""
    values = None if potential is None else lambda _: potential
    found = match_mean(Rule(features, rule.weights), target, tau, values)
    return found._replace(points=rule.points)


def kernel_features(gram: np.ndarray, tolerance: float = 1e-13) -> np.ndarray:
    """f at n points, shape (n, rank), with gram = 2 f f^T up to the tolerance."""
    values, vectors = np.linalg.eigh(gram)
    keep = values > tolerance * values[-1]
    return vectors[:, keep] * np.sqrt(values[keep] / 2)


def quantiles(law: dist.Beta, count: int) -> np.ndarray:
    """Points of equal mass that stand for a beta law."""
    level = (np.arange(count) + 0.5) / count
    return beta.ppf(level, float(law.concentration1), float(law.concentration0)).astype(np.float32)


def gram(kernel: Callable, points: np.ndarray) -> np.ndarray:
    """In double precision."""
    with jax.enable_x64(True):
        z = jnp.asarray(points, float)
        return np.asarray(jax.jit(jax.vmap(jax.vmap(kernel, (None, 0)), (0, None)))(z, z))


def sinkhorn(cost: np.ndarray, a: np.ndarray, b: np.ndarray, epsilon: float) -> np.ndarray:
    """The coupling of least <C, P> + epsilon KL(P | a x b), shape (n, m), marginals to 1e-12."""
    kernel = np.exp(-(cost - cost.min()) / epsilon)
    v = np.ones(len(b))
    for _ in range(100_000):
        u = 1 / (kernel @ (b * v))
        v = 1 / ((a * u) @ kernel)
        plan = (a * u)[:, None] * kernel * (b * v)
        if np.abs(plan.sum(axis=1) - a).sum() < 1e-12:
            return plan
    raise RuntimeError(f"Sinkhorn's iteration did not converge at epsilon={epsilon}")
