r"""What the minimiser of an experiment is, and how far an ensemble is from it in free energy.

In both experiments F(mu) depends on mu through averages alone: F = c |E y - q|^2 + w E u, with y
a few group sums of the coordinates. So of all measures with the averages (E y, E u) of an ensemble,
the one with least divergence from the uniform law,

    pi(x) proportional to exp(<theta, y(x)> - b u(x)),

has the least free energy L = F + tau KL; L(mu) = L(pi) + tau KL(mu | pi), and mu* is one of these
laws itself. L(pi) needs no estimate of a density: no free energy of an ensemble is below it, and a
free energy that is infinite, as that of a law with mass on faces, still has a finite one. It is
what the tables call the free energy.

Integrals are sums over a rule: quadrature in two dimensions, in more of them weighted draws. The
draws are normalised Gammas or Wishart matrices, scaled so that the weights hardly vary, and made of
a Sobol sequence, of which as many are taken as leave L(mu*) right to a thousandth of a nat.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, gammaln, ndtri
from scipy.stats import qmc

from .exact import Rule, ball_rule, disk_rule, match_mean, simplex_rule, tilt

#: Draws of shares and of matrices, as powers of two.
LOG_SHARES, LOG_MATRICES = 16, 19
ROUNDS = 8


class Reference(NamedTuple):
    """features: y and u at the points of a rule. log_weights: of the rule, for the uniform law.
    temperature: tau. mean: E y under mu*. value: L(mu*)."""

    features: np.ndarray
    log_weights: np.ndarray
    temperature: float
    mean: np.ndarray
    value: float

    def least_free_energy(
        self, objective: np.ndarray, averages: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Of replicates of one law: L(pi) - L(mu*) by replicate, and KL(pi | uniform).

        objective: F of each, on average over its ensembles; by its convexity at least F of their
        law. averages: of the features, (replicate, p). The divergence is that of the averages over
        all replicates, made linear there, so that it is one number a replicate."""
        theta, mass, _ = tilt(self.features, self.log_weights, averages.mean(axis=0), 0.0)
        divergence = averages @ theta - mass
        return objective + self.temperature * divergence - self.value, float(divergence.mean())


def reference(
    rule: Rule, feature: np.ndarray, weight: float, target: np.ndarray, tau: float, scale: float
) -> Reference:
    """Of  min scale |E y - target|^2 + weight E u + tau KL,  y = rule.points, u the feature at
    them. The rule is that of the uniform law, of mass one."""
    log_weights = np.log(rule.weights)
    found = match_mean(rule, target, tau / scale, lambda _: weight / scale * feature)
    p = found.weights
    kept = p > 0
    divergence = np.sum(p[kept] * (np.log(p[kept]) - log_weights[kept]))
    loss = scale * np.sum((found.mean - target) ** 2) + weight * p @ feature
    features = np.column_stack([rule.points, feature])
    return Reference(features, log_weights, tau, found.mean, float(loss + tau * divergence))


def simplex_reference(values, counts, tau: float, beta: float) -> Reference:
    """Of  min |E x - q|^2 + beta E sum log(1/x_i) + tau KL,  q with counts[g] entries values[g].

    y_g is the sum over group g divided by the square root of its size."""
    values, counts = np.asarray(values, float), np.asarray(counts)
    root, d = np.sqrt(counts), int(np.sum(counts))
    if d == 3 and len(counts) == 3:
        a = beta / tau
        rule = simplex_rule(a)
        logs = np.log(rule.points).sum(axis=1)
        # The rule's variables run from -1 to 1; the uniform law has the density 2.
        scale = 2.0 ** (1 - (5 * a + 3))
        uniform = Rule(rule.points, scale * rule.weights * np.exp(-a * logs))
        return reference(uniform, -logs, beta, values, tau, 1.0)
    gammas = gammaincinv(1 + beta / tau, _uniforms(d, LOG_SHARES))
    member = np.repeat(np.eye(len(counts)), counts, axis=0)
    theta, rule, logs = np.zeros(len(counts)), None, np.zeros(len(gammas))
    for _ in range(ROUNDS):
        # Gammas of rates r, normalised, have the density prod r_i^a x_i^(a-1) / <r, x>^(d a).
        rates = member @ _rates(theta / root, counts * (1 + beta / tau))
        x = gammas / rates
        x /= x.sum(axis=1, keepdims=True)
        logs = np.log(x).sum(axis=1)
        a = 1 + beta / tau
        log_density = (a - 1) * logs + a * (np.log(rates).sum() - d * np.log(x @ rates))
        log_density += gammaln(d * a) - d * gammaln(a) - gammaln(d)
        rule = Rule(x @ member / root, np.exp(-log_density) / len(x))
        theta = match_mean(rule, values * root, tau, lambda _, u=-beta * logs: u).theta
    assert rule is not None
    return reference(rule, -logs, beta, values * root, tau, 1.0)


def spectraplex_reference(
    n: int, top: float, tau: float, gamma: float, complex_entries: bool = False
) -> Reference:
    """Of  min |E X - S|_F^2 / 2 + E|X|_F^2 / (2 gamma) + tau KL  on n x n density matrices, S with
    one eigenvalue `top` and all others equal.

    y is X_11 and the rest of the trace over sqrt(n - 1), in a basis in which S is diagonal."""
    if n > 2:
        return drawn_spectraplex_reference(n, top, tau, gamma, complex_entries)
    # Of X = I/2 + (a traceless matrix of half the length): a disk, or a ball about the axis of S.
    ball = ball_rule(0.5) if complex_entries else disk_rule(0.5)
    z = ball.points[:, 0]
    rule = Rule(np.stack([0.5 + z, 0.5 - z], axis=-1), ball.weights / ball.weights.sum())
    squares = 0.5 + 2 * np.sum(ball.points**2, axis=-1)
    return reference(rule, squares, 1 / (2 * gamma), np.array([top, 1 - top]), tau, 0.5)


def drawn_spectraplex_reference(
    n: int, top: float, tau: float, gamma: float, complex_entries: bool = False
) -> Reference:
    """The same for any n, by weighted draws."""
    target = np.array([top, (1 - top) / np.sqrt(n - 1)])
    half = n if complex_entries else (n + 1) / 2
    columns = 2 * n if complex_entries else n + 1
    G = ndtri(_uniforms(n * columns, LOG_MATRICES)).reshape(-1, n, columns)
    theta, rule, squares = np.zeros(2), None, np.zeros(len(G))
    for _ in range(ROUNDS):
        # W of n + 1 degrees of freedom and rate R: W / tr W has the density tr(R X)^(-n (n+1)/2).
        each = _rates(theta / np.sqrt([1, n - 1]), half * np.array([1, n - 1]))
        rates = np.repeat(each, [1, n - 1])
        H = G / np.sqrt(rates)[:, None]
        W = _gram(H, complex_entries)
        diagonal = np.real(np.diagonal(W, axis1=1, axis2=2))
        trace = diagonal.sum(axis=1)
        x = diagonal / trace[:, None]
        squares = np.sum(np.abs(W) ** 2, axis=(1, 2)) / trace**2
        log_density = half * (np.log(rates).sum() - n * np.log(x @ rates))
        points = np.stack([x[:, 0], (1 - x[:, 0]) / np.sqrt(n - 1)], axis=-1)
        rule = Rule(points, np.exp(-log_density) / len(x))
        theta = match_mean(rule, target, 2 * tau, lambda _, u=squares / gamma: u).theta
    assert rule is not None
    return reference(rule, squares, 1 / (2 * gamma), target, tau, 0.5)


def _uniforms(dimension: int, log_draws: int) -> np.ndarray:
    """Points of a scrambled Sobol sequence, (draws, dimension)."""
    return qmc.Sobol(dimension, seed=dimension).random_base2(log_draws)


def _gram(factor: np.ndarray, complex_entries: bool) -> np.ndarray:
    if complex_entries:
        n = factor.shape[1]
        factor = factor[..., :n] + 1j * factor[..., n:]
    return np.matmul(factor, np.conj(np.swapaxes(factor, 1, 2)))


def _rates(theta: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """c - theta with the c at which sum shapes / (c - theta) = 1: the saddle point."""
    low = theta.max() + shapes.min() * 1e-3
    high = theta.max() + shapes.sum()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(shapes / (middle - theta)) > 1 else (low, middle)
    return high - theta
