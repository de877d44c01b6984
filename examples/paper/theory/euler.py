"""The law of Algorithm 1 with infinitely many particles, by the transition matrix of one step.

From x the dual point y' is normal with mean phi'(x) - h V'(x) and variance 2 h phi''(x), for V' of
a given mean m. On even nodes in z the trapezoidal rule is exact to rounding for such smooth
densities, as long as the nodes are closer than a step, and the law at rest solves a linear system.
Of the mean field it is the one whose mean is m.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from .flow import Grid
from .matching import Geometry, Matching

#: Logits of x between which the law is computed; a uniform law has a mass of 1e-8 beyond.
REACH = (-18.0, 18.0)


class StepLaw(NamedTuple):
    """The law at rest with step h, less mu*. mean, variance: differences. distance: the Wasserstein
    distance W_2. energy: L(mu_h) - L(mu*)."""

    mean: float
    variance: float
    distance: float
    energy: float


def step_law(geometry: Geometry, matching: Matching, h: float, cells: int = 700) -> StepLaw:
    """Under the log barrier, without repulsion."""
    low, _ = REACH
    grid = Grid(geometry, matching, cells, REACH)
    x, rest, speed = geometry.interval(low + grid.dz * (np.arange(cells) + 0.5))
    phi2 = geometry.phi2(x, rest)
    y, sd = 1 / rest - 1 / x, np.sqrt(2 * h * phi2)[:, None]
    # dy = phi'' dx/dz dz, over the constant of the normal density.
    volume = phi2 * speed * grid.dz / np.sqrt(2 * np.pi)

    def at_rest(mean: float) -> np.ndarray:
        centre = y - h * matching.tilt(mean)
        P = np.exp(-0.5 * ((y - centre[:, None]) / sd) ** 2) / sd * volume
        system = P.T - np.eye(cells)
        system[cells // 2] = 1.0
        return np.linalg.solve(system, np.eye(cells)[cells // 2])

    mean = brentq(lambda m: at_rest(m) @ x - m, 0.05, 0.95, xtol=1e-13)
    p, best = np.maximum(at_rest(mean), 0.0), grid.minimiser()
    m, m_best = p @ x, best @ x
    return StepLaw(
        float(m - m_best),
        float(p @ (x - m) ** 2 - best @ (x - m_best) ** 2),
        _wasserstein(x, p, best),
        grid.free_energy(p) - grid.free_energy(best),
    )


def _wasserstein(x: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """W_2 of two laws on the same cells, their quantiles interpolated between cells."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    quantiles = [np.interp(levels, np.cumsum(v) - v / 2, x) for v in (p, q)]
    return float(np.sqrt(np.mean((quantiles[0] - quantiles[1]) ** 2)))
