"""The mean-field flow on the interval by finite volumes, and its linearisation at the minimiser.

Masses p_i of even cells in z. With the proximal Gibbs masses pi(m) of the present mean m,

    d p_i / dt = kappa_{i+1/2} (p_{i+1}/pi_{i+1} - p_i/pi_i) - kappa_{i-1/2} (p_i/pi_i - ...),

kappa = (dz/dx)^2 / phi'' * pi / dz^2 at the edge: the equation d mu/dt = d_x(mu [phi'']^-1 d_x
log(mu/mu_hat)) of the paper in units of diffusion time (its t times tau). Mass is kept, pi is
stationary under its own field, and for a fixed field the entropy falls, on the grid as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, solve_banded
from scipy.optimize import brentq

from .matching import Geometry, Matching


class Grid:
    """The problem on `cells` cells. ends: of z, in place of the geometry's."""

    def __init__(
        self,
        geometry: Geometry,
        matching: Matching,
        cells: int = 1200,
        ends: tuple[float, float] | None = None,
    ):
        low, high = ends or geometry.ends
        if matching.repulsion and geometry.name == "log barrier":
            # Beyond, the density is below exp(-500) of what it is in the middle.
            high = np.log(500 * matching.temperature / matching.repulsion)
            low = -high
        self.geometry, self.matching, self.ends = geometry, matching, (low, high)
        self.dz = (high - low) / cells
        centres = low + self.dz * (np.arange(cells) + 0.5)
        edges = low + self.dz * np.arange(1, cells)
        self.x, rest, speed = geometry.interval(centres)
        self.base = speed * self.dz
        self.base = self.base / self.base.sum()
        self.edge_x, edge_rest, edge_speed = geometry.interval(edges)
        self.edge_base = edge_speed * self.dz
        self.mobility = 1 / (edge_speed**2 * geometry.phi2(self.edge_x, edge_rest)) / self.dz**2
        self.repulsion = self._repulsion(self.x, rest)
        self.edge_repulsion = self._repulsion(self.edge_x, edge_rest)

    def _repulsion(self, x, rest):
        c = self.matching.repulsion / self.matching.temperature
        return c * (1 / x + 1 / rest) if c else np.zeros_like(x)

    def gibbs(self, mean: float) -> np.ndarray:
        """Masses of mu_hat for a measure of this mean."""
        p = self.base * np.exp(-self._felt(mean))
        return p / p.sum()

    def _felt(self, mean: float) -> np.ndarray:
        v = self.matching.tilt(mean) * self.x + self.repulsion
        return v - v.min()

    def conductance(self, mean: float) -> np.ndarray:
        """kappa at the inner edges."""
        v = self.matching.tilt(mean) * self.x + self.repulsion
        total = np.sum(self.base * np.exp(-(v - v.min())))
        edge = self.matching.tilt(mean) * self.edge_x + self.edge_repulsion
        return self.mobility * self.edge_base * np.exp(-(edge - v.min())) / total

    def minimiser(self) -> np.ndarray:
        mean = brentq(lambda m: self.gibbs(m) @ self.x - m, 1e-9, 1 - 1e-9, xtol=1e-15)
        return self.gibbs(mean)

    def objective(self, p: np.ndarray) -> float:
        """F."""
        m, c = p @ self.x, self.matching
        return float((m - c.target) ** 2 + c.temperature * (p @ self.repulsion))

    def free_energy(self, p: np.ndarray) -> float:
        """L(p) = F + tau KL(p | uniform)."""
        some = p > 0
        relative = np.sum(p[some] * np.log(p[some] / self.base[some]))
        return self.objective(p) + self.matching.temperature * float(relative)

    def advance(self, p: np.ndarray, dt: float) -> np.ndarray:
        """An implicit Euler step, the field taken at its middle by one correction."""
        new = self._implicit(p, float(p @ self.x), dt)
        return self._implicit(p, float(0.5 * (p + new) @ self.x), dt)

    def _implicit(self, p: np.ndarray, mean: float, dt: float) -> np.ndarray:
        kappa, pi = self.conductance(mean), np.maximum(self.gibbs(mean), 1e-300)
        out = np.append(kappa, 0) + np.insert(kappa, 0, 0)
        bands = np.zeros((3, len(p)))
        bands[0, 1:] = -dt * kappa / pi[1:]
        bands[1] = 1 + dt * out / pi
        bands[2, :-1] = -dt * kappa / pi[:-1]
        return solve_banded((1, 1), bands, p)

    def run(self, p: np.ndarray, times: np.ndarray, dt: float) -> np.ndarray:
        """Masses at these increasing times, (times, cells); dt is the longest step."""
        now, kept = 0.0, []
        for time in times:
            steps = int(np.ceil((time - now) / dt - 1e-9))
            for _ in range(steps):
                p = self.advance(p, (time - now) / steps)
            now = time
            kept.append(p)
        return np.stack(kept)

    def point(self, x: float, width: float = 0.15) -> np.ndarray:
        """A start: masses near x, a bump of this width in z."""
        z = self.dz * np.arange(len(self.x))
        centre = z[np.argmin(np.abs(self.x - x))]
        p = np.exp(-(((z - centre) / width) ** 2) / 2)
        return p / p.sum()


class Rates(NamedTuple):
    """Of the generator at mu*, in units of diffusion time. frozen: spectral gap of the field frozen
    at mu*, an upper bound on its C_LSI (Rothaus). coupled: gap of the linearised mean-field flow;
    L - L* falls as exp(-2 coupled t) in the end."""

    frozen: float
    coupled: float


class _Operators(NamedTuple):
    """At mu*, in the coordinates of a change of mass over sqrt(pi). stiffness: D^(-1/2) K D^(-1/2)
    with D = diag(pi). root: (I + (2/tau) w w^T)^(1/2), the square root of the Hessian of L/tau.
    moment: w = sqrt(pi) (x - m)."""

    stiffness: np.ndarray
    root: np.ndarray
    moment: np.ndarray


def _operators(geometry: Geometry, matching: Matching, cells: int) -> _Operators:
    grid = Grid(geometry, matching, cells)
    p = grid.minimiser()
    kappa = grid.conductance(float(p @ grid.x))
    K = np.diag(np.append(kappa, 0) + np.insert(kappa, 0, 0))
    K -= np.diag(kappa, 1) + np.diag(kappa, -1)
    w = np.sqrt(p) * (grid.x - p @ grid.x)
    size = w @ w
    stretch = np.sqrt(1 + 2 / matching.temperature * size) - 1
    root = np.eye(len(p)) + stretch * np.outer(w, w) / size
    return _Operators(K / np.sqrt(p) / np.sqrt(p)[:, None], root, w)


def rates(geometry: Geometry, matching: Matching, cells: int = 500) -> Rates:
    """The generators are K H, with the stiffness K of the metric and with H = diag(1/pi), the
    Hessian of KL(.|mu*), or H + (2/tau) x x^T, that of L/tau: their eigenvalues are real, and are
    found from H^(1/2) K H^(1/2)."""
    K, root, _ = _operators(geometry, matching, cells)
    frozen, coupled = (
        eigh(M, eigvals_only=True, subset_by_index=[1, 1])[0] for M in (K, root @ K @ root)
    )
    return Rates(float(frozen), float(coupled))


def noise_response(geometry: Geometry, matching: Matching, cells: int = 500) -> float:
    """int_0^inf (<x, exp(-K H t) K x>)^2 dt: the variance that the mean gets from white noise of
    unit strength in the slope that all particles feel."""
    K, root, w = _operators(geometry, matching, cells)
    values, vectors = eigh(root @ K @ root)
    # root^-1 w, w being an eigenvector of the root.
    v = vectors.T @ w / (root @ w @ w / (w @ w))
    strength = values * v**2
    keep = values > 1e-9 * values[-1]
    strength, values = strength[keep], values[keep]
    return float(np.sum(np.outer(strength, strength) / (values[:, None] + values)))
