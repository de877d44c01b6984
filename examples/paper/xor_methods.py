"""Experiment 3, every method with its step tuned: XOR with noise, neurons in a ball.

Adjusted mirror dynamics, algorithm 1 of the paper, and projected dynamics with and without a
barrier spend the same number of gradients from the same starting points. The score is the free
energy L = F + tau KL(mu | uniform) of the ensembles of the second half, the divergence being
estimated from nearest neighbours among the neurons of all seeds. "rim" is the share of neurons
within 0.001 of the boundary, where a law that has a density has next to nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl import dynamics
from mmfld_ppl.diagnostics import free_energy, unconstrained
from mmfld_ppl.plots import style

from .. import command
from .runs import EDGE, Method, default_map, projected
from .xor import xor

BASE = mm.distributions.UniformBall(4)
BARRIER = 0.1
#: Ensembles of the second half that are kept of a run.
DRAWS = 5


class Candidate(NamedTuple):
    """A method, and the steps h that it is tried with."""

    method: Method
    grid: tuple[float, ...]


class Ensembles(NamedTuple):
    """risk: F, averaged over the second half, by seed. particles: (seed, draw, N, 4)."""

    risk: np.ndarray
    particles: np.ndarray
    accepted: float

    def free_energy(self, tau: float) -> tuple[np.ndarray, float]:
        """By seed, and the divergence, which is that of the neurons of all seeds at one draw."""
        points = self.particles[:, -1].reshape(-1, 4)
        z, log_det = jax.vmap(lambda x: unconstrained(BASE.support, x))(jnp.asarray(points))
        log_base = np.asarray(jax.vmap(BASE.log_prob)(jnp.asarray(points)) + log_det, float)
        found = free_energy(0.0, tau, np.asarray(z, float), log_base)
        return self.risk + found.value, found.divergence

    @property
    def rim(self) -> np.ndarray:
        """Share of the neurons near the boundary, by seed."""
        slack = 1 - np.linalg.norm(self.particles.astype(float), axis=-1)
        return (slack < EDGE).mean(axis=(1, 2))


def candidates() -> list[Candidate]:
    barrier = dynamics.Mirror(default_map(BASE))
    long, short = (0.06, 0.025, 0.01, 0.004, 0.0015), (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
    return [
        Candidate(Method("adjusted", barrier, True), long),
        Candidate(Method("algorithm 1", barrier), long),
        Candidate(Method("projected", projected(BASE)), short),
        Candidate(Method("projected, barrier", projected(BASE, BARRIER)), short),
    ]


def risk(x: np.ndarray, z: np.ndarray, scale: float) -> mm.functionals.OfMean:
    """That of `models.two_layer`, the output at all inputs being one mean."""
    inputs, labels = jnp.asarray(x, jnp.float32), jnp.asarray(z, jnp.float32)
    return mm.functionals.OfMean(
        outer=lambda m: jnp.mean(jax.nn.softplus(-labels * scale * m)),
        feature=lambda neuron: neuron[0] * jax.nn.relu(inputs @ neuron[2:] + neuron[1]),
    )


def runner(
    functional: mm.functionals.OfMean, method: Method, tau: float, size: int, gradients: int
) -> Callable[[Array, float], tuple[Array, Array, Array]]:
    """(key, h) -> risk, kept particles and acceptance; compiled once."""
    steps = gradients // method.gradients
    thinning = max(1, steps // (2 * DRAWS))
    field = dynamics.FunctionalField(functional)

    @jax.jit
    def run(key, h):
        langevin = dynamics.MeanFieldLangevin(
            field, method.transition, h, tau, metropolize=method.metropolize
        )

        def step(state, key):
            state, info = langevin.step(key, state)
            return state, (state.frozen.value, info.accept_prob)

        def keep(state, key):
            state, seen = jax.lax.scan(step, state, jax.random.split(key, thinning))
            return state, (*jax.tree.map(jnp.mean, seen), state.particles)

        start, key = jax.random.split(key)
        state = langevin.init(BASE.sample(start, (size,)), start)
        value, accepted, x = jax.lax.scan(keep, state, jax.random.split(key, 2 * DRAWS))[1]
        return jnp.mean(value[DRAWS:]), x[DRAWS:], jnp.mean(accepted[DRAWS:])

    return run


def ensembles(run: Callable, h: float, seeds: int, first: int) -> Ensembles:
    keys = [jax.random.key(first + k) for k in range(seeds)]
    value, particles, accepted = zip(
        *(jax.tree.map(np.asarray, run(key, jnp.float32(h))) for key in keys), strict=True
    )
    return Ensembles(np.array(value, float), np.stack(particles), float(np.mean(accepted)))


def compare(arguments: argparse.Namespace) -> xr.Dataset:
    x, z = xor(np.random.default_rng(arguments.seed), arguments.count, arguments.noise)
    functional, tau = risk(x, z, arguments.scale), arguments.temperature
    parts: list[xr.Dataset] = []
    for candidate in candidates():
        method, begin = candidate.method, time.perf_counter()
        h, tried, rows = float("nan"), [], []
        for size in sorted(arguments.sizes, key=lambda n: n != arguments.tuned_at):
            run = runner(functional, method, tau, size, arguments.gradients)
            if np.isnan(h):
                tried = [
                    ensembles(run, h, arguments.tuning_seeds, 1000).free_energy(tau)[0].mean()
                    for h in candidate.grid
                ]
                h = candidate.grid[int(np.nanargmin(tried))]
            found = ensembles(run, h, arguments.seeds, arguments.seed)
            value, divergence = found.free_energy(tau)
            rows.append((size, found.risk, value, found.rim, divergence, found.accepted))
        rows.sort(key=lambda row: row[0])
        names = ("risk", "free_energy", "rim", "divergence", "accepted")
        dims = {1: ("particles",), 2: ("particles", "seed")}
        columns = [np.array(column) for column in list(zip(*rows, strict=True))[1:]]
        parts.append(
            xr.Dataset(
                {name: (dims[c.ndim], c) for name, c in zip(names, columns, strict=True)},
                {"particles": [row[0] for row in rows]},
            ).assign(step=h, tuning=("trial", tried), grid=("trial", list(candidate.grid)))
        )
        print(f"  {method.name:<20} {time.perf_counter() - begin:4.0f} s", flush=True)
    names = xr.DataArray([c.method.name for c in candidates()], dims="method", name="method")
    return xr.concat(parts, names, data_vars="all")


def show(data: xr.Dataset) -> None:
    def pair(values: xr.DataArray) -> str:
        error = values.std(ddof=1) / np.sqrt(values.size)
        return f"{values.mean().item():8.4f} +- {error.item():.4f}"

    for size in data["particles"].values:
        print(f"\nN={size}{'':<17}risk F{'':<14}F + tau KL{'':<10}rim      KL  accepted      h")
        for name in data["method"].values:
            row = data.sel({"method": name, "particles": size})
            edge = "*" if row["step"].item() in row["grid"].values[[0, -1]] else " "
            print(
                f"  {name:<18} {pair(row['risk'])}  {pair(row['free_energy'])}"
                f"  {row['rim'].mean().item():6.1%}  {row['divergence'].item():6.3f}"
                f"  {row['accepted'].item():8.0%}  {row['step'].item():7.1e}{edge}"
            )
    print("\n* the step is the first or the last of its grid")


def draw(data: xr.Dataset) -> Any:
    figure, (energy, rim) = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    for k, name in enumerate(data["method"].values):
        some = data.sel({"method": name})
        options = {"color": style.colour(k), "marker": "os^v"[k], "ms": 5, "capsize": 2}
        for ax, key in ((energy, "free_energy"), (rim, "rim")):
            values = some[key]
            error = values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
            ax.errorbar(some["particles"], values.mean("seed"), 2 * error, label=name, **options)
    for ax in (energy, rim):
        ax.set_xscale("log", base=2)
        ax.set_xticks(data["particles"].values, [str(n) for n in data["particles"].values])
        ax.set_xlabel("neurons $N$")
        style.bare(ax)
    energy.set_ylabel(r"$F + \tau\,\mathrm{KL}$")
    rim.set_ylabel("share of neurons on the rim")
    figure.legend(
        *energy.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    p = command.parser("paper xor_methods", __doc__)
    p.add_argument("--count", type=int, default=200, help="points to train with")
    p.add_argument("--noise", type=float, default=0.1, help="share of their labels flipped")
    p.add_argument("--scale", type=float, default=30.0, help="how large outputs may be")
    p.add_argument("--temperature", type=float, default=3e-3, help="nats of the loss")
    p.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="N")
    p.add_argument("--tuned-at", type=int, default=512, help="N at which steps are chosen")
    p.add_argument("--gradients", type=int, default=1000, help="budget of each run")
    p.add_argument("--seeds", type=int, default=10, help="runs at the step chosen")
    p.add_argument("--tuning-seeds", type=int, default=3, help="runs at each step tried")
    arguments = p.parse_args(argv)
    if arguments.quick:
        arguments.sizes, arguments.tuned_at, arguments.gradients = [64], 64, 60
        arguments.seeds, arguments.tuning_seeds = 3, 2
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    data = compare(arguments)
    show(data)
    command.save(data, draw(data), arguments.out / "paper_xor_methods", dpi=110)
