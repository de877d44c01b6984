"""The data of the density benchmark, as mixture problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
import statsmodels.api as sm
from plotly.express import data
from scipy.stats import binom, poisson

from examples.vote_shares import CANDIDATES, log_dirichlet, simplex_grid
from models.mixture import distinct


class Problem(NamedTuple):
    """rows: distinct (datum, covariate) pairs, k of them. inverse: where each observation is among
    them. kernel: concentration -> kernel of a mixture. base: law of theta. log_k: concentration ->
    log densities of the rows at a grid of theta, (m, k). log_base: log masses of the grid.
    settings: (concentration, temperature) to choose from. sharpness: the concentrations alone.
    components: of finite mixtures, to choose from. parts: number of folds. rounds: of the thirds of
    a training set, how many are held out in turn to choose a setting."""

    name: str
    rows: tuple
    inverse: np.ndarray
    kernel: Callable[[Any], Callable[..., dist.Distribution]]
    base: dist.Distribution
    log_k: Callable[[float], np.ndarray]
    log_base: np.ndarray
    settings: list[tuple[float, float]]
    sharpness: tuple[float, ...]
    components: tuple[int, ...]
    parts: int
    rounds: int = 1

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """How often each distinct row occurs among some of the observations."""
        return np.bincount(self.inverse[mask], minlength=len(self.rows[0])).astype(float)

    def fold(self) -> np.ndarray:
        """Fold of each observation."""
        return np.random.default_rng(0).permutation(len(self.inverse)) % self.parts

    def inner(self) -> np.ndarray:
        """Third of a training set that each observation is in, for choosing settings."""
        return np.random.default_rng(1).permutation(len(self.inverse)) % 3


def visits() -> Problem:
    z = sm.datasets.randhie.load_pandas().data["mdvis"].to_numpy(float)
    rows, _, inverse = distinct((z, None))
    base = dist.Exponential(1 / 12)
    grid = np.r_[0.001, np.arange(1, 801) * 0.1]
    log_k = poisson.logpmf(rows[0], grid[:, None])
    return Problem(
        name="doctor visits",
        rows=rows,
        inverse=inverse,
        kernel=lambda _: dist.Poisson,
        base=base,
        log_k=lambda _: log_k,
        log_base=np.asarray(base.log_prob(grid), float),
        settings=[(0.0, tau) for tau in (1e-2, 1e-3, 1e-4)],
        sharpness=(0.0,),
        components=(4, 8, 12),
        parts=5,
    )


def shares() -> Problem:
    votes = data.election()[list(CANDIDATES)].to_numpy(float)
    rows, _, inverse = distinct((votes / votes.sum(axis=1, keepdims=True), None))
    grid = simplex_grid(20)
    concentrations = (40.0, 80.0, 160.0, 320.0)
    return Problem(
        name="vote shares",
        rows=rows,
        inverse=inverse,
        kernel=lambda concentration: lambda theta: dist.Dirichlet(concentration * theta),
        base=dist.Dirichlet(np.ones(3)),
        log_k=lambda concentration: log_dirichlet(grid, rows[0], concentration),
        log_base=np.zeros(len(grid)),
        settings=[(c, tau) for c in concentrations for tau in (1.0, 0.3, 0.1, 0.03)],
        sharpness=concentrations,
        components=(2, 4, 8, 16),
        parts=5,
        rounds=3,
    )


def districts() -> Problem:
    table = sm.datasets.star98.load_pandas().data
    y = table["NABOVE"].to_numpy(float)
    trials = (table["NABOVE"] + table["NBELOW"]).to_numpy(float)
    rows, _, inverse = distinct((y, trials.astype(int)))
    grid = (np.arange(250) + 0.5) / 250
    log_k = binom.logpmf(*rows, grid[:, None])
    return Problem(
        name="district scores",
        rows=rows,
        inverse=inverse,
        kernel=lambda _: lambda theta, trials: dist.Binomial(trials, theta),
        base=dist.Uniform(0.0, 1.0),
        log_k=lambda _: log_k,
        log_base=np.zeros(len(grid)),
        settings=[(0.0, tau) for tau in (1.0, 0.3, 0.1, 0.03, 0.01)],
        sharpness=(0.0,),
        components=(16, 32, 64),
        parts=5,
    )


PROBLEMS = {"doctor visits": visits, "vote shares": shares, "district scores": districts}
