"""The problem of all commands of this folder: match a mean on the interval (0, 1).

    L(mu) = (E_mu x - q)^2 + eps E_mu[1/x + 1/(1-x)] + tau KL(mu | uniform)

One dimension, so that the flow, the minimiser, the law of N particles and the law of a step can all
be computed on a grid. dF/dmu(x) = 2 (m - q) x + eps (1/x + 1/(1-x)) depends on mu through its mean
m alone, and m is in (0, 1): a bound over these m is a bound over all measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from mmfld_ppl import dynamics, mirrors
from mmfld_ppl.functionals import OfMean


class Matching(NamedTuple):
    """target: q. temperature: tau. repulsion: eps."""

    target: float = 0.7
    temperature: float = 0.3
    repulsion: float = 0.0

    def tilt(self, mean):
        """a of the potential V(x) = a x + (eps/tau) (1/x + 1/(1-x)) that particles feel."""
        return 2 * (mean - self.target) / self.temperature

    def functional(self) -> OfMean:
        q, eps = self.target, self.repulsion
        if eps == 0:
            return OfMean(lambda m: jnp.square(m - q))
        return OfMean(lambda m: jnp.square(m - q), potential=lambda x: eps * (1 / x + 1 / (1 - x)))


class Geometry(NamedTuple):
    """A mirror map of the interval, with the coordinate z in which grids are even.

    power: k of phi'' = x^-k + (1-x)^-k. ends: of z. interval: x, 1 - x and dx/dz of z, to full
    relative accuracy at either end. transition: a step of Algorithm 1 that stays inside."""

    name: str
    mirror: mirrors.MirrorMap
    power: int
    ends: tuple[float, float]
    interval: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    transition: dynamics.Mirror

    def phi2(self, x: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """phi'' of x and 1 - x."""
        return x**-self.power + rest**-self.power

    def langevin(
        self, matching: Matching, step_size: float, metropolize: bool = False
    ) -> dynamics.MeanFieldLangevin:
        """The library's dynamics; h = tau * eta."""
        transition = dynamics.Mirror(self.mirror) if metropolize else self.transition
        return dynamics.MeanFieldLangevin(
            dynamics.FunctionalField(matching.functional()),
            transition,
            step_size,
            matching.temperature,
            metropolize=metropolize,
        )


def _arc(z):
    """Of the entropy map: z is the length in its metric."""
    return np.sin(z / 2) ** 2, np.cos(z / 2) ** 2, np.sin(z) / 2


def _logit(z):
    x, rest = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    return x, rest, x * rest


#: phi(x) = x log x + (1-x) log(1-x): bounded, not self-concordant.
ENTROPY = Geometry(
    "entropy",
    mirrors.EntropyInterval(),
    1,
    (0.0, np.pi),
    _arc,
    dynamics.Mirror(mirrors.EntropyInterval(), "exact"),
)
#: phi(x) = -log x - log(1-x): self-concordant, with infinite distances to the ends.
BARRIER = Geometry(
    "log barrier",
    mirrors.Interval.between(0.0, 1.0, jnp.float32),
    2,
    (-40.0, 40.0),
    _logit,
    dynamics.Mirror(mirrors.Interval.between(0.0, 1.0, jnp.float32)),
)


def log_sobolev_bound(geometry: Geometry, matching: Matching, means=(0.0, 1.0)) -> float:
    """A lower bound on the mirror log-Sobolev constant of every proximal Gibbs law mu_hat(mu) with
    E_mu x in this range; 0 where the criterion says nothing.

    In the coordinate s = int sqrt(phi'') dx the metric is flat and mu_hat has the density
    exp(-W(s)), W = V + (1/2) log phi''. By Bakry and Emery, with dimension n in [2, inf],

        W'' - W'^2 / (n - 1) >= rho > 0   implies   C_LSI >= rho n / (n - 1).

    W is linear in the mean and the left side concave in it, so the ends of the range suffice."""
    x, rest, _ = _logit(np.linspace(-16, 16, 4001))
    k, c = float(geometry.power), matching.repulsion / matching.temperature
    P = x**-k + rest**-k
    P1 = k * (rest ** -(k + 1) - x ** -(k + 1))
    P2 = k * (k + 1) * (rest ** -(k + 2) + x ** -(k + 2))
    slopes = []
    for mean in means:
        V1 = matching.tilt(mean) + c * (1 / rest**2 - 1 / x**2)
        V2 = 2 * c * (1 / rest**3 + 1 / x**3)
        # d/ds = P^(-1/2) d/dx
        inner = V1 + P1 / (2 * P)
        second = (V2 + P2 / (2 * P) - P1**2 / (2 * P**2)) / P - P1 / (2 * P**2) * inner
        slopes.append((inner / np.sqrt(P), second))
    best = 0.0
    for n in [*np.geomspace(2, 1e3, 60), np.inf]:
        rho = min((w2 - w1**2 / (n - 1)).min() for w1, w2 in slopes)
        best = max(best, rho if np.isinf(n) else rho * n / (n - 1))
    return float(best) if best > 1e-4 else 0.0


class Exact(NamedTuple):
    """mu* on Gauss-Legendre nodes. mean, variance: of mu*. tilt: its theta, exp(theta x) being the
    tilt of mu*. log_mass: log of E exp(theta x - U/tau) as a function of a complex theta."""

    mean: float
    variance: float
    theta: float
    nodes: np.ndarray
    weights: np.ndarray

    def expect(self, values: np.ndarray) -> float:
        return float(self.weights @ values)


def nodes_of(matching: Matching, order: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and weights times exp(-U/tau)."""
    t, w = np.polynomial.legendre.leggauss(order)
    x = (1 + t) / 2
    return x, w / 2 * np.exp(-matching.repulsion / matching.temperature * (1 / x + 1 / (1 - x)))


def minimiser(matching: Matching) -> Exact:
    """mu* proportional to exp(theta x - U(x)/tau), theta = -2 (m - q)/tau, by root finding."""
    x, w = nodes_of(matching)

    def law(theta):
        p = w * np.exp(theta * x - max(theta, 0))
        return p / p.sum()

    theta = brentq(
        lambda theta: law(theta) @ x + matching.temperature * theta / 2 - matching.target,
        -2 / matching.temperature,
        2 / matching.temperature,
        xtol=1e-14,
    )
    p = law(theta)
    mean = p @ x
    return Exact(float(mean), float(p @ (x - mean) ** 2), float(theta), x, p)
