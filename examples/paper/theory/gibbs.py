r"""The law of N particles exactly: exp(-(N/tau) F(mu_x)) prod base(x_i) for F = (E x - q)^2 + E U.

Its particles are coupled through the square of their mean alone, and that square is a Gaussian
integral: with Lambda(z) = log E_base exp(z x - U(x)/tau),

    Z_N = sqrt(N tau / (4 pi)) int exp(N g(theta + i s)) ds,   g(z) = Lambda(z) + tau z^2/4 - q z.

Cauchy lets the line of integration go through the saddle point of g on the real axis, which is
the exponent theta of mu* (and L(mu*) = -tau g(theta)): on it the integrand has one peak of width
N^(-1/2) and the trapezoidal rule is exact to rounding. Moments come by weighting with Lambda' and
Lambda''. Nothing is approximated, and N = 1 costs as much as N = 10^6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .matching import Exact, Matching, minimiser, nodes_of


class ParticleLaw(NamedTuple):
    """free_energy: (1/N) L^(N) of the law less L(mu*). mean: E x_1 - m. variance: of the mean of
    the particles. objective: E F(mu_N) - F(mu*)."""

    free_energy: float
    mean: float
    variance: float
    objective: float


def particle_law(matching: Matching, size: int, points: int = 801) -> ParticleLaw:
    """Of N = size particles."""
    tau, q = matching.temperature, matching.target
    exact = minimiser(matching)
    x, w = nodes_of(matching)
    repelled = matching.repulsion * (1 / x + 1 / (1 - x)) if matching.repulsion else 0 * x
    curvature = exact.variance + tau / 2
    # The modulus is below exp(-N tau s^2 / 4) of the peak, and near it is exp(-N curvature s^2/2).
    reach = 9 / np.sqrt(size * min(tau / 2, curvature))
    s = np.linspace(-reach, reach, points)
    tilted = w * np.exp(np.outer(exact.theta + 1j * s, x) - max(exact.theta, 0))
    mass = tilted.sum(axis=1)
    m = tilted @ x / mass
    second = tilted @ x**2 / mass
    spread = second - m**2
    # Logarithms of complex numbers along a path: the phase is followed continuously.
    log_mass = np.log(np.abs(mass)) + 1j * np.unwrap(np.angle(mass)) + max(exact.theta, 0)
    middle = points // 2
    log_mass -= 1j * log_mass[middle].imag
    z = exact.theta + 1j * s
    g = log_mass + tau * z**2 / 4 - q * z
    peak = np.exp(size * (g - g[middle]))
    total = np.sum(peak) * (s[1] - s[0])
    normal = np.sqrt(size * tau / (4 * np.pi)) * total
    p = peak / np.sum(peak)
    mean = np.sum(p * m).real
    squared = np.sum(p * (m**2 + spread / size)).real
    pushed = np.sum(p * (tilted @ repelled / mass)).real - exact.expect(repelled)
    objective = squared - 2 * q * mean + q**2 - (exact.mean - q) ** 2 + pushed
    return ParticleLaw(
        float(-tau / size * np.log(normal.real)),
        float(mean - exact.mean),
        float(squared - mean**2),
        float(objective),
    )


class Bounds(NamedTuple):
    """Coefficients of 1/N. theorem: L R^2 / 2 of theorem 4.1. variance: what its proof gives with
    the variance of mu* in place of R^2. limit: of N times the excess as N grows."""

    theorem: float
    variance: float
    limit: float


def bounds(matching: Matching) -> Bounds:
    """F = (m - q)^2 has L = 2, and |x| <= R = 1."""
    exact: Exact = minimiser(matching)
    tau, S = matching.temperature, exact.variance
    return Bounds(1.0, S, tau / 2 * np.log1p(2 * S / tau))
