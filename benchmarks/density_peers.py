"""What the density benchmark compares with: parametric families by maximum likelihood, and
scikit-learn's density estimates where they apply."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import betabinom, nbinom, poisson
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from .density_data import Problem

#: From counts of the distinct rows and the indices of settings, by job, to log densities there.
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def family(log_density: Callable[[np.ndarray, tuple], np.ndarray], start: list[float]) -> Any:
    """A parametric family, its parameters unconstrained, fitted by maximum likelihood."""

    def fit(problem: Problem, settings: list[Any]) -> Predict:
        def one(counts: np.ndarray) -> np.ndarray:
            def loss(parameters: np.ndarray) -> float:
                return -counts @ log_density(parameters, problem.rows) / counts.sum()

            found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000})
            return log_density(found.x, problem.rows)

        return lambda counts, at: np.stack([one(c) for c in counts])

    return [None], fit


def _poisson(parameters: np.ndarray, rows: tuple) -> np.ndarray:
    return poisson.logpmf(rows[0], np.exp(parameters[0]))


def _negative_binomial(parameters: np.ndarray, rows: tuple) -> np.ndarray:
    mean, size = np.exp(parameters)
    return nbinom.logpmf(rows[0], size, size / (size + mean))


def _beta_binomial(parameters: np.ndarray, rows: tuple) -> np.ndarray:
    return betabinom.logpmf(rows[0], rows[1], *np.exp(parameters))


def _dirichlet(parameters: np.ndarray, rows: tuple) -> np.ndarray:
    a = np.exp(parameters)
    return gammaln(a.sum()) - gammaln(a).sum() + np.log(rows[0]) @ (a - 1)


def log_ratios(settings: list[Any], build: Callable[[Any], Any]) -> Any:
    """A scikit-learn estimate in the plane of log ratios; its density is that of shares by the
    Jacobian of the map, the product of the shares."""

    def fit(problem: Problem, settings: list[Any]) -> Predict:
        z = problem.rows[0]
        plane, jacobian = np.log(z[:, :2] / z[:, 2:]), np.log(z).sum(axis=1)

        def one(counts: np.ndarray, setting: Any) -> np.ndarray:
            seen = np.repeat(plane, counts.astype(int), axis=0)
            return build(setting).fit(seen).score_samples(plane) - jacobian

        return lambda counts, at: np.stack(
            [one(c, settings[i]) for c, i in zip(counts, at, strict=True)]
        )

    return settings, fit


#: By data and name: the settings to choose from, and (problem, settings) -> `Predict`.
PEERS: dict[str, dict[str, tuple[list[Any], Callable[[Problem, list[Any]], Predict]]]] = {
    "doctor visits": {
        "negative binomial": family(_negative_binomial, [1.0, 0.0]),
        "Poisson": family(_poisson, [1.0]),
    },
    "vote shares": {
        "Dirichlet": family(_dirichlet, [1.0, 1.0, 1.0]),
        "KDE, log ratios": log_ratios(
            list(np.geomspace(0.03, 1.0, 16).round(3)), lambda h: KernelDensity(bandwidth=h)
        ),
        "Gaussian mixture, log ratios": log_ratios(
            list(itertools.product((1, 2, 3, 4), ("full", "diag"))),
            lambda s: GaussianMixture(s[0], covariance_type=s[1], n_init=5, random_state=0),
        ),
    },
    "district scores": {"beta-binomial": family(_beta_binomial, [1.0, 1.0])},
}
