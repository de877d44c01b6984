"""The paper's first two experiments, step by step: mirror maps, discretisations, adjustment.

Every run is of fixed step h = temperature * eta, eta being the paper's step size, and is compared
with the exact minimiser from quadrature. "edge" is the share of particles within 0.001 of the
boundary. "refused" is the share of moves that were refused since they ended where something is not
finite: an implementation without that check has NaN from the first of them on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import xarray as xr
from jaxtyping import Array
from numpyro.diagnostics import effective_sample_size

import mmfld_ppl as mm
from mmfld_ppl import distributions as convex
from mmfld_ppl import dynamics, mirrors
from mmfld_ppl.plots.style import COLOURS, bare

from .. import command
from .exact import Solution, simplex_mean_matching, spectraplex_matching
from .runs import Length, Method, Problem, default_map, projected, runner

TARGET = np.array([0.7, 0.2, 0.1])
DENSITY_MATRIX = np.array([[0.8, 0.2], [0.2, 0.2]])
GAMMA = 2.0


class Experiment(NamedTuple):
    """problem: without parameters; its statistics are coordinates, then their squares.
    coordinates: their names."""

    name: str
    problem: Problem
    temperature: float
    exact: Solution
    coordinates: tuple[str, ...]


class Run(NamedTuple):
    """A method at a step. eta: the paper's step size."""

    method: Method
    eta: float


class Row(NamedTuple):
    """A line of a table; mean, its standard error, and sd by coordinate."""

    problem: str
    particles: int
    method: str
    mean: np.ndarray
    error: np.ndarray
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
    names: tuple[str, ...],
) -> Experiment:
    def statistics(x: Array) -> Array:
        z = coordinates(x)
        return jnp.concatenate([z, jnp.square(z)])

    return Experiment(
        name, Problem(base, lambda _: functional, statistics), temperature, exact, names
    )


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
        ("$x_1$", "$x_2$", "$x_3$"),
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
        ("$(X_{11} - X_{22})/2$", "$X_{12}$"),
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
    # Of a short run, the estimate of an effective size may be below zero.
    error_sq = z.var(axis=(0, 1)) / effective_sample_size(z)
    return Row(
        of.name,
        particles,
        f"{run.method.name}, eta={run.eta:g}",
        mean,
        np.sqrt(np.where(error_sq >= 0, error_sq, np.nan)),
        np.sqrt(squares.mean(axis=(0, 1)) - mean**2),
        *(
            float(np.mean(leaf))
            for leaf in (kept.edge, kept.accepted, kept.collective_ratio, kept.refused)
        ),
    )


def exact_row(of: Experiment, particles: int) -> Row:
    mu = of.exact
    error = np.zeros_like(mu.mean)
    return Row(of.name, particles, "exact", mu.mean, error, mu.sd, 0.0, 1.0, 0.0, 0.0)


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    width = max(len(row.method) for row in rows)
    for row in rows:
        numbers = " ".join(f"{v:6.4f}" for v in row.mean)
        spread = " ".join(f"{v:5.3f}" for v in row.sd)
        line = f"  {row.method:<{width}}  mean {numbers}  sd {spread}"
        if row.method != "exact":
            line += (
                f"  +- {row.error.max():.4f}  edge {row.edge:5.1%}  accepted {row.accepted:4.0%}"
                f"  r {row.collective_ratio:5.2f}  refused {row.refused:.3%}"
            )
        print(line, flush=True)


def dataset(rows: Sequence[Row]) -> xr.Dataset:
    """A line of a table each, with the dimensions row and coordinate; coordinates that a problem
    does not have are NaN."""

    def padded(values: Sequence[np.ndarray]) -> np.ndarray:
        most = max(map(len, values))
        return np.stack([np.pad(v, (0, most - len(v)), constant_values=np.nan) for v in values])

    columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
    labels = {name: ("row", list(columns.pop(name))) for name in ("problem", "method")}
    return xr.Dataset(
        {
            name: (("row", "coordinate"), padded(values))
            if name in ("mean", "error", "sd")
            else ("row", np.asarray(values))
            for name, values in columns.items()
        },
        labels,
    )


def draw(tables: Sequence[tuple[Experiment, list[Row]]]) -> Any:
    """A panel a table: the means of each method with their errors, on lines at the exact ones."""
    figure, axes = plt.subplots(2, 2, figsize=(10.4, 5.0), layout="constrained")
    for ax, (of, (exact, *rows)) in zip(axes.flat, tables, strict=True):
        places = np.arange(len(rows))
        for k, name in enumerate(of.coordinates):
            style = {"color": COLOURS[k], "marker": "os^"[k], "ms": 4.5, "ls": "", "capsize": 2}
            ax.axvline(exact.mean[k], color=COLOURS[k], lw=1)
            values, errors = [r.mean[k] for r in rows], [2 * r.error[k] for r in rows]
            ax.errorbar(values, places, xerr=errors, label=name, **style)
        labels = [row.method.replace("eta", r"$\eta$") for row in rows]
        ax.set_yticks(places, labels, fontsize=8)
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="mean; lines are exact")
        ax.set_title(f"{of.name}, N={rows[0].particles}".replace("tau", r"$\tau$"), fontsize=9)
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        bare(ax)
    return figure


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
    found = []
    for of, runs, particles in tables:
        rows = [exact_row(of, particles), *(measure(of, run, arguments, particles) for run in runs)]
        show(f"{of.name}, N={particles}", rows)
        found.append((of, rows))
    everything = dataset([row for _, rows in found for row in rows])
    command.save(everything, draw(found), arguments.out / "paper_table", dpi=100)
