"""Experiment 3, every method with its step tuned: XOR with noise, neurons in a ball.

Adjusted mirror dynamics, algorithm 1 of the paper, and projected dynamics with and without a
barrier spend the same number of gradients from the same law of starting points. The score is the
free energy L = F + tau KL(mu | uniform) of the ensembles of the second half, the divergence being
estimated from nearest neighbours among the last neurons of all ensembles. "edge" is the share of
neurons within 0.001 of the boundary, where a law that has a density has next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import mmfld_ppl as mm
from mmfld_ppl import dynamics
from mmfld_ppl.diagnostics import free_energy, unconstrained
from mmfld_ppl.plots import style

from .. import command
from .compare import Candidate, Cell, Found, Score, compare, conclude, options
from .looks import legend_under, look, number_axis
from .runs import Method, Problem, default_map, projected, with_burn_in
from .xor import xor

BASE = mm.distributions.UniformBall(4)
BARRIER = 0.1
#: Into which the champion divides its neurons after a burn-in.
PARTS = 8
CHAMPION = "adjusted"


def candidates() -> list[Candidate]:
    barrier = default_map(BASE)
    mirror = dynamics.Mirror(barrier)
    return [
        Candidate(Method(CHAMPION, mirror, True), 1.0, (with_burn_in(barrier, PARTS),)),
        Candidate(Method("algorithm 1", mirror), 1.0),
        Candidate(Method("projected", projected(BASE)), 0.01),
        Candidate(Method("projected, barrier", projected(BASE, BARRIER)), 0.01),
    ]


def risk(x: np.ndarray, z: np.ndarray, scale: float) -> mm.functionals.OfMean:
    """That of `models.two_layer`, the output at all inputs being one mean."""
    inputs, labels = jnp.asarray(x, jnp.float32), jnp.asarray(z, jnp.float32)
    return mm.functionals.OfMean(
        outer=lambda m: jnp.mean(jax.nn.softplus(-labels * scale * m)),
        feature=lambda neuron: neuron[0] * jax.nn.relu(inputs @ neuron[2:] + neuron[1]),
    )


def problem(functional: mm.functionals.OfMean) -> Problem:
    """Without parameters; of a neuron its second-layer weight is kept."""
    return Problem(BASE, lambda _: functional, lambda neuron: neuron[:1])


def score(tau: float) -> Score:
    """F + tau KL by ensemble; the divergence is that of the neurons of all of them."""

    def of(found: Found) -> tuple[np.ndarray, float]:
        points = jnp.asarray(found.last.reshape(-1, 4))
        z, log_det = jax.vmap(lambda x: unconstrained(BASE.support, x))(points)
        log_base = np.asarray(jax.vmap(BASE.log_prob)(points) + log_det, float)
        divergence = free_energy(0.0, tau, np.asarray(z, float), log_base).divergence
        return found.objective + tau * divergence, divergence

    return of


def show(data: xr.Dataset) -> None:
    def pair(values: xr.DataArray) -> str:
        error = values.std(ddof=1) / np.sqrt(values.size)
        return f"{values.mean().item():8.4f} +- {error.item():.4f}"

    for size in data["particles"].values:
        print(f"\nN={size}{'':<17}risk F{'':<14}F + tau KL{'':<9}edge      KL  accepted      h")
        for name in data["method"].values:
            row = data.sel({"method": name, "particles": size})
            last = "*" if row["step"].item() in row["grid"].values[[0, -1]] else " "
            print(
                f"  {name:<18} {pair(row['objective'])}  {pair(row['gap'])}"
                f"  {row['edge'].item():6.1%}  {row['divergence'].item():6.3f}"
                f"  {row['accepted'].item():8.0%}  {row['step'].item():7.1e}{last}"
                + (f"  {setting}" if (setting := row["setting"].item()) != name else "")
            )
    print("\n* the step is the first or the last of its grid")


def draw(data: xr.Dataset) -> Any:
    figure, (energy, rim) = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    for name in data["method"].values:
        some = data.sel({"method": name})
        error = some["gap"].std("replicate", ddof=1) / np.sqrt(some.sizes["replicate"])
        energy.errorbar(
            some["particles"],
            some["gap"].mean("replicate"),
            2 * error,
            capsize=2,
            **look(name),
        )
        rim.plot(some["particles"], some["edge"], **look(name))
    for ax in (energy, rim):
        number_axis(ax, data["particles"].values, "neurons $N$")
        style.bare(ax)
    energy.set_ylabel(r"$F + \tau\,\mathrm{KL}$, nats of the loss")
    rim.set_ylabel("share of neurons on the rim")
    legend_under(figure, energy, 5)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    p = command.parser("paper xor_methods", __doc__)
    options(p, gradients=1000)
    p.add_argument("--count", type=int, default=200, help="points to train with")
    p.add_argument("--noise", type=float, default=0.1, help="share of their labels flipped")
    p.add_argument("--scale", type=float, default=30.0, help="how large outputs may be")
    p.add_argument("--temperature", type=float, default=3e-3, help="nats of the loss")
    arguments = p.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.gradients, arguments.seeds = [64], 60, 3
    x, z = xor(np.random.default_rng(arguments.seed), arguments.count, arguments.noise)
    here, tau = problem(risk(x, z, arguments.scale)), arguments.temperature
    cell = Cell(f"XOR, tau={tau:g}", tau, jnp.zeros(()), score(tau))
    data = compare(here, [cell], candidates(), arguments, arguments.gradients)
    alone = data.isel(cell=0)
    show(alone)
    conclude(data, CHAMPION)
    command.save(data, draw(alone), arguments.out / "paper_xor_methods", dpi=110)
