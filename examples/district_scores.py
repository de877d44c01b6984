"""Pupils above the national median in 303 districts, as a mixture of binomial laws.

California's mathematics scores of 1998 (statsmodels `star98`): of the pupils of a district, how
many are above the national median. The success rates follow an unknown measure on the unit
interval, and each district has its own number of pupils. Prints the diagnostics, and what the
estimate does to a district's own rate; saves the run (NetCDF) and a figure.

--data FILE takes data of your own: columns `successes` and `trials`, counts, one row a district.
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from scipy.special import logsumexp
from scipy.stats import binom

from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots import certificate, mixing_distribution, shrinkage
from mmfld_ppl.plots.style import REFERENCE, legend_above
from models.npmle import entropic, maximum_likelihood

from .command import save
from .mixtures import columns, fit, parse, parser, report

GRID = (np.arange(500) + 0.5) / 500


def successes(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Pupils above the median, and all pupils."""
    if arguments.data:
        above, trials = columns(arguments.data, "successes", "trials")
        return above, trials
    import statsmodels.api as sm

    table = sm.datasets.star98.load_pandas().data
    return table["NABOVE"].to_numpy(float), (table["NABOVE"] + table["NBELOW"]).to_numpy(float)


def kernel(theta: Any, trials: Any) -> dist.Distribution:
    return dist.Binomial(trials, theta)


def draw(idata: Any, y: np.ndarray, trials: np.ndarray, best: Any) -> Any:
    figure, (measure, slope, means) = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    mixing_distribution(idata, ax=measure, label="particles")
    measure.step(GRID, np.cumsum(best.weights), where="post", color=REFERENCE, lw=1, label="NPMLE")
    measure.set(xlabel=r"rate $\theta$")
    legend_above(measure)
    certificate(idata, ax=slope)
    slope.set(xlabel=r"rate $\theta$", ylim=(-1.05, 0.35))
    slope.set_ylabel(r"$D(\theta)$, slope of the log-likelihood")
    shrinkage(idata, y / trials, ax=means)
    means.set(xlabel="share above the median", ylabel=r"$E[\theta \mid y]$")
    return figure


def main() -> None:
    options = parser(
        "district_scores",
        __doc__ or "",
        "columns 'successes' and 'trials', counts",
        temperature=1e-2,
    )
    arguments = parse(options)
    y, trials = successes(arguments)
    base = dist.Uniform(0.0, 1.0)
    log_k = binom.logpmf(y, trials, GRID[:, None])
    best = maximum_likelihood(log_k)
    exact = entropic(log_k, np.zeros(len(GRID)), arguments.temperature, masses=True)
    n = len(y)
    print(f"{n} districts of {int(trials.min())} to {int(trials.max())} pupils")
    print(f"log-likelihood of the best mixing measure on a grid: {-n * best.loss:.3f}")
    print(f"of the minimiser at tau = {arguments.temperature:g}: {-n * exact.loss:.3f}")
    model = {
        "data": y,
        "kernel": kernel,
        "base": base,
        "covariates": trials.astype(int),
        "masses": dist.Exponential(1.0),
    }
    idata = fit(arguments, model, theta_grid=GRID[::2])
    report(idata, n)
    posterior = dataset(idata, "empirical_bayes")["theta"]
    log_w = np.log(exact.weights) + log_k.T
    on_grid = np.exp(log_w - logsumexp(log_w, axis=1, keepdims=True)) @ GRID
    rows = np.argsort(y / trials)[[0, n // 4, n // 2, 3 * n // 4, -1]]
    print("\n  above / pupils   share   posterior mean     sd   of the minimiser on the grid")
    for i in rows:
        here = posterior.isel(observation=i)
        print(
            f"{y[i]:7.0f} / {trials[i]:<7.0f} {y[i] / trials[i]:6.4f} {here.mean():16.4f} "
            f"{here.std():7.4f} {on_grid[i]:13.4f}"
        )
    save(idata, draw(idata, y, trials, best), arguments.out / "district_scores", dpi=110)


if __name__ == "__main__":
    main()
