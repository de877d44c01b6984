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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size

import mmfld_ppl as mm
from mmfld_ppl import distributions as convex
from mmfld_ppl import dynamics, mirrors
from mmfld_ppl.projections import projection

from .exact import Solution, simplex_mean_matching, spectraplex_matching

TARGET = np.array([0.7, 0.2, 0.1])
DENSITY_MATRIX = np.array([[0.8, 0.2], [0.2, 0.2]])
GAMMA = 2.0
EDGE = 1e-3


class Problem(NamedTuple):
    """An experiment: minimise functional + temperature * KL(mu | base).

    coordinates: of an array of points, as the table has them. slack: their distance from the
    boundary."""

    name: str
    functional: mm.functionals.Functional
    base: dist.Distribution
    temperature: float
    exact: Solution
    coordinates: Callable[[np.ndarray], np.ndarray]
    slack: Callable[[np.ndarray], np.ndarray]


class Run(NamedTuple):
    """A method at a step. eta: the paper's step size."""

    method: str
    eta: float
    transition: dynamics.Transition
    metropolize: bool = False


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


def simplex_problem(temperature: float, beta: float) -> Problem:
    """F(mu) = |E x - q|^2 + beta E sum_i log(1/x_i) on the simplex of size 3."""
    return Problem(
        f"simplex, tau={temperature}, beta={beta}",
        mm.functionals.OfMean(
            outer=lambda m: jnp.sum(jnp.square(m - TARGET.astype(np.float32))),
            potential=lambda x: -beta * jnp.sum(jnp.log(x)),
        ),
        dist.Dirichlet(jnp.ones(3)),
        temperature,
        simplex_mean_matching(TARGET, temperature, beta),
        coordinates=lambda x: x,
        slack=lambda x: x.min(axis=-1),
    )


def spectraplex_problem(temperature: float) -> Problem:
    """F(mu) = |E X - S|_F^2 / 2 + E|X|_F^2 / (2 gamma) on the spectraplex, real 2 x 2."""

    def disk(x: np.ndarray) -> np.ndarray:
        return np.stack([x[..., 0, 0] - 0.5, x[..., 0, 1]], axis=-1)

    return Problem(
        f"spectraplex 2x2, tau={temperature}",
        mm.functionals.OfMean(
            outer=lambda m: 0.5 * jnp.sum(jnp.square(m - DENSITY_MATRIX.astype(np.float32))),
            potential=lambda x: jnp.sum(jnp.square(x)) / (2 * GAMMA),
        ),
        convex.UniformSpectraplex(2),
        temperature,
        spectraplex_matching(DENSITY_MATRIX, temperature, GAMMA),
        coordinates=disk,
        slack=lambda x: 0.5 - np.linalg.norm(disk(x), axis=-1),
    )


def default_map(base: dist.Distribution) -> mirrors.MirrorMap:
    found = mirrors.mirror_map(base.support, base.event_shape)
    if found is None:
        raise ValueError(f"{base.support} has no mirror map")
    return found


def projected(base: dist.Distribution) -> dynamics.Projected:
    """The paper's baseline: a Euclidean step, then a projection."""
    project = projection(base.support, base.event_shape)
    return dynamics.Projected(project, default_map(base), jnp.zeros(()), inset=1e-4)


def simplex_runs(base: dist.Distribution, eta: float) -> list[Run]:
    entropy, barrier = mirrors.EntropySimplex(), dynamics.Mirror(default_map(base))
    return [
        Run("entropy, one-step", eta, dynamics.Mirror(entropy)),
        Run("entropy, 8 sub-steps", eta, dynamics.Mirror(entropy, 8)),
        Run("entropy, exact diffusion", eta, dynamics.Mirror(entropy, "exact")),
        Run("log barrier", eta, barrier),
        Run("log barrier, adjusted", eta, barrier, metropolize=True),
        Run("projected", eta, projected(base)),
    ]


def spectraplex_runs(base: dist.Distribution, eta: float) -> list[Run]:
    barrier = dynamics.Mirror(default_map(base))
    return [
        Run("von Neumann, one-step", eta, dynamics.Mirror(mirrors.VonNeumannSpectraplex())),
        Run("log det", eta, barrier),
        Run("log det, adjusted", eta, barrier, metropolize=True),
        Run("projected", eta, projected(base)),
    ]


def adjustment_runs(base: dist.Distribution) -> list[Run]:
    barrier = dynamics.Mirror(default_map(base))
    return [
        Run(f"log barrier, {'adjusted' if adjust else 'unadjusted'}", eta, barrier, adjust)
        for eta in (2.0, 8.0)
        for adjust in (False, True)
    ]


def measure(problem: Problem, run: Run, arguments: argparse.Namespace, particles: int) -> Row:
    """One run, `time` units of the dynamics to forget the start and as many to average over."""
    h = problem.temperature * run.eta
    steps = max(int(arguments.time / h), arguments.least_steps)
    thinning = max(1, steps // 500)
    field = dynamics.FunctionalField(problem.functional)
    langevin = dynamics.MeanFieldLangevin(
        field, run.transition, h, problem.temperature, metropolize=run.metropolize
    )

    def step(state, key):
        return langevin.step(key, state)

    def chain(key):
        key_start, key_forget, key_average = jax.random.split(key, 3)
        state = langevin.init(problem.base.sample(key_start, (particles,)), key_start)
        state, _ = jax.lax.scan(step, state, jax.random.split(key_forget, steps))

        def keep(state, key):
            state, info = jax.lax.scan(step, state, jax.random.split(key, thinning))
            return state, (state.particles, info)

        keys = jax.random.split(key_average, steps // thinning)
        return jax.lax.scan(keep, state, keys)[1]

    keys = jax.random.split(jax.random.key(arguments.seed), arguments.chains)
    x, info = jax.tree.map(np.asarray, jax.jit(jax.vmap(chain))(keys))
    z = problem.coordinates(x.astype(np.float64))
    means = z.mean(axis=2)
    error = np.sqrt(means.var(axis=(0, 1)) / effective_sample_size(means))
    ratio = info.collective_ratio
    return Row(
        problem.name,
        f"{run.method}, eta={run.eta:g}",
        z.mean(axis=(0, 1, 2)),
        error,
        z.std(axis=(0, 1, 2)),
        float(np.mean(problem.slack(x) < EDGE)),
        float(info.accept_prob.mean()),
        float(ratio[np.isfinite(ratio)].mean()),
        float(info.nonfinite.mean() / particles),
    )


def exact_row(problem: Problem) -> Row:
    mu = problem.exact
    return Row(problem.name, "exact", mu.mean, None, mu.sd, 0.0, 1.0, 0.0, 0.0)


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
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        for row in rows:
            writer.writerow(" ".join(map(str, v)) if isinstance(v, np.ndarray) else v for v in row)
    print(f"\nsaved {path}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.paper table",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--particles", type=int, default=1000, help="N in the first table")
    parser.add_argument("--chains", type=int, default=2, help="independent replicates")
    parser.add_argument("--time", type=float, default=10.0, help="h times steps, before and after")
    parser.add_argument(
        "--least-steps", type=int, default=1000, help="steps of each half, at least"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random keys")
    parser.add_argument("--out", type=pathlib.Path, default=None, help="a CSV file for the rows")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
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
        (mild, simplex_runs(mild.base, 0.02), n),
        (strong, simplex_runs(strong.base, 0.1), n),
        (matrices, spectraplex_runs(matrices.base, 0.1), n),
        (strong, adjustment_runs(strong.base), 100),
    ]
    everything = []
    for problem, runs, particles in tables:
        rows = [exact_row(problem), *(measure(problem, run, arguments, particles) for run in runs)]
        show(f"{problem.name}, N={particles}", rows)
        everything += rows
    if arguments.out is not None:
        save(arguments.out, everything)
