"""Theorem 4.2: a step of Algorithm 1 leaves a bias that falls with it; the adjusted step none.

Mean matching on the interval. Under the log barrier the law at rest of infinitely many particles is
computed from the transition matrix of a step, and particles are held to it. Under the entropy map,
which is not self-concordant, that law does not exist: particles run off to the ends, at a rate that
the figure shows. Steps are h = tau * eta.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from mmfld_ppl.plots.style import COLOURS, bare

from ... import command
from .escape import barrier, entropy, escape_rate
from .euler import step_law
from .matching import BARRIER, Matching, minimiser
from .simulate import mean_and_error, replicates, table

MATCHING = Matching()
STEPS = 0.2 * 2.0 ** -np.arange(7)
#: Steps that particles take.
TAKEN = (0.2, 0.05, 0.0125)
LONG = (0.2, 0.8, 3.2)
QUANTITIES = ("mean", "variance", "distance", "energy")
#: Schemes of which particles may escape, and where they start: at rest, or this near to an end.
SCHEMES = {
    "entropy, density flat at the ends": (entropy(0.0), None),
    "entropy, density like x": (entropy(1.0), None),
    "entropy, density like x^2": (entropy(2.0), None),
    "log barrier, density flat": (barrier(0.0, 0.0), None),
    "log barrier, flat, from x = .003": (barrier(0.0, 0.0), 0.003),
    "log barrier, repulsion": (barrier(0.0, 0.2), None),
    "log barrier, repulsion, from x = .003": (barrier(0.0, 0.2), 0.003),
}


def particles(h: float, adjust: bool, arguments: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Errors of the mean and the variance of a particle at rest, their standard errors, and the
    acceptance."""
    exact = minimiser(MATCHING)
    rng = np.random.default_rng(arguments.seed)
    starts = rng.choice(exact.nodes, p=exact.weights, size=(arguments.replicates, arguments.count))
    every = max(1, round(0.2 / h))
    burn = int(arguments.time / 4 / (every * h)) + 1
    (m, second), accepted = replicates(
        BARRIER.langevin(MATCHING, h, metropolize=adjust),
        starts,
        arguments.seed,
        burn + int(arguments.time / (every * h)),
        every,
        lambda x: (jnp.mean(x), jnp.mean(jnp.square(x - exact.mean))),
    )
    own = np.stack([m, second], axis=-1)[:, burn:].astype(float).mean(axis=1)
    mean, error = mean_and_error(own - [exact.mean, exact.variance])
    return mean, error, accepted.mean()


def orders(values: np.ndarray) -> np.ndarray:
    """Slope of log |value| in log h over the three smallest steps."""
    return np.polyfit(np.log(STEPS[-3:]), np.log(np.abs(values[-3:])), 1)[0]


def draw(result: xr.Dataset):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    h = result["step"].values
    for k, (name, label) in enumerate(
        {"mean": "mean", "distance": "$W_2$", "energy": r"$L(\mu_h) - L(\mu^*)$"}.items()
    ):
        left.plot(h, np.abs(result[name]), "-o", color=COLOURS[k], ms=3.5, label=label)
    left.errorbar(
        result["taken"],
        np.abs(result["particles"].sel(moment="mean")),
        2 * result["particles_error"].sel(moment="mean"),
        fmt="s",
        mfc="white",
        color=COLOURS[0],
        ms=6,
        label="mean, particles",
    )
    left.set(xscale="log", yscale="log", xlabel="step $h$", ylabel="bias of Algorithm 1")
    left.set_title("log barrier", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    for k, name in enumerate(list(SCHEMES)[:3]):
        one = result.sel(scheme=name)
        right.errorbar(
            h,
            one["escape"].where(one["escape"] > 0),
            2 * one["escape_error"],
            fmt="o-",
            color=COLOURS[k],
            ms=3.5,
            lw=1,
            label=name.removeprefix("entropy, ").replace("x^2", "$x^2$"),
        )
    right.set(
        xscale="log", yscale="log", xlabel="step $h$", ylabel="escapes per unit of diffusion time"
    )
    right.set_title("entropy map", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    bare(left)
    bare(right)
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper steps", __doc__)
    parser.add_argument("--count", type=int, default=500, help="particles of a system")
    parser.add_argument("--replicates", type=int, default=128, help="independent systems")
    parser.add_argument("--time", type=float, default=40.0, help="diffusion time to average over")
    parser.add_argument("--cells", type=int, default=800, help="nodes of the law of a step")
    parser.add_argument("--escaping", type=int, default=100_000, help="particles that may escape")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.count, arguments.replicates, arguments.time = 100, 16, 8.0
        arguments.cells, arguments.escaping = 400, 4000
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    laws = np.array([step_law(BARRIER, MATCHING, h, arguments.cells) for h in STEPS])
    table(
        "log barrier, infinitely many particles: law at rest of Algorithm 1, less mu*",
        ["h", "mean", "variance", "W_2", "L", "mean / h", "L / h^2"],
        [[h, *law, law[0] / h, law[3] / h**2] for h, law in zip(STEPS, laws, strict=True)]
        + [["order", *[f"{orders(column):.2f}" for column in laws.T], "", ""]],
    )
    taken = TAKEN[:1] if arguments.quick else TAKEN
    runs = [(h, False) for h in taken] + [
        (h, True) for h in (LONG[:1] if arguments.quick else LONG)
    ]
    seen = {(h, adjust): particles(h, adjust, arguments) for h, adjust in runs}
    law_at = {h: laws[np.argmin(np.abs(STEPS - h))] for h in TAKEN}
    table(
        f"log barrier, {arguments.count} particles: error of the mean and the variance",
        ["", "h", "accepted", "mean", "expected", "variance", "expected"],
        [
            [
                "adjusted" if adjust else "unadjusted",
                h,
                f"{accepted:.0%}",
                f"{value[0]:+.5f} +- {error[0]:.5f}",
                f"{0.0 if adjust else law_at[h][0]:+.5f}",
                f"{value[1]:+.5f} +- {error[1]:.5f}",
                # The second moment about the exact mean is followed.
                f"{0.0 if adjust else law_at[h][1] + law_at[h][0] ** 2:+.5f}",
            ]
            for (h, adjust), (value, error, accepted) in seen.items()
        ],
    )
    rng = np.random.default_rng(arguments.seed)
    escapes = {
        name: [escape_rate(scheme, h, 1.0, arguments.escaping, rng, start) for h in STEPS]
        for name, (scheme, start) in SCHEMES.items()
    }
    table(
        "particles that escape to the boundary, per unit of diffusion time, by the step",
        ["map, proximal Gibbs density", *[f"{h:g}" for h in STEPS]],
        [[name, *[f"{rate:.4f}" for rate, _ in rates]] for name, rates in escapes.items()],
    )
    result = xr.Dataset(
        {name: ("step", laws[:, i]) for i, name in enumerate(QUANTITIES)}
        | {
            "particles": (("taken", "moment"), np.stack([seen[h, False][0] for h in taken])),
            "particles_error": (("taken", "moment"), np.stack([seen[h, False][1] for h in taken])),
            "escape": (("scheme", "step"), np.array(list(escapes.values()))[..., 0]),
            "escape_error": (("scheme", "step"), np.array(list(escapes.values()))[..., 1]),
        },
        coords={
            "step": STEPS,
            "taken": list(taken),
            "moment": ["mean", "variance"],
            "scheme": list(SCHEMES),
        },
    )
    command.save(result, draw(result), arguments.out / "paper_steps", dpi=120)
