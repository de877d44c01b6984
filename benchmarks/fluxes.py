"""Uniform draws from a metabolic polytope, against hit-and-run in the same coordinates.

The fluxes of the core of E. coli (the textbook model of cobra): 95 reactions, of which the balances
of 72 metabolites leave 24 dimensions. Every sampler gets the coordinates of
`mm.constraints.polytope`, in which the polytope is neither long nor thin. `least range` is the
smallest share, over the fluxes, of the exact range by linear programming that the draws cover;
`outside` is how far they leave it, as a share. `worst z` compares the means with those of the
first row. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import arviz
import hopsy
import jax
import numpy as np
import numpyro
from cobra.flux_analysis import flux_variability_analysis
from numpyro.infer import NUTS

import mmfld_ppl as mm
from examples.metabolic_fluxes import polytope, read_network

from .posterior_problems import Problem
from .posteriors import CHAINS, Timed, of_kernel


def hit_and_run(support: Any, draws: int, thinning: int) -> tuple[np.ndarray, float]:
    """Coordinate hit-and-run of hopsy: fluxes by chain and draw, and seconds."""
    A, b, center, basis, rounding = (
        np.asarray(getattr(support, name), np.float64)
        for name in ("A", "b", "center", "basis", "rounding")
    )
    frame = basis @ rounding
    problem = hopsy.Problem(A @ frame, b - A @ center)
    start = np.zeros(frame.shape[1])
    chains = [
        hopsy.MarkovChain(problem, hopsy.UniformCoordinateHitAndRunProposal, starting_point=start)
        for _ in range(CHAINS)
    ]
    generators = [hopsy.RandomNumberGenerator(seed=i) for i in range(CHAINS)]
    hopsy.sample(chains, generators, n_samples=draws // 5, thinning=thinning)
    begin = time.process_time()
    _, states = hopsy.sample(chains, generators, n_samples=draws, thinning=thinning)
    return center + states @ frame.T, time.process_time() - begin


def row(name: str, x: np.ndarray, seconds: float, ranges: np.ndarray, other: Any) -> dict:
    """x: fluxes by chain and draw. ranges: least and greatest value of each. other: of a peer."""
    low, high = ranges.T
    width = high - low
    ess = np.array([arviz.ess(c, method="bulk") for c in np.moveaxis(x, -1, 0)])
    covered = (x.max((0, 1)) - x.min((0, 1))) / width
    beyond = np.maximum(low - x.min((0, 1)), x.max((0, 1)) - high) / width
    mean, error = moments(x)
    other_mean, other_error = moments(other)
    z = np.abs(mean - other_mean) / np.hypot(error, other_error)
    return {
        "sampler": name,
        "ESS/s": float(ess.min() / seconds),
        "ESS/draw": float(ess.min() / x.shape[0] / x.shape[1]),
        "us/draw": 1e6 * seconds / x.shape[0] / x.shape[1],
        "least range": float(covered.min()),
        "outside": float(max(beyond.max(), 0.0)),
        "worst z": float(z.max()),
    }


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ess = np.array([arviz.ess(c, method="mean") for c in np.moveaxis(x, -1, 0)])
    return x.mean((0, 1)), x.std((0, 1)) / np.sqrt(ess)


def run(samplers: tuple[str, ...] = ("MMFLD", "NUTS"), draws: int = 2000) -> list[dict]:
    network = read_network(None)
    extremes = flux_variability_analysis(network, fraction_of_optimum=0, processes=1)
    # In double precision: bounds of 1000 stand beside fluxes of thousandths.
    with jax.enable_x64(True):
        support, names = polytope(network, extremes)
        ranges, size = extremes.loc[names].to_numpy(), len(names)

        def model():
            numpyro.sample("v", numpyro.distributions.ImproperUniform(support, (), (size,)))

        problem = Problem("fluxes", model, (), lambda z: z["v"], np.zeros(size), draws=draws)
        walked, seconds = hit_and_run(support, draws, thinning=100)
        rows = [row("hopsy", walked, seconds, ranges, walked)]
        for name in samplers:
            kernel = {"MMFLD": mm.MMFLD, "NUTS": NUTS}[name]
            timed = Timed(problem, of_kernel(problem, model, kernel), seed=1)
            timed.draw()
            fluxes = timed.batches[0].swapaxes(0, 1)
            rows.append(row(name, fluxes, timed.seconds[0], ranges, walked))
    return rows


def main() -> None:
    from .__main__ import print_rows

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fluxes", description=__doc__)
    parser.add_argument("--samplers", nargs="*", default=["MMFLD", "NUTS"])
    parser.add_argument("--draws", type=int, default=2000)
    arguments = parser.parse_args()
    print_rows(run(tuple(arguments.samplers), arguments.draws))


if __name__ == "__main__":
    main()
