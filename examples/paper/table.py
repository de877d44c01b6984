"""The paper's first two experiments, step by step: mirror maps, discretisations, adjustment.

Every run is of fixed step h = temperature * eta, eta being the paper's step size, and is compared
with the exact minimiser from quadrature. "edge" is the share of particles within 0.001 of the
boundary. "refused" is the share of moves that were refused since they ended where something is not
finite: an implementation without that check has NaN from the first of them on.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.diagnostics import effective_sample_size

import mmfld_ppl as mm
from mmfld_ppl import distributions as convex
from mmfld_ppl import dynamics, mirrors

from .. import command
from .exact import Solution, simplex_mean_matching, spectraplex_matching
from .runs import Length, Method, Problem, default_map, projected, runner

TARGET = np.array([0.7, 0.2, 0.1])
DENSITY_MATRIX = np.array([[0.8, 0.2], [0.2, 0.2]])
GAMMA = 2.0


class Experiment(NamedTuple):
    """problem: without parameters; its statistics are coordinates, then their squares."""

    name: str
    problem: Problem
    temperature: float
    exact: Solution


class Run(NamedTuple):
    """A method at a step. eta: the paper's step size."""

    method: Method
    eta: float


class Row(NamedTuple):
    """A line of a table; mean, error and sd by coordinate."""

    problem: str
    method: str
    mean: np.ndarray
    error: np.ndarray | None
    sd: np.ndarray
    edge: float
    accepted: float
    collective_ratio: float
    refused: float


def experiment(
    name: str,
    base: dist.Distribution,
    functional: mm.functionals.Functional,
    coordinates: Callable[[Array], Array],
    temperature: float,
    exact: Solution,
) -> Experiment:
    def statistics(x: Array) -> Array:
        z = coordinates(x)
        return jnp.concatenate([z, jnp.square(z)])

    return Experiment(name, Problem(base, lambda _: functional, statistics), temperature, exact)


def simplex_problem(temperature: float, beta: float) -> Experiment:
    """F(mu) = |E x - q|^2 + beta E sum_i log(1/x_i) on the simplex of size 3."""
    return experiment(
        f"simplex, tau={temperature}, beta={beta}",
        dist.Dirichlet(jnp.ones(3)),
        mm.functionals.OfMean(
            outer=lambda m: jnp.sum(jnp.square(m - TARGET.astype(np.float32))),
            potential=lambda x: -beta * jnp.sum(jnp.log(x)),
        ),
        lambda x: x,
        temperature,
        simplex_mean_matching(TARGET, temperature, beta),
    )


def spectraplex_problem(temperature: float) -> Experiment:
    """F(mu) = |E X - S|_F^2 / 2 + E|X|_F^2 / (2 gamma) on the spectraplex, real 2 x 2."""
    return experiment(
        f"spectraplex 2x2, tau={temperature}",
        convex.UniformSpectraplex(2),
        mm.functionals.OfMean(
            outer=lambda m: 0.5 * jnp.sum(jnp.square(m - DENSITY_MATRIX.astype(np.float32))),
            potential=lambda x: jnp.sum(jnp.square(x)) / (2 * GAMMA),
        ),
        lambda x: jnp.stack([x[0, 0] - 0.5, x[0, 1]]),
        temperature,
        spectraplex_matching(DENSITY_MATRIX, temperature, GAMMA),
    )


def simplex_runs(base: dist.Distribution, eta: float) -> list[Run]:
    entropy, barrier = mirrors.EntropySimplex(), dynamics.Mirror(default_map(base))
    methods = [
        Method("entropy, one-step", dynamics.Mirror(entropy)),
        Method("entropy, 8 sub-steps", dynamics.Mirror(entropy, 8)),
        Method("entropy, exact diffusion", dynamics.Mirror(entropy, "exact")),
        Method("log barrier", barrier),
        Method("log barrier, adjusted", barrier, metropolize=True),
        Method("projected", projected(base)),
    ]
    return [Run(method, eta) for method in methods]


def spectraplex_runs(base: dist.Distribution, eta: float) -> list[Run]:
    barrier = dynamics.Mirror(default_map(base))
    methods = [
        Method("von Neumann, one-step", dynamics.Mirror(mirrors.VonNeumannSpectraplex())),
        Method("log det", barrier),
        Method("log det, adjusted", barrier, metropolize=True),
        Method("projected", projected(base)),
    ]
    return [Run(method, eta) for method in methods]


def adjustment_runs(base: dist.Distribution) -> list[Run]:
    barrier = dynamics.Mirror(default_map(base))
    return [
        Run(Method(f"log barrier, {'adjusted' if adjust else 'unadjusted'}", barrier, adjust), eta)
        for eta in (2.0, 8.0)
        for adjust in (False, True)
    ]


def measure(of: Experiment, run: Run, arguments: argparse.Namespace, particles: int) -> Row:
    """One run, `time` units of the dynamics to forget the start and as many to average over."""
    h = of.temperature * run.eta
    steps = max(int(arguments.time / h), arguments.least_steps)
    thinning = max(1, steps // 500)
    length = Length(steps, steps // thinning, thinning)
    go = runner(of.problem, run.method, particles, particles, length)

    def every(value: Any) -> np.ndarray:
        return np.full(arguments.chains, value)

    keys = jax.random.split(jax.random.key(arguments.seed), arguments.chains)
    kept = go(every(of.temperature), jnp.zeros(arguments.chains), every(h), every(particles), keys)
    z, squares = np.split(kept.statistics[:, :, 0].astype(float), 2, axis=-1)
    mean = z.mean(axis=(0, 1))
    return Row(
        of.name,
        f"{run.method.name}, eta={run.eta:g}",
        mean,
        np.sqrt(z.var(axis=(0, 1)) / effective_sample_size(z)),
        np.sqrt(squares.mean(axis=(0, 1)) - mean**2),
        *(
            float(np.mean(leaf))
            for leaf in (kept.edge, kept.accepted, kept.collective_ratio, kept.refused)
        ),
    )


def exact_row(of: Experiment) -> Row:
    mu = of.exact
    return Row(of.name, "exact", mu.mean, None, mu.sd, 0.0, 1.0, 0.0, 0.0)


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    width = max(len(row.method) for row in rows)
    for row in rows:
        numbers = " ".join(f"{v:6.4f}" for v in row.mean)
        spread = " ".join(f"{v:5.3f}" for v in row.sd)
        line = f"  {row.method:<{width}}  mean {numbers}  sd {spread}"
        if row.error is not None:
            line += (
                f"  +- {row.error.max():.4f}  edge {row.edge:5.1%}  accepted {row.accepted:4.0%}"
                f"  r {row.collective_ratio:5.2f}  refused {row.refused:.3%}"
            )
        print(line, flush=True)


def save(path: pathlib.Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        for row in rows:
            writer.writerow(" ".join(map(str, v)) if isinstance(v, np.ndarray) else v for v in row)
    print(f"\nThe rows are in {path}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper table", __doc__)
    parser.add_argument("--particles", type=int, default=1000, help="N in the first table")
    parser.add_argument("--chains", type=int, default=2, help="independent replicates")
    parser.add_argument("--time", type=float, default=10.0, help="h times steps, before and after")
    parser.add_argument(
        "--least-steps", type=int, default=1000, help="steps of each half, at least"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.time, arguments.least_steps = 100, 1.0, 200
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    n = arguments.particles
    mild, strong = simplex_problem(0.05, 0.0), simplex_problem(0.1, 0.1)
    matrices = spectraplex_problem(0.1)
    tables = [
        (mild, simplex_runs(mild.problem.base, 0.02), n),
        (strong, simplex_runs(strong.problem.base, 0.1), n),
        (matrices, spectraplex_runs(matrices.problem.base, 0.1), n),
        (strong, adjustment_runs(strong.problem.base), 100),
    ]
    everything = []
    for of, runs, particles in tables:
        rows = [exact_row(of), *(measure(of, run, arguments, particles) for run in runs)]
        show(f"{of.name}, N={particles}", rows)
        everything += rows
    save(arguments.out / "paper_table.csv", everything)
