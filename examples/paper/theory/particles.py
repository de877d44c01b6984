"""Theorem 4.1: N particles are off by at most L R^2 / (2N), at any time.

Mean matching on the interval, where the law exp(-(N/tau) F) of N particles and its free energy can
be computed without approximation. Prints the exact error by N with the bounds; what the adjusted
dynamics have at rest, by the size of their step; and the error along the way from one start, for
several N, with the rate of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from mmfld_ppl.diagnostics import fit_particle_number
from mmfld_ppl.plots.style import COLOURS, bare

from ... import command
from .gibbs import bounds, particle_law
from .simulate import table
from .systems import BEGIN, MATCHING, at_rest, ways

SIZES = 2 ** np.arange(11)
#: Steps of the adjusted dynamics, in diffusion time, and the numbers of particles that take them.
STEPS = (0.02, 0.1, 0.4, 1.6)
RESTING = (4, 16, 64)
#: Numbers of particles on their way.
MOVING = (4, 16, 64, 256)


def exact_errors() -> xr.Dataset:
    """Of the Gibbs law, by N."""
    laws = [particle_law(MATCHING, int(n)) for n in SIZES]
    names = ("free_energy", "mean", "variance", "objective")
    return xr.Dataset(
        {f"gibbs_{k}": ("size", np.array([getattr(law, k) for law in laws])) for k in names},
        coords={"size": SIZES},
    )


def draw(result: xr.Dataset):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    n, coefficients = result["size"].values, bounds(MATCHING)
    left.plot(n, coefficients.theorem / n, "--", color="grey", label="$LR^2/2N$, theorem 4.1")
    left.plot(
        n, coefficients.variance / n, ":", color="grey", label=r"variance of $\mu^*$, over $N$"
    )
    left.plot(
        n, result["gibbs_free_energy"], "-o", color=COLOURS[0], ms=4, label="free energy, exact law"
    )
    left.plot(n, result["gibbs_objective"], "-", color=COLOURS[1], lw=1.2, label="$F$, exact law")
    h = result["step"].values[0]
    seen = result.sel(step=h, quantity="objective")
    left.errorbar(
        seen["resting"],
        seen["at_rest"] / seen["resting"],
        2 * seen["at_rest_error"] / seen["resting"],
        fmt="s",
        mfc="white",
        color=COLOURS[1],
        ms=5,
        label=f"$F$, adjusted dynamics, $h={h:g}$",
    )
    left.set(xscale="log", yscale="log", xlabel="particles $N$", ylabel="error")
    left.legend(frameon=False, fontsize=8)
    for k, size in enumerate(result["moving"].values):
        right.errorbar(
            result["time"] + 0.012 * k,
            result["excess"].sel(moving=size),
            2 * result["excess_error"].sel(moving=size),
            fmt="o-",
            color=COLOURS[k],
            ms=3,
            lw=1,
            label=f"N = {size}",
        )
    right.axhline(
        float(result["gibbs_objective"][-1] * n[-1]),
        ls="--",
        color="grey",
        label="exact law, at rest",
    )
    right.set(
        xlabel="diffusion time", ylabel=r"$N\,(\mathrm{E} F(\mu^N_t) - F(\mu_t))$", ylim=(0, None)
    )
    right.legend(frameon=False, fontsize=8, loc="lower right")
    bare(left)
    bare(right)
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper particles", __doc__)
    parser.add_argument("--total", type=int, default=2**16, help="particles of all replicates")
    parser.add_argument("--records", type=int, default=100, help="times at which rests are read")
    parser.add_argument("--step-size", type=float, default=0.01, help="of the systems on their way")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.total, arguments.records, arguments.step_size = 2**10, 10, 0.02
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    result = exact_errors()
    coefficients = bounds(MATCHING)
    errors = result["gibbs_free_energy"].values
    table(
        "law of N particles: N times its error, exactly",
        ["N", "free energy", "F", "mean", "variance of the mean"],
        [
            [
                str(n),
                *[
                    float(result[f"gibbs_{k}"][i] * n)
                    for k in ("free_energy", "objective", "mean", "variance")
                ],
            ]
            for i, n in enumerate(SIZES)
            if n in (1, 4, 16, 64, 256, 1024)
        ],
    )
    late = SIZES >= 16
    fit = fit_particle_number(SIZES[late], errors[late], np.full(late.sum(), 1e-9))
    print(
        f"  free energy, fit for N >= 16: {fit.slope.value:.4f}/N; as N grows "
        f"(tau/2) log(1 + 2S/tau) = {coefficients.limit:.4f}/N;\n  "
        f"bounds {coefficients.variance:.4f}/N by the variance S of mu*, "
        f"{coefficients.theorem:.4f}/N by L R^2/2"
    )
    steps = STEPS[2:3] if arguments.quick else STEPS
    sizes = RESTING[:1] if arguments.quick else RESTING
    moving = MOVING[:2] if arguments.quick else MOVING
    seen = {(n, h): at_rest(n, h, arguments) for n in sizes for h in steps}
    exact = {n: particle_law(MATCHING, n) for n in sizes}
    table(
        "adjusted dynamics at rest: N times the error",
        ["N", "h", "accepted", "F", "exact law", "variance of the mean", "exact law"],
        [
            [
                str(n),
                h,
                f"{one['accepted']:.0%}",
                f"{one['value'][2]:.4f} +- {one['error'][2]:.4f}",
                f"{n * exact[n].objective:.4f}",
                f"{one['value'][1]:.4f} +- {one['error'][1]:.4f}",
                f"{n * exact[n].variance:.4f}",
            ]
            for (n, h), one in seen.items()
        ],
    )
    way = ways(moving, arguments)
    table(
        f"from a start in {BEGIN}: N times the excess of F along the way, and the rate of E F",
        ["N", "at the start", "greatest", "at the end", "rate", "of all as one system"],
        [
            [
                str(int(one["moving"])),
                *[
                    float(v)
                    for v in (one["excess"][0], one["excess"].max(), one["excess"][-5:].mean())
                ],
                f"{float(one['rate']):.3f} +- {float(one['rate_error']):.3f}",
                f"{float(one['rate_infinite']):.3f}",
            ]
            for one in (way.sel(moving=n) for n in moving)
        ],
    )
    shape = (len(sizes), len(steps), 3)
    coords = {
        "resting": list(sizes),
        "step": list(steps),
        "quantity": ["mean", "variance", "objective"],
    }
    result = xr.merge([result, way]).assign_coords(coords)
    for name, key in (("at_rest", "value"), ("at_rest_error", "error")):
        values = np.stack([one[key] for one in seen.values()]).reshape(shape)
        result[name] = (("resting", "step", "quantity"), values)
    command.save(result, draw(result), arguments.out / "paper_particles", dpi=120)
