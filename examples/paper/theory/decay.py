"""Theorem 3.2: L falls exponentially, at a rate of at least 2 C_LSI tau.

Mean matching on the interval under three pairs of map and objective. The flow is solved on a
grid, the uniform constant bounded from below by the criterion of Bakry and Emery, and the
particles of Algorithm 1 start from the same law. Time is diffusion time, the paper's t times tau:
the theorem's rate is then 2 C_LSI. Under the log barrier and a bounded potential there is no
constant: the right half of the figure shows what becomes of the rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from mmfld_ppl.diagnostics import entropy, fit_decay
from mmfld_ppl.plots.style import COLOURS, bare

from ... import command
from .flow import Grid, rates
from .matching import BARRIER, ENTROPY, Geometry, Matching, log_sobolev_bound
from .simulate import mean_and_error, replicates, table

REPULSION = 0.06
CASES = {
    "entropy": (ENTROPY, Matching()),
    "log barrier, repulsion": (BARRIER, Matching(repulsion=REPULSION)),
    "log barrier": (BARRIER, Matching()),
}
MARKERS = "os^"
#: Where the flows begin, and how far out they begin on the right of the figure.
START, DISTANCES = 0.2, 10.0 ** -np.arange(1, 11)
#: Fits of one exponential leave out what is before, when many decay at once.
SETTLED = 0.3


def sample(grid: Grid, p: np.ndarray, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Points of the law with these masses, even within a cell."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(size=shape)
    edges = np.linspace(*grid.ends, len(p) + 1)
    z = np.interp(u, np.insert(np.cumsum(p), 0, 0.0), edges)
    return grid.geometry.interval(z)[0]


def particle_energies(x: np.ndarray, matching: Matching) -> np.ndarray:
    """L of each particle system, the entropy by nearest neighbours in the logit of x."""
    z = np.log(x) - np.log1p(-x)
    log_speed = np.log(x) + np.log1p(-x)
    m = x.mean(axis=-1)
    repelled = matching.repulsion * (1 / x + 1 / (1 - x)).mean(axis=-1)
    own = np.array([entropy(each[:, None]).value for each in z.reshape(-1, z.shape[-1])])
    relative = -(own.reshape(z.shape[:-1]) + log_speed.mean(axis=-1))
    return (m - matching.target) ** 2 + repelled + matching.temperature * relative


def slopes(times: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """-d log(gap) / dt between the times."""
    return -np.diff(np.log(gap)) / np.diff(times)


def one(name: str, geometry: Geometry, matching: Matching, arguments: argparse.Namespace):
    """A case: its row of the table, and its curves."""
    grid = Grid(geometry, matching)
    best = grid.minimiser()
    least = grid.free_energy(best)
    times = np.linspace(0, arguments.time, 41)
    start = grid.point(START)
    flow = grid.run(start, times, arguments.dt)
    gap = np.array([grid.free_energy(p) for p in flow]) - least
    means = flow @ grid.x

    h = arguments.step_size
    every = max(1, round(times[1] / h))
    x, _ = replicates(
        geometry.langevin(matching, times[1] / every),
        sample(grid, start, (arguments.replicates, arguments.particles), arguments.seed),
        arguments.seed,
        len(times) - 1,
        every,
    )
    x = np.clip(x.astype(float), 1e-12, 1 - 6e-8)
    seen, error = mean_and_error(particle_energies(x, matching) - least)
    late = times >= SETTLED
    fits = [fit_decay(times[late], values[late]).rate for values in (gap, seen)]
    bound = 2 * log_sobolev_bound(geometry, matching)
    along = 2 * log_sobolev_bound(geometry, matching, (means.min(), means.max()))
    own = rates(geometry, matching)
    local = slopes(times, gap)
    row = [name, bound, along, 2 * own.frozen, local.min(), local[-1], 2 * own.coupled]
    row += [fits[0].value, f"{fits[1].value:.2f} +- {fits[1].error:.2f}"]
    curves = {"flow": gap, "particles": seen, "error": error}
    return row, times, curves, (bound, along)


def slowest(geometry: Geometry, matching: Matching, arguments: argparse.Namespace) -> np.ndarray:
    """The least rate of L along a flow, by how far from the end of the interval it begins."""
    grid = Grid(geometry, matching, 800 if arguments.quick else 1600)
    least = grid.free_energy(grid.minimiser())
    times = np.linspace(0, 2, 41)
    found = []
    for distance in DISTANCES:
        if distance < 2 * grid.x[0] or (arguments.quick and distance < 1e-3):
            found.append(np.nan)
            continue
        flow = grid.run(grid.point(distance), times, 2 * arguments.dt)
        gap = np.array([grid.free_energy(p) for p in flow]) - least
        found.append(slopes(times, gap).min())
    return np.array(found)


def draw(cases: xr.Dataset, bounds: dict[str, tuple[float, float]]):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    t = cases["time"].values
    for k, name in enumerate(cases["case"].values):
        case = cases.sel(case=name)
        left.plot(t, case["flow"], color=COLOURS[k], lw=1.4, label=f"{name}, flow")
        clear = np.cumprod(case["particles"].values > 4 * case["error"].values)
        seen = np.where(clear, case["particles"], np.nan)
        left.errorbar(
            t,
            seen,
            2 * case["error"],
            fmt=MARKERS[k],
            color=COLOURS[k],
            ms=3.5,
            lw=0.8,
            mfc="white",
        )
        if bounds[name][1] > 0:
            left.plot(
                t,
                float(case["flow"][0]) * np.exp(-bounds[name][1] * t),
                "--",
                color=COLOURS[k],
                lw=1,
            )
        right.plot(
            cases["distance"],
            case["slowest"],
            MARKERS[k] + "-",
            color=COLOURS[k],
            ms=4,
            lw=1.2,
            label=str(name),
        )
        if bounds[name][0] > 0:
            right.axhline(bounds[name][0], color=COLOURS[k], ls="--", lw=1)
    right.plot([], [], "--", color="grey", lw=1, label="$2C$, for all measures")
    right.legend(frameon=False, loc="lower left", fontsize=8)
    hollow = {"color": "grey", "mfc": "white", "ms": 3.5}
    left.plot([], [], "o", **hollow, label="particles of Algorithm 1")
    left.plot([], [], "--", color="grey", lw=1, label=r"$e^{-2Ct}$, bound on $C$ from below")
    left.set(
        yscale="log",
        ylim=(1e-5, 4),
        xlabel="diffusion time",
        ylabel=r"$L(\mu_t) - L(\mu^*)$",
    )
    left.legend(frameon=False, loc="lower left", fontsize=8)
    right.set(
        xscale="log",
        yscale="log",
        xlabel="distance of the start from the end of the interval",
        ylabel="slowest rate of $L$ along the flow",
    )
    right.invert_xaxis()
    bare(left)
    bare(right)
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper decay", __doc__)
    parser.add_argument("--particles", type=int, default=2000, help="of a system")
    parser.add_argument("--replicates", type=int, default=16, help="independent systems")
    parser.add_argument("--step-size", type=float, default=2.5e-3, help="of Algorithm 1")
    parser.add_argument("--time", type=float, default=2.0, help="length of the flows")
    parser.add_argument("--dt", type=float, default=1e-3, help="time step of the grid solution")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.replicates, arguments.step_size = 200, 4, 0.0125
        arguments.dt = 0.01
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    rows, curves, bounds = [], {}, {}
    times = np.zeros(0)
    for name, (geometry, matching) in CASES.items():
        row, times, curves[name], bounds[name] = one(name, geometry, matching, arguments)
        rows.append(row)
    far = {name: slowest(*case, arguments) for name, case in CASES.items()}
    table(
        f"rates of L - L*, in diffusion time, from x = {START}",
        [
            "map and objective",
            "2C, all mu",
            "2C, on the way",
            "2 gap, frozen",
            "slowest",
            "last",
            "2 gap, coupled",
            "fit, flow",
            "fit, particles",
        ],
        rows,
    )
    table(
        "slowest rate of L by the distance of the start from the end",
        ["distance", *[f"{d:.0e}" for d in DISTANCES]],
        [[name, *["-" if np.isnan(v) else f"{v:.3f}" for v in far[name]]] for name in CASES],
    )
    names = list(CASES)
    result = xr.Dataset(
        {
            key: (("case", "time"), np.stack([curves[n][key] for n in names]))
            for key in ("flow", "particles", "error")
        }
        | {
            "slowest": (("case", "distance"), np.stack([far[n] for n in names])),
            "bound": ("case", [bounds[n][0] for n in names]),
            "bound_on_the_way": ("case", [bounds[n][1] for n in names]),
        },
        coords={"case": names, "time": times, "distance": DISTANCES},
    )
    command.save(result, draw(result, bounds), arguments.out / "paper_decay", dpi=120)
