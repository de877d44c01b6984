"""Shares of three candidates in 58 districts, as a mixture of Dirichlet laws on the simplex.

The 2013 election of the mayor of Montreal (plotly.express.data.election). A district's shares come
from Dirichlet(concentration * theta); the unknown is the measure of theta on the simplex. How sharp
the kernel is, and how much entropy the measure keeps, are chosen by held-out score, with mixing
measures on a grid. Prints the scores, saves the run (NetCDF) and a figure.

--data FILE takes data of your own: columns `a`, `b` and `c`, votes or shares of three, all
positive, one row a district.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import mpltern  # noqa: F401  for ternary axes
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Float
from scipy.special import gammaln, logsumexp

import mmfld_ppl as mm
from mmfld_ppl.plots.style import colour
from models.npmle import entropic, maximum_likelihood

from .command import save
from .mixtures import columns, fit, parse, parser, report

CANDIDATES = ("Coderre", "Bergeron", "Joly")
CONCENTRATIONS = (40.0, 80.0, 160.0, 320.0)
TEMPERATURES = (1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 10


def shares(arguments: argparse.Namespace) -> Float[np.ndarray, "n 3"]:
    if arguments.data:
        votes = np.stack(columns(arguments.data, "a", "b", "c"), axis=1)
    else:
        from plotly.express import data

        votes = data.election()[list(CANDIDATES)].to_numpy(float)
    return votes / votes.sum(axis=1, keepdims=True)


def simplex_grid(steps: int = 40) -> Float[np.ndarray, "m 3"]:
    """Centres of the cells of a triangular grid: all are inside."""
    pairs = [(i, j) for i in range(steps) for j in range(steps - i)]
    lower = np.array([(i + 1 / 3, j + 1 / 3) for i, j in pairs])
    upper = np.array([(i + 2 / 3, j + 2 / 3) for i, j in pairs if i + j < steps - 1])
    xy = np.concatenate([lower, upper]) / steps
    return np.c_[xy, 1 - xy.sum(axis=1)]


def log_dirichlet(theta: np.ndarray, z: np.ndarray, concentration: float) -> np.ndarray:
    """log Dirichlet(z | concentration theta), theta along the first axis."""
    a = concentration * theta
    constant = gammaln(concentration) - gammaln(a).sum(axis=1)
    return constant[:, None] + (a - 1) @ np.log(z).T


def held_out(
    z: np.ndarray, concentration: float, temperature: float, folds: int = FOLDS
) -> np.ndarray:
    """Log score of each district under the mixture fitted to the other folds."""
    grid = simplex_grid(25)
    log_k = log_dirichlet(grid, z, concentration)
    fold = np.random.default_rng(0).permutation(len(z)) % folds
    scores = np.empty(len(z))
    for k in range(folds):
        fitted = entropic(log_k[:, fold != k], np.zeros(len(grid)), temperature, masses=True)
        scores[fold == k] = logsumexp(log_k[:, fold == k], axis=0, b=fitted.weights[:, None])
    return scores


def choose(z: np.ndarray) -> tuple[float, float, dict[tuple[float, float], np.ndarray]]:
    """Concentration and temperature of the highest held-out score, and all of the scores."""
    pairs = itertools.product(CONCENTRATIONS, TEMPERATURES)
    scores = {pair: held_out(z, *pair) for pair in pairs}
    concentration, temperature = max(scores, key=lambda pair: scores[pair].mean())
    return concentration, temperature, scores


def kernel(concentration: float) -> Callable[[Any], dist.Distribution]:
    return lambda theta: dist.Dirichlet(concentration * theta)


def draw(idata: Any, z: np.ndarray, scores: dict[tuple[float, float], np.ndarray]) -> Any:
    figure, axes = plt.subplot_mosaic(
        [["triangle", "tuning"]],
        figsize=(9.4, 4.2),
        layout="constrained",
        per_subplot_kw={"triangle": {"projection": "ternary"}},
    )
    triangle, tuning = axes["triangle"], axes["tuning"]
    mm.plots.simplex(idata, site="theta", ax=triangle, labels=CANDIDATES)
    districts = z[:, [2, 0, 1]].T  # top, left, right
    triangle.plot(*districts, "x", ms=5, color="black", label="districts", zorder=5)
    triangle.legend(frameon=False, loc="upper left")
    for k, tau in enumerate(TEMPERATURES):
        means = [scores[c, tau].mean() for c in CONCENTRATIONS]
        tuning.plot(CONCENTRATIONS, means, "o-", ms=4, color=colour(k), label=rf"$\tau$ = {tau:g}")
    tuning.set(xscale="log", xlabel="concentration of the kernel", ylabel="held-out log score")
    tuning.set_xticks(CONCENTRATIONS, [f"{c:g}" for c in CONCENTRATIONS])
    tuning.minorticks_off()
    tuning.spines[["top", "right"]].set_visible(False)
    tuning.legend(frameon=False)
    return figure


def main() -> None:
    options = parser(
        "vote_shares",
        __doc__ or "",
        "columns 'a', 'b', 'c', votes or shares of three, all positive",
        temperature=0.0,
    )
    options.add_argument("--concentration", type=float, help="of the kernel; default: held-out")
    arguments = parse(options)
    z = shares(arguments)
    concentration, temperature, scores = choose(z)
    print(f"{len(z)} districts; mean held-out log score, {FOLDS} folds:")
    print("concentration" + "".join(f"  tau={tau:<8g}" for tau in TEMPERATURES))
    for c in CONCENTRATIONS:
        print(f"{c:13g}" + "".join(f"  {scores[c, tau].mean():<12.4f}" for tau in TEMPERATURES))
    concentration = arguments.concentration or concentration
    temperature = arguments.temperature or temperature
    print(f"\nconcentration {concentration:g}, tau = {temperature:g}")
    model = {
        "data": z,
        "kernel": kernel(concentration),
        "base": dist.Dirichlet(np.ones(3)),
        "masses": dist.Exponential(1.0),
    }
    idata = fit(arguments, model, temperature, theta_grid=simplex_grid(20))
    log_k = log_dirichlet(simplex_grid(), z, concentration)
    exact = entropic(log_k, np.zeros(log_k.shape[0]), temperature, masses=True)
    best = maximum_likelihood(log_k)
    print(f"log-likelihood of the best mixing measure on a grid: {-len(z) * best.loss:.3f}")
    print(f"of the minimiser: {-len(z) * exact.loss:.3f}")
    report(idata, len(z))
    save(idata, draw(idata, z, scores), arguments.out / "vote_shares", dpi=110)


if __name__ == "__main__":
    main()
