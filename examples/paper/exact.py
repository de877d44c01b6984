"""Exact minimisers for the paper's experiments, by quadrature in double precision.

On a set X in R^d, the minimiser of |E_mu x - q|^2 + E_mu U(x) + tau KL(mu | uniform) is

    mu*(x) proportional to exp(<theta, x> - U(x) / tau),   theta = -2 (m - q) / tau,   m = E_mu* x.

With Lambda(theta) = log of the normalising constant, the second and third equations say that theta
minimises Lambda(theta) + tau |theta|^2 / 4 - <theta, q>, which is strictly convex: Newton's method
with step halving finds it, at any temperature. (Iterating m -> E_mu(m) x diverges at small tau.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import roots_jacobi


class Rule(NamedTuple):
    """Nodes and positive weights of a quadrature rule: sum_i weights[i] f(points[i])."""

    points: np.ndarray
    weights: np.ndarray


class Solution(NamedTuple):
    """mu* on the nodes of a rule.

    points, weights: the measure, of mass 1. theta: its exponent."""

    points: np.ndarray
    weights: np.ndarray
    theta: np.ndarray

    def expect(self, function) -> np.ndarray:
        """E_mu* of a function of an array of points, values along the leading axis."""
        return np.tensordot(self.weights, function(self.points), axes=1)

    @property
    def mean(self) -> np.ndarray:
        return self.expect(lambda x: x)

    @property
    def covariance(self) -> np.ndarray:
        x = self.points - self.mean
        return np.einsum("n,ni,nj->ij", self.weights, x, x)

    @property
    def sd(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


def simplex_rule(exponent: float, order: int = 80) -> Rule:
    """For x_1 x_2 x_3 to the power `exponent` times a smooth function on the simplex of size 3.

    Gauss-Jacobi in x = (u, (1-u) v, (1-u)(1-v)), exact for polynomials of degree 2 order - 1."""
    a = exponent
    t, w_u = roots_jacobi(order, 2 * a + 1, a)
    s, w_v = roots_jacobi(order, a, a)
    u, v = np.meshgrid((1 + t) / 2, (1 + s) / 2, indexing="ij")
    points = np.stack([u, (1 - u) * v, (1 - u) * (1 - v)], axis=-1).reshape(-1, 3)
    return Rule(points, np.outer(w_u, w_v).reshape(-1))


def disk_rule(radius: float, order: int = 80) -> Rule:
    """For smooth functions on the disk: Gauss-Legendre in r^2, equal angles."""
    t, w = roots_jacobi(order, 0, 0)
    r = radius * np.sqrt((1 + t) / 2)
    angle = 2 * np.pi * np.arange(2 * order) / (2 * order)
    points = np.stack([np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle))], axis=-1)
    return Rule(points.reshape(-1, 2), np.repeat(w, 2 * order))


def ball_rule(radius: float, order: int = 80) -> Rule:
    """For smooth functions on the ball of three dimensions that are symmetric about an axis: points
    are (height, distance from the axis). Gauss-Jacobi in r, Gauss-Legendre in the cosine."""
    t, w_r = roots_jacobi(order, 0, 2)
    c, w_c = roots_jacobi(order, 0, 0)
    r = radius * (1 + t) / 2
    points = np.stack([np.outer(r, c), np.outer(r, np.sqrt(1 - c**2))], axis=-1)
    return Rule(points.reshape(-1, 2), np.outer(w_r, w_c).reshape(-1))


#: Minus as many nats of divergence are as good as infinite.
UNBOUNDED = -200.0


def tilt(
    features: np.ndarray, log_weights: np.ndarray, target: np.ndarray, ridge: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """theta that minimises  Lambda(theta) + ridge |theta|^2 / 2 - <theta, target>,  Lambda the
    log of sum_i exp(log_weights[i] + <theta, features[i]>). Also Lambda, and the tilted weights.

    Newton's method with step halving. Where there is no minimum, since the target is outside of
    what the features reach, it ends at a theta whose value is below UNBOUNDED."""

    def tilted(theta):
        logs = log_weights + features @ theta
        top = logs.max()
        weights = np.exp(logs - top)
        total = weights.sum()
        mass = top + np.log(total)
        return weights / total, mass, mass + ridge / 2 * theta @ theta - theta @ target

    theta = np.zeros(features.shape[1])
    weights, mass, value = tilted(theta)
    for _ in range(100):
        mean = weights @ features
        gradient = mean + ridge * theta - target
        if np.abs(gradient).max() < 1e-13:
            break
        centred = features - mean
        curvature = (weights[:, None] * centred).T @ centred + ridge * np.eye(theta.size)
        # Features that are linearly dependent leave directions without curvature or slope.
        direction = -np.linalg.lstsq(curvature, gradient, rcond=1e-13)[0]
        decrease = gradient @ direction
        if value < UNBOUNDED:
            break
        step, trial = 1.0, tilted(theta + direction)
        # Near the root the decrease is below rounding: a full step is right there.
        while np.abs(decrease) > 1e-13 and not trial[2] <= value + 1e-4 * step * decrease:
            step /= 2
            if step < 1e-8:
                return theta, mass, weights
            trial = tilted(theta + step * direction)
        theta = theta + step * direction
        weights, mass, value = trial
    return theta, mass, weights


def match_mean(rule: Rule, target: np.ndarray, tau: float, potential=None) -> Solution:
    """The minimiser of |E_mu x - target|^2 + E_mu U(x) + tau KL(mu | rule).

    potential: U of an array of points, None for 0.
    Raises RuntimeError where Newton's method does not converge."""
    x = rule.points
    base = np.log(rule.weights) - (0 if potential is None else potential(x) / tau)
    theta, _, weights = tilt(x, base, target, tau / 2)
    error = np.abs(weights @ x + tau / 2 * theta - target).max()
    if error > 1e-10:
        raise RuntimeError(f"no convergence at tau={tau}: gradient {error:.1e}")
    return Solution(x, weights, theta)


def simplex_mean_matching(target, tau: float, beta: float) -> Solution:
    """mu* for F(mu) = |E x - target|^2 + beta E sum_i log(1/x_i) on the simplex of size 3."""
    return match_mean(simplex_rule(beta / tau), np.asarray(target, float), tau)


def spectraplex_matching(target: np.ndarray, tau: float, gamma: float) -> Solution:
    """mu* for F(mu) = |E X - S|_F^2 / 2 + E|X|_F^2 / (2 gamma) on real 2 x 2 density matrices, in
    the disk coordinates z of X = [[1/2 + z_1, z_2], [z_2, 1/2 - z_1]].

    In them F is |E z - s|^2 + E|z|^2 / gamma up to a constant, on |z| < 1/2."""
    s = np.array([(target[0, 0] - target[1, 1]) / 2, target[0, 1]])
    return match_mean(disk_rule(0.5), s, tau, lambda z: np.sum(z**2, axis=-1) / gamma)


def finite_particle_bias(solution: Solution, tau: float) -> np.ndarray:
    """N (E x_1 - m) as N grows, for N particles with the joint density exp(-(N/tau) F) of
    F = |mean - q|^2 + E U: Gibbs measures, as NUTS draws them.

    Given the mean-field exponent the particles are iid up to the weight exp(-N |z|^2 / tau) of the
    deviation z of their mean. To the first order in 1/N, with covariance S and third cumulant K of
    mu*, P = S^-1 and C = (P + 2/tau)^-1:  b_l = (1/2) K_ijk (C P)_li (P C P - P)_jk  (Edgeworth's
    expansion of the law of the mean)."""
    x = solution.points - solution.mean
    values, vectors = np.linalg.eigh(solution.covariance)
    basis = vectors[:, values > 1e-12 * values.max()]
    u = x @ basis
    S = np.einsum("n,ni,nj->ij", solution.weights, u, u)
    K = np.einsum("n,ni,nj,nk->ijk", solution.weights, u, u, u)
    P = np.linalg.inv(S)
    C = np.linalg.inv(P + 2 / tau * np.eye(len(P)))
    return basis @ (0.5 * np.einsum("ijk,li,jk->l", K, C @ P, P @ C @ P - P))
