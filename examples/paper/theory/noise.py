"""Theorem 4.3: what minibatches add, sigma^2 being the variance of their slopes.

F(mu) = (1/n) sum_i (E_mu x - z_i)^2, mean matching with noisy targets z_i, is read through B of
its n terms at each step of Algorithm 1. All particles share the minibatch, so its noise moves their
mean, however many they are. Prints the variance of that mean in excess of a run with all data, and
what the linearised mean-field flow predicts,  h sigma^2 / (B tau^2)  times a constant.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from mmfld_ppl.functionals import EmpiricalRisk
from mmfld_ppl.plots.style import COLOURS, bare

from ... import command
from .flow import noise_response
from .matching import BARRIER, Matching, minimiser
from .simulate import mean_and_error, replicates, table

MATCHING = Matching(repulsion=0.06)
BATCHES, STEPS = (1, 4, 16), (0.04, 0.02, 0.01, 0.005)
#: Standard deviation of the targets.
SPREAD = 1.0
SIZES = (32, 128, 512)


def targets(count: int = 1000) -> np.ndarray:
    """Noisy observations of q, with this mean and spread exactly."""
    z = np.random.default_rng(0).standard_normal(count)
    return MATCHING.target + SPREAD * (z - z.mean()) / z.std()


def risk(batch: int) -> EmpiricalRisk:
    eps = MATCHING.repulsion
    return EmpiricalRisk(
        loss=lambda mean, z: jnp.square(mean - z),
        feature=lambda x, z: x,
        data=jnp.asarray(targets(), jnp.float32),
        potential=lambda x: eps * (1 / x + 1 / (1 - x)),
        batch_size=batch,
    )


def spread_of_mean(
    batch: int | None, h: float, size: int, arguments: argparse.Namespace
) -> tuple[float, float]:
    """Variance of the particles' mean at rest, about the mean of mu*."""
    exact = minimiser(MATCHING)
    rng = np.random.default_rng(arguments.seed)
    starts = rng.choice(exact.nodes, p=exact.weights, size=(arguments.replicates, size))
    langevin = BARRIER.langevin(MATCHING, h)
    if batch is not None:
        langevin = eqx.tree_at(lambda dynamics: dynamics.field.functional, langevin, risk(batch))
    every = max(1, round(0.1 / h))
    burn = int(2 / (every * h))
    seen, _ = replicates(
        langevin,
        starts,
        arguments.seed,
        burn + int(arguments.time / (every * h)),
        every,
        lambda x: jnp.square(jnp.mean(x) - exact.mean),
    )
    value, error = mean_and_error(seen[:, burn:].astype(float).mean(axis=1))
    return float(value), float(error)


def draw(result: xr.Dataset):
    figure, ax = plt.subplots(figsize=(5, 3.7), layout="constrained")
    h = result["step"].values
    for k, batch in enumerate(result["batch"].values):
        one = result.sel(batch=batch)
        ax.errorbar(
            h,
            one["excess"],
            2 * one["error"],
            fmt="os^"[k],
            color=COLOURS[k],
            ms=4,
            mfc="white",
            label=f"B = {batch}",
        )
        ax.plot(h, one["expected"], color=COLOURS[k], lw=1)
    ax.plot([], [], color="grey", lw=1, label="expected")
    ax.set(xscale="log", yscale="log", xlabel="step $h$", ylabel="variance of the mean, in excess")
    ax.set_xticks(h, [f"{v:g}" for v in h])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8)
    bare(ax)
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper noise", __doc__)
    parser.add_argument("--particles", type=int, default=128, help="of a system")
    parser.add_argument("--replicates", type=int, default=256, help="independent systems")
    parser.add_argument("--time", type=float, default=20.0, help="diffusion time to average over")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.replicates, arguments.time = 32, 32, 4.0
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    batches, steps = (BATCHES[:1], STEPS[:1]) if arguments.quick else (BATCHES, STEPS)
    response = noise_response(BARRIER, MATCHING)
    # The slope 2 (m - z) has this variance over the data.
    sigma_sq = 4 * SPREAD**2
    n = arguments.particles

    @functools.cache
    def seen(batch, h, size):
        # Both tables begin with the same run.
        return spread_of_mean(batch, h, size, arguments)

    def expected(batch, h):
        return h * sigma_sq / batch / MATCHING.temperature**2 * response

    whole = {h: seen(None, h, n) for h in steps}
    rows, excess, errors = [], [], []
    for batch in batches:
        for h in steps:
            value, error = seen(batch, h, n)
            more, its_error = value - whole[h][0], float(np.hypot(error, whole[h][1]))
            excess.append(more)
            errors.append(its_error)
            rows.append(
                [str(batch), h, f"{more:.2e} +- {its_error:.0e}", f"{expected(batch, h):.2e}"]
            )
    table(
        f"{n} particles: variance of their mean in excess of a run with all data",
        ["B", "h", "seen", "expected"],
        rows,
    )
    h, more = steps[0], []
    for size in SIZES[:1] if arguments.quick else SIZES:
        value, error = seen(1, h, size)
        base, its_error = seen(None, h, size)
        more.append(
            [str(size), f"{base:.2e}", f"{value - base:.2e} +- {np.hypot(error, its_error):.0e}"]
        )
    table(
        f"B = 1, h = {h:g}: the same for other numbers of particles",
        ["N", "with all data", "in excess"],
        more,
    )
    shape = (len(batches), len(steps))
    result = xr.Dataset(
        {
            "excess": (("batch", "step"), np.reshape(excess, shape)),
            "error": (("batch", "step"), np.reshape(errors, shape)),
            "expected": (
                ("batch", "step"),
                np.array([[expected(b, h) for h in steps] for b in batches]),
            ),
        },
        coords={"batch": list(batches), "step": list(steps)},
    )
    command.save(result, draw(result), arguments.out / "paper_noise", dpi=120)
