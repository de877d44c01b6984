"""The way of nations: paths of fertility and life expectancy, from snapshots without names.

Every few years we see where the countries are, and not which is which. Paths of the population are
inferred from every second snapshot; the others, and who was who, are the truth to be held against:
the distance to the snapshots left out, beside interpolation by optimal transport and a copy of the
last one, and how many countries are followed rightly. Prints what ArviZ and we diagnose, and saves
the run with its paths (NetCDF) and a figure.

--data FILE takes snapshots of your own: a column `time` and one for each coordinate,
one row a cell.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpyro.infer import MCMC
from scipy.optimize import linear_sum_assignment

import mmfld_ppl as mm
from mmfld_ppl.functionals import PathSpace
from mmfld_ppl.inference_data.groups import dataset
from mmfld_ppl.plots.style import COLOURS
from models.trajectory import starting_cells, trajectory
from models.trajectory_result import with_trajectories

from . import command
from .tables import read_table


class Panel(NamedTuple):
    """Snapshots, in units of `scale` for each coordinate. tracked: whether cell i of each snapshot
    is the same individual; only the comparison with the truth looks at it."""

    times: np.ndarray
    snapshots: list[np.ndarray]
    names: list[str]
    scale: np.ndarray
    tracked: bool


def countries() -> Panel:
    """Fertility and life expectancy of all countries without gaps, 1964 to 2013."""
    from bokeh_sampledata.gapminder import fertility, life_expectancy

    tables = [table.dropna() for table in (fertility, life_expectancy)]
    both = tables[0].index.intersection(tables[1].index)
    values = np.stack([table.loc[both].to_numpy(float).T for table in tables], axis=-1)
    scale = values.std(axis=(0, 1))
    times = np.array([int(year) for year in tables[0].columns], float)
    names = ["children per woman", "life expectancy, years"]
    return Panel(times, list(values / scale), names, scale, True)


def own_data(file: pathlib.Path) -> Panel:
    """Columns `time`, and one for each coordinate; one row a cell."""
    table = read_table(file, "time")
    at, coordinates = table["time"].to_numpy(float), table.drop(columns="time")
    names, cells = list(coordinates), coordinates.to_numpy(float)
    scale = cells.std(axis=0)
    times = np.unique(at)
    return Panel(times, [cells[at == s] / scale for s in times], names, scale, False)


def fit(
    snapshots: list[np.ndarray],
    times: np.ndarray,
    *,
    setting: dict[str, Any],
    chains: int,
    warmup: int,
    samples: int,
    thinning: int = 1,
    seed: int = 0,
    progress_bar: bool = False,
) -> tuple[MCMC, PathSpace]:
    """A finished run of the trajectory model, and its functional."""
    first, run = jax.random.split(jax.random.key(seed))
    same = {name: setting[name] for name in ("cells", "bandwidth")}
    start = starting_cells(first, snapshots, times, chains=chains, **same)
    mcmc = MCMC(
        mm.MMFLD(trajectory),
        num_warmup=warmup,
        num_samples=samples,
        thinning=thinning,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=progress_bar,
    )
    mcmc.run(run, snapshots, times, init_params=start, **setting)
    jax.block_until_ready(mcmc.last_state)
    of_path = {name: value for name, value in setting.items() if name not in ("cells", "base")}
    return mcmc, PathSpace(snapshots, times, **of_path)


def distance(x: np.ndarray, y: np.ndarray, most: int = 1000) -> float:
    """The 2-Wasserstein distance of two clouds with equal masses; the larger is thinned, to `most`
    cells and a multiple of the smaller, which is repeated."""
    small, large = sorted((x, y), key=len)
    times = max(1, min(len(large), most) // len(small))
    large = np.random.default_rng(0).permutation(large)[: times * len(small)]
    cost = ((large[:, None] - np.repeat(small, times, axis=0)[None]) ** 2).sum(axis=-1)
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def matched(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cell of y that optimal transport pairs each cell of x with."""
    return linear_sum_assignment(((x[:, None] - y[None]) ** 2).sum(axis=-1))[1]


def straight(x: np.ndarray, y: np.ndarray, u: float) -> np.ndarray:
    """Linear interpolation of optimal transport, at the fraction u of the way; of clouds of unequal
    sizes the larger is thinned."""
    count, rng = min(len(x), len(y)), np.random.default_rng(0)
    x, y = (z if len(z) == count else rng.permutation(z)[:count] for z in (x, y))
    return (1 - u) * x + u * y[matched(x, y)]


def held_out(idata: Any, panel: Panel, used: np.ndarray, left: np.ndarray) -> list[dict[str, Any]]:
    """Distances to the snapshots left out, of the paths and of what is simpler."""
    between = dataset(idata, "interpolation")["x"]
    rows = []
    for k in left:
        before, after = (int(used[np.searchsorted(used, k) + j]) for j in (-1, 0))
        s, (a, b) = panel.times[k], panel.times[[before, after]]
        # Whole draws, in which every particle counts once: a random part of them would be noisier.
        draws = between.sel(time_between=s).values.reshape(-1, *between.shape[-2:])
        ours = np.concatenate(draws[:: max(1, len(draws) // 4)][:4])
        copied, truth = panel.snapshots[before], panel.snapshots[k]
        line = straight(copied, panel.snapshots[after], (s - a) / (b - a))
        rows.append(
            {
                "time": s,
                "paths": distance(ours, truth),
                "OT interpolation": distance(line, truth),
                "copy": distance(copied, truth),
            }
        )
    return rows


def followed(panel: Panel, path: PathSpace, chosen: np.ndarray) -> dict[str, float]:
    """How well countries are followed from one snapshot to the next: the share whose most likely
    partner is themselves, and the root mean square distance from where they were expected to
    where they went; by optimal transport, and by the couplings of the path-space problem at the
    countries."""
    cells = np.concatenate([panel.snapshots[k] for k in chosen])
    plans = np.asarray(path.couplings(mm.Measure.uniform(cells.astype(np.float32))))
    found: dict[str, list[float]] = {}
    for before, after, plan in zip(chosen[:-1], chosen[1:], plans, strict=True):
        x, y = panel.snapshots[before], panel.snapshots[after]
        partner, itself = matched(x, y), np.arange(len(x))
        expected = plan @ y / plan.sum(axis=1, keepdims=True)
        for name, right, there in (
            ("OT", partner == itself, y[partner]),
            ("paths", plan.argmax(axis=1) == itself, expected),
        ):
            found.setdefault(f"{name}: countries found again", []).append(right.mean())
            error = np.mean(((there - y) ** 2).sum(axis=1)) ** 0.5
            found.setdefault(f"{name}: error of the next position", []).append(error)
    return {name: float(np.mean(values)) for name, values in found.items()}


def draw(idata: Any, panel: Panel, rows: list[dict[str, Any]]) -> Figure:
    """Paths over the snapshots, and the distances."""
    figure, (plane, curve) = plt.subplots(
        1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=(1.3, 1)
    )
    mm.plots.trajectories(idata, units=panel.scale.tolist(), ax=plane)
    plane.set_title("Snapshots without names, and paths", fontsize="medium", loc="left")
    if not rows:
        curve.set_axis_off()
        return figure
    # As in the curves that benchmarks/trajectories.py draws.
    styles = {"copy": "#999999", "OT interpolation": COLOURS[3], "paths": COLOURS[0]}
    marks = {"copy": "s", "OT interpolation": "^", "paths": "o"}
    at = [row["time"] for row in rows]
    for name, colour in styles.items():
        distances = [row[name] for row in rows]
        curve.plot(at, distances, marker=marks[name], color=colour, label=name)
    curve.set(xlabel="time of the snapshot left out", ylabel="W2 to it, in standard deviations")
    # Room above the lines for their names.
    curve.set_ylim(0, 1.2 * curve.get_ylim()[1])
    curve.set_xticks(at)
    curve.legend(frameon=False, loc="upper left", ncols=3, fontsize="small", columnspacing=1)
    curve.set_title("Distance to what was left out", fontsize="medium", loc="left")
    return figure


def parse() -> argparse.Namespace:
    parser = command.parser(
        "gapminder_trajectories", __doc__, "a column time, and one for each coordinate"
    )
    parser.add_argument("--every", type=int, default=5, help="years between snapshots of countries")
    parser.add_argument("--thin", type=int, help="keep so many cells of each snapshot, at random")
    parser.add_argument("--keep-all", action="store_true", help="leave no snapshot out")
    parser.add_argument("--particles", type=int, default=202, help="of each marginal")
    parser.add_argument("--diffusivity", type=float, default=0.003, help="tau, variance a year")
    parser.add_argument("--bandwidth", type=float, default=0.05, help="sigma, of the data's fit")
    parser.add_argument("--regularization", type=float, default=1.0, help="lambda")
    parser.add_argument(
        "--bridges", action="store_true", help="Brownian bridges, not straight lines"
    )
    command.add_run_options(parser, warmup=400, samples=400, thinning=20, chains=2)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.particles, arguments.warmup, arguments.samples = 40, 60, 40
        arguments.thin, arguments.thinning = arguments.thin or 40, 10
    return arguments


def main() -> None:
    arguments = parse()
    panel = own_data(arguments.data) if arguments.data else countries()
    if not arguments.data:
        years = slice(0, None, arguments.every)
        panel = panel._replace(times=panel.times[years], snapshots=panel.snapshots[years])
    chosen = np.arange(len(panel.times))
    used = chosen if arguments.keep_all or len(chosen) < 3 else chosen[::2]
    left = np.setdiff1d(chosen[: used[-1]], used)
    rng = np.random.default_rng(arguments.seed)
    seen = [panel.snapshots[k] for k in used]
    if arguments.thin:
        seen = [rng.permutation(z)[: arguments.thin] for z in seen]
    setting = {
        "cells": arguments.particles,
        "diffusivity": arguments.diffusivity,
        "bandwidth": arguments.bandwidth,
        "regularization": arguments.regularization,
    }
    begin = time.perf_counter()
    mcmc, path = fit(
        seen,
        panel.times[used],
        setting=setting,
        chains=arguments.chains,
        warmup=arguments.warmup,
        samples=arguments.samples,
        thinning=arguments.thinning,
        seed=arguments.seed,
        progress_bar=True,
    )
    print(f"{arguments.chains} chains in {time.perf_counter() - begin:.0f} s")
    idata = mm.to_inference_data(mcmc)
    print("\nThe chains:")
    print(mm.chain_summary(idata).round(4).to_string())
    idata = with_trajectories(
        idata,
        path,
        at=panel.times[left],
        bridges=arguments.bridges,
        coordinates=panel.names,
        seed=arguments.seed,
    )
    rows = held_out(idata, panel._replace(snapshots=_thinned(panel, used, seen)), used, left)
    if rows:
        print("\nDistance (W2) to the snapshots left out:")
        names = list(rows[0])
        print("  ".join(f"{name:>16}" for name in names))
        for row in rows:
            print("  ".join(f"{row[name]:16.4g}" for name in names))
        means = [float(np.mean([row[name] for row in rows])) for name in names[1:]]
        print(f"{'mean':>16}  " + "  ".join(f"{mean:16.4g}" for mean in means))
    if panel.tracked:
        of_path = {name: value for name, value in setting.items() if name != "cells"}
        whole = PathSpace(panel.snapshots, panel.times, **of_path)
        print("\nFrom each snapshot to the next:")
        for name, value in followed(panel, whole, chosen).items():
            print(f"  {name}: {value:.3f}")

    name = "trajectories" if arguments.data else "gapminder_trajectories"
    command.save(idata, draw(idata, panel, rows), arguments.out / name)


def _thinned(panel: Panel, used: np.ndarray, seen: list[np.ndarray]) -> list[np.ndarray]:
    """All snapshots, the used ones as they were seen."""
    snapshots = list(panel.snapshots)
    for k, cells in zip(used, seen, strict=True):
        snapshots[k] = cells
    return snapshots


if __name__ == "__main__":
    main()
