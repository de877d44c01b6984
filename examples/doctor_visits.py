"""Visits to a doctor in a year, as a mixture of Poisson laws over an unknown measure of rates.

The RAND health insurance experiment counted 20190 person-years (statsmodels `randhie`, column
`mdvis`). The mixing measure of the rates lives on the half-line, held by particles with masses, so
that the few people who saw a doctor every week are not lost. As the temperature falls, its
log-likelihood approaches the best that any mixture of Poisson laws has, which a convex solver finds
on a grid. Prints the gap against the temperature and saves the run at the lowest (NetCDF) and a
figure.

--data FILE takes counts of your own: a column `visits`, one row a person.
"""

from __future__ import annotations

import argparse
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
from scipy.stats import poisson

from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots import certificate, density_band, mixing_distribution, shrinkage
from mmfld_ppl.plots.style import REFERENCE, legend_above
from models.mixture import distinct
from models.npmle import GridMixture, entropic, maximum_likelihood

from .command import save
from .mixtures import columns, fit, parse, parser, report

TEMPERATURES = (1e-1, 1e-2, 1e-3)


def visits(arguments: argparse.Namespace) -> np.ndarray:
    if arguments.data:
        return columns(arguments.data, "visits")[0]
    import statsmodels.api as sm

    return sm.datasets.randhie.load_pandas().data["mdvis"].to_numpy(float)


def rates(counts: np.ndarray) -> np.ndarray:
    """A grid of rates in steps of .05, to a little beyond the largest count."""
    top = 0.05 * np.ceil(1.04 * counts.max() / 0.05)
    return np.r_[0.001, np.arange(0.05, top + 0.025, 0.05)]


def on_grid(
    data: np.ndarray, base: Any, temperatures: tuple[float, ...], masses: bool
) -> tuple[GridMixture, list[GridMixture]]:
    """The maximum likelihood estimator on the grid, and the minimiser at each temperature."""
    grid = rates(data)
    (values, _), counts, _ = distinct((data, None))
    log_k = poisson.logpmf(values, grid[:, None])
    log_base = np.asarray(base.log_prob(grid), float)
    tempered = [entropic(log_k, log_base, tau, counts, masses=masses) for tau in temperatures]
    return maximum_likelihood(log_k, counts), tempered


def draw(idata: Any, data: np.ndarray, best: GridMixture) -> Any:
    figure, ((measure, slope), (fitted, means)) = plt.subplots(
        2, 2, figsize=(9, 6.4), layout="constrained"
    )
    grid = rates(data)
    mixing_distribution(idata, ax=measure, label="particles")
    measure.step(grid, np.cumsum(best.weights), where="post", color=REFERENCE, lw=1, label="NPMLE")
    measure.set(xscale="log", xlim=(0.05, grid[-1]), xlabel=r"rate $\theta$, visits a year")
    legend_above(measure)
    certificate(idata, ax=slope)
    slope.set(xscale="log", xlim=(0.05, grid[-1]), xlabel=r"rate $\theta$, visits a year")
    slope.set_ylabel(r"$D(\theta)$, slope of the log-likelihood")
    # A thousandth of a nat an observation is seen, and so is the fall beyond the data.
    slope.set_yscale("symlog", linthresh=1e-3)
    slope.set_ylim(-1, 0.3)

    density = dataset(idata, "density")
    points = density["points"].values
    density_band(idata, ax=fitted)
    seen = np.bincount(data.astype(int), minlength=len(points))[: len(points)] / len(data)
    fitted.plot(points[seen > 0], seen[seen > 0], "o", ms=3, color="black", label="observed")
    one = poisson.pmf(points, data.mean())
    fitted.plot(points, one, color=REFERENCE, ls="--", lw=1.2, label="one Poisson law")
    fitted.set(
        yscale="log", ylim=(0.2 / len(data), 1), xlabel="visits in a year", ylabel="probability"
    )
    fitted.legend(frameon=False, fontsize="small")
    shrinkage(idata, data, ax=means)
    means.set(xlabel="visits in a year $z$", ylabel=r"$E[\theta \mid z]$, visits a year")
    return figure


def main() -> None:
    options = parser(
        "doctor_visits",
        __doc__ or "",
        "column 'visits', counts",
        temperature=1e-4,
        samples=2000,
        thinning=20,
    )
    options.add_argument("--equal", action="store_true", help="particles of equal mass")
    arguments = parse(options)
    data = visits(arguments)
    n, top = len(data), int(data.max())
    base = dist.Exponential(1 / (4 * max(data.mean(), 1e-3)))
    masses = None if arguments.equal else dist.Exponential(1.0)
    model = {"data": data, "kernel": dist.Poisson, "base": base, "masses": masses}
    ladder = [tau for tau in TEMPERATURES if tau > arguments.temperature]
    temperatures = (*ladder, arguments.temperature)
    best, tempered = on_grid(data, base, temperatures, not arguments.equal)
    print(f"{n} counts from {int(data.min())} to {top}, {len(np.unique(data))} distinct")
    print(f"log-likelihood of one Poisson law: {poisson.logpmf(data, data.mean()).sum():.2f}")
    print(f"of the best mixing measure on the grid: {-n * best.loss:.4f}\n")

    table, idata = [], None
    for tau, exact in zip(temperatures, tempered, strict=True):
        idata = fit(arguments, model, tau, grid=np.arange(top + 1.0), theta_grid=rates(data))
        stats = dataset(idata, "sample_stats")
        log_p = dataset(idata, "log_likelihood")["obs"].astype(float)
        gaps = -log_p.sum("observation") - n * best.loss
        spread = gaps.mean("draw").std().item() / np.sqrt(gaps.sizes["chain"])
        bound = n * stats["certificate"].mean().item()
        table.append((tau, n * (exact.loss - best.loss), gaps.mean().item(), spread, bound))
    print("\nHow much log-likelihood is missing from the best, in nats:")
    print("     tau   n tau   minimiser on the grid   particles     error   certificate")
    for tau, exact, gap, error, bound in table:
        print(f"{tau:8.0e} {n * tau:7.2f} {exact:23.3f} {gap:11.3f} {error:9.3f} {bound:13.2f}")
    report(idata, n)
    save(idata, draw(idata, data, best), arguments.out / "doctor_visits", dpi=110)


if __name__ == "__main__":
    main()
