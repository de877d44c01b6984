"""A model beside its exact minimiser, and means under particles beside those under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mmfld_ppl.inference_data import dataset

from ..exact import Solution


class Problem(NamedTuple):
    """A model with its arguments, and its minimiser at the nodes of a rule.

    sites: those that make the coordinates of a point, in their order. statistics: functions of an
    array of points, coordinates along the last axis. base: what weights of the nodes are divided by
    to be densities. target: a density on the line, points and values."""

    name: str
    model: Callable
    args: tuple
    setting: dict[str, Any]
    exact: Solution
    sites: tuple[str, ...]
    statistics: dict[str, Callable[[np.ndarray], np.ndarray]]
    base: np.ndarray
    target: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()


def points_of(idata: Any, problem: Problem) -> np.ndarray:
    """Particles in double precision, shape (chain, draw, particle, coordinate)."""
    posterior = dataset(idata, "posterior")
    sites = [posterior[name].values.astype(float) for name in problem.sites]
    return np.concatenate([z.reshape(*z.shape[:3], -1) for z in sites], axis=-1)


class Comparison(NamedTuple):
    """A mean under the particles with its standard error, and under the minimiser."""

    statistic: str
    mean: float
    error: float
    exact: float

    @property
    def z(self) -> float:
        return (self.mean - self.exact) / self.error


def compare(problem: Problem, points: np.ndarray) -> list[Comparison]:
    """Chains are independent, so that their spread is the error."""
    mu, rows = problem.exact, []
    nodes = mu.points.reshape(len(mu.weights), -1)
    for name, function in problem.statistics.items():
        means = function(points).mean(axis=(1, 2))
        error = means.std(ddof=1) / np.sqrt(len(means))
        rows.append(Comparison(name, means.mean(), error, float(mu.weights @ function(nodes))))
    return rows
