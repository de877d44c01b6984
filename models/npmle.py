"""Mixing measures on a grid of atoms, by convex optimisation in NumPy: what particles are held to.

Both problems are finite-dimensional and convex, and their solutions certify themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

Vector = Float[np.ndarray, " m"]


class GridMixture(NamedTuple):
    """weights: of the m atoms. loss: F = -sum_i s_i log p_i, the mean negative log-likelihood.
    log_p: log p_i at the n data. gradient: D = sum_i s_i k_ij / p_i - 1 at the atoms. At the
    maximum likelihood estimator D is nowhere positive. mass: the total that the weights had before
    they were divided by it, where atoms have masses."""

    weights: Vector
    loss: float
    log_p: Float[np.ndarray, " n"]
    gradient: Vector
    mass: float = 1.0


def maximum_likelihood(
    log_k: Float[np.ndarray, "m n"],
    counts: Float[np.ndarray, " n"] | None = None,
    *,
    tolerance: float = 1e-8,
) -> GridMixture:
    """The maximum likelihood estimator among measures on m atoms, by an interior-point method on
    the dual (Koenker and Mizera 2014): with q_i = 1/p_i,

        max over q of  sum_i s_i log q_i  where  sum_i s_i q_i k_ij <= 1 at every atom j.

    log_k: log k(z_i | theta_j), atoms along the first axis. counts: how often each datum occurs.
    tolerance: how far the loss may be above that of the dual, and so above the optimum; atoms that
    the optimum does not have keep weights of that order.
    Raises RuntimeError where this is not reached; ValueError for counts that are negative or not
    one a datum, and for a datum that no atom allows."""
    every, all_shares = log_k, _shares(counts, log_k)
    log_k, shares = _occurring(every, all_shares)
    top = log_k.max(axis=0)
    a = np.exp(log_k - top) * shares
    log_q, gap = np.full(len(shares), np.log(0.5)), np.inf
    # Longer steps in t lose the path where thousands of atoms are next to one another.
    for t in 10.0 ** np.arange(3, 15, 0.5):
        log_q = _centred(a, shares, t, log_q)
        w = 1 / (1 - a @ np.exp(log_q))
        found = _solution(w / w.sum(), every, all_shares)
        gap = found.loss - shares @ (log_q - top)
        if gap < tolerance:
            return found
    raise RuntimeError(
        f"the maximum likelihood estimator was not found: the duality gap is {gap:.1e}, not "
        f"{tolerance:.0e}; take a coarser grid, or another tolerance="
    )


def _centred(a: np.ndarray, shares: np.ndarray, t: float, log_q: np.ndarray) -> np.ndarray:
    """Minimises  -t sum_i s_i log q_i - sum_j log(1 - (a q)_j)  by Newton's method in log q."""

    def loss(log_q: np.ndarray) -> float:
        slack = 1 - a @ np.exp(log_q)
        return np.inf if slack.min() <= 0 else -t * shares @ log_q - np.log(slack).sum()

    for _ in range(100):
        q = np.exp(log_q)
        scaled = a * q / (1 - a @ q)[:, None]
        pull = scaled.sum(axis=0)
        gradient = pull - t * shares
        step = -np.linalg.solve(scaled.T @ scaled + np.diag(pull), gradient)
        if -gradient @ step < 1e-9:
            break
        log_q = log_q + _backtracked(loss, log_q, step, gradient @ step) * step
    return log_q


def _backtracked(loss, at: np.ndarray, step: np.ndarray, slope: float) -> float:
    """How much of a Newton step makes the loss fall, up to rounding."""
    now, size = loss(at), min(1.0, 3 / np.abs(step).max())
    while not loss(at + size * step) <= now + 1e-4 * size * slope + 1e-14 * (1 + abs(now)):
        size /= 2
        if size < 1e-12:
            return 0.0
    return size


def entropic(
    log_k: Float[np.ndarray, "m n"],
    log_base: Vector,
    temperature: float,
    counts: Float[np.ndarray, " n"] | None = None,
    *,
    masses: bool = False,
    tolerance: float = 1e-9,
) -> GridMixture:
    """The minimiser of F + temperature KL(mu | base) among measures on m atoms, by Newton's method
    on the dual: with q_i = 1/p_i and D_j = sum_i s_i q_i k_ij - 1,

        min over q of  tau log sum_j b_j exp(D_j / tau) - sum_i s_i log q_i,

    and w_j proportional to b_j exp(D_j / tau). It starts at a high temperature and follows the
    solution down. `masses`: each atom has a mass with the base law Exponential(1), as particles of
    `models.mixture` may have; in place of exp(D / tau) then stands 1 / (1 - D / tau).

    log_k: as in `maximum_likelihood`. log_base: log b_j, the mass of the base at each atom.
    tolerance: largest relative error of q_i p_i = 1, up to rounding.
    Raises RuntimeError where no solution is found; ValueError as `maximum_likelihood`, and for a
    temperature that is not positive."""
    if not temperature > 0:
        raise ValueError(
            f"the temperature must be positive, got {temperature}; without an entropy it is "
            "`maximum_likelihood`"
        )
    if np.isnan(log_base).any():
        raise ValueError(f"log_base must be numbers or -inf, got {np.isnan(log_base).sum()} NaN")
    every, all_shares = log_k, _shares(counts, log_k)
    log_k, shares = _occurring(every, all_shares)
    log_b = log_base - logsumexp(log_base)
    k = np.exp(log_k - log_k.max(axis=0))
    tau = max(1.0, temperature)
    log_q = -np.log(np.exp(log_b) @ k)
    while True:
        # Inside of the domain, which with masses ends where D reaches tau.
        log_q -= max(0, np.log((k @ (shares * np.exp(log_q))).max()) - np.log1p(0.9 * tau))
        log_q = _tempered(k, log_b, shares, tau, log_q, masses, tolerance)
        if tau <= temperature:
            break
        tau = max(tau / 2, temperature)
    w = _gibbs(k, log_b, shares, tau, log_q, masses)[0]
    return _solution(w / w.sum(), every, all_shares)._replace(mass=float(w.sum()))


def _gibbs(k, log_b, shares, tau, log_q, masses) -> tuple[Vector, Vector, float]:
    """First and second moments of the mass of each atom, and the log of the normaliser."""
    d = k @ (shares * np.exp(log_q)) - 1
    if not masses:
        total = float(logsumexp(log_b + d / tau))
        w = np.exp(log_b + d / tau - total)
        return w, w, total
    room = 1 - d / tau
    if room.min() <= 0:
        return d, d, np.inf
    total = float(logsumexp(log_b - np.log(room)))
    w = np.exp(log_b - total) / room
    return w / room, 2 * w / room**2, total


def _tempered(k, log_b, shares, tau, log_q, masses, tolerance) -> np.ndarray:
    def dual(log_q):
        with np.errstate(over="ignore"):
            return tau * _gibbs(k, log_b, shares, tau, log_q, masses)[2] - shares @ log_q

    for _ in range(200):
        first, second, _ = _gibbs(k, log_b, shares, tau, log_q, masses)
        scaled = shares * np.exp(log_q) * k
        pull = first @ scaled
        gradient = pull - shares
        if np.abs(gradient / shares).max() < tolerance:
            return log_q
        hessian = np.diag(pull) + ((scaled.T * second) @ scaled - np.outer(pull, pull)) / tau
        step = -np.linalg.solve(hessian, gradient)
        size = _backtracked(dual, log_q, step, gradient @ step)
        if size == 0 and np.abs(gradient / shares).max() < 1e-6:
            return log_q
        log_q = log_q + size * step
    raise RuntimeError(
        f"the entropic estimator was not found at temperature {tau:.3g}: take a higher one, or a "
        "coarser grid"
    )


def _solution(w: Vector, log_k: np.ndarray, shares: np.ndarray) -> GridMixture:
    top = log_k.max(axis=0)
    possible = np.isfinite(top)
    k = np.exp(log_k[:, possible] - top[possible])
    p, shares = w @ k, shares[possible]
    log_p = np.full(len(top), -np.inf)
    log_p[possible] = top[possible] + np.log(p)
    return GridMixture(w, float(-shares @ log_p[possible]), log_p, k @ (shares / p) - 1)


def _occurring(log_k: np.ndarray, shares: Vector) -> tuple[np.ndarray, Vector]:
    """Of the data that occur: one that does not has no multiplier."""
    return log_k[:, shares > 0], shares[shares > 0]


def _shares(counts: np.ndarray | None, log_k: np.ndarray) -> np.ndarray:
    size = log_k.shape[1]
    counts = np.ones(size) if counts is None else np.asarray(counts, float)
    if counts.shape != (size,) or not (np.all(counts >= 0) and 0 < counts.sum() < np.inf):
        raise ValueError(
            f"{size} data need as many counts, none negative and some positive, got {counts} of "
            f"shape {counts.shape}"
        )
    best = log_k.max(axis=0)
    if wrong := np.flatnonzero((counts > 0) & ~(best < np.inf)).tolist():
        raise ValueError(
            f"the kernel has a log density of NaN or +inf at an atom for the data {wrong}: leave "
            "out the atoms, or the data, that it is not defined for"
        )
    if unknown := np.flatnonzero((counts > 0) & (best == -np.inf)).tolist():
        raise ValueError(
            f"the kernel has no finite density at any atom for the data {unknown}: add atoms whose "
            "support holds them, or leave these data out"
        )
    return counts / counts.sum()
