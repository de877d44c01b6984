"""Other problems that the paper names, each beside an exact solution.

Tensor decomposition, deconvolution of spikes, discrepancies by a kernel and by Stein's operator,
and entropic optimal transport: small models of `models/`. The minimiser at the temperature of each
run is computed by quadrature, and means under particles are compared with it; z is the difference
in standard errors. Prints the table, and what the low-temperature limits are compared with; saves
the runs (NetCDF) and a figure with a panel a problem.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from numpyro.infer import init_to_sample

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset

from ... import command
from .deconvolution import spikes_problem
from .discrepancies import mmd_problem, stein_problem
from .figure import draw
from .problem import Problem, compare, points_of
from .tensors import recover, tensor_problem
from .transport import transport_problem

PROBLEMS = (tensor_problem, spikes_problem, mmd_problem, stein_problem, transport_problem)
#: Those with interactions of all pairs take half as many particles.
PAIRWISE = ("MMD", "KSD", "transport")


def run(problem: Problem, arguments: argparse.Namespace) -> Any:
    print(f"\n{problem.name}", end="")
    # From draws of the base: uniform points of a chart lie on the rim of a ball.
    kernel = mm.MMFLD(problem.model, init_strategy=init_to_sample)
    particles = arguments.particles // (2 if problem.name in PAIRWISE else 1)
    mcmc = command.replicates(
        kernel, arguments, *problem.args, particles=particles, **problem.setting
    )
    idata = mm.to_inference_data(mcmc)
    stats = dataset(idata, "sample_stats")
    ratio, accepted = (
        stats["collective_ratio"].mean().item(),
        stats["acceptance_rate"].mean().item(),
    )
    print(f"  accepted {accepted:.0%}, collective ratio {ratio:.2f}")
    for note in problem.notes:
        print(f"  {note}")
    print("  statistic      mean     error     exact      z")
    for row in compare(problem, points_of(idata, problem)):
        print(
            f"  {row.statistic:<10} {row.mean:8.4f}  {row.error:8.4f}"
            f"  {row.exact:8.4f} {row.z:6.1f}"
        )
    return idata


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper problems", __doc__)
    parser.add_argument("--particles", type=int, default=400, help="N; half of it for pairs")
    command.add_run_options(parser, warmup=400, samples=100, thinning=20, chains=8)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.warmup, arguments.samples = 50, 50, 40
        arguments.chains = 4
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    problems = [make() for make in PROBLEMS]
    runs = [run(problem, arguments) for problem in problems]
    recovered = recover(arguments)
    for problem, idata in zip(problems, runs, strict=True):
        path = arguments.out / f"paper_problems_{problem.name.lower()}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        idata.to_netcdf(path, engine="h5netcdf")
    figure = draw(problems, runs, recovered)
    figure.savefig(arguments.out / "paper_problems.png", dpi=100)
    print(f"\nThe runs are in {arguments.out}/paper_problems_*.nc, the figure beside them")
