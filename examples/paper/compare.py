"""Methods side by side: a step for each from a grid, then ensembles of every size."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mmfld_ppl.plots.style import bare

from .. import command
from .looks import SCORE, legend_under, look, number_axis
from .reference import Reference
from .runs import Kept, Length, Method, Problem, runner

SIZES = (256, 512, 1024, 2048)
TUNED_AT = 512
#: Grids of steps have this many, from the largest down by this factor.
STEPS, FACTOR = 10, 2.5
#: Two free energies tie within this many standard errors of their difference.
TIE = 2.0


class Found(NamedTuple):
    """What one run kept: by ensemble, averaged over its draws, and of the run as a whole.

    last: the particles at the end, by ensemble."""

    objective: np.ndarray
    averages: np.ndarray
    edge: np.ndarray
    last: np.ndarray
    accepted: Any
    refused: Any
    collective_ratio: Any


#: Those that are averaged over replicates.
OF_ALL = ("edge", "accepted", "refused", "collective_ratio")


class Score(Protocol):
    """What is compared of replicates of one law."""

    def __call__(self, found: Found, /) -> tuple[np.ndarray, float]:
        """The free energy of each, above the least one where that is known, and their common
        divergence from the uniform law."""
        ...


class Cell(NamedTuple):
    """A problem at one temperature. parameters: what its functional takes."""

    name: str
    temperature: float
    parameters: Any
    score: Score


def above(reference: Reference) -> Score:
    """The least free energy with the averages of an ensemble, above that of the minimiser."""
    return lambda found: reference.least_free_energy(found.objective, found.averages)


class Candidate(NamedTuple):
    """A method, and the largest step h of its grid. others: ways to run it that are tuned as its
    step is."""

    method: Method
    largest: float
    others: tuple[Method, ...] = ()

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def grid(self) -> np.ndarray:
        return self.largest * FACTOR ** -np.arange(float(STEPS))


class Lane(NamedTuple):
    """One run: of which cell, at which step, as ensembles of which size."""

    cell: int
    step: float
    size: int


def options(
    p: argparse.ArgumentParser, *, gradients: int, particles: Sequence[int] = SIZES
) -> None:
    p.add_argument("--gradients", type=int, default=gradients, help="budget of each run")
    p.add_argument("--particles", type=int, nargs="+", default=particles, help="N, ascending")
    p.add_argument("--methods", nargs="+", help="names of some, all by default")
    p.add_argument("--seeds", type=int, default=10, help="independent ensembles, at least")


def compare(
    problem: Problem,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    arguments: Any,
    gradients: int,
) -> xr.Dataset:
    """Every method on every cell, with the dimensions cell, method, particles, replicate.

    First, for each cell and method, one run at each step of the grid, of ensembles of TUNED_AT
    particles, and the same of each other way to run it; that of least free energy is taken. Then
    runs with other keys. Every run spends the same number of gradients, and keeps ensembles of its
    second half."""
    if arguments.methods:
        candidates = [c for c in candidates if c.name in arguments.methods]
    parts = [_one(problem, cells, one, arguments, gradients) for one in candidates]
    methods = xr.DataArray([c.name for c in candidates], dims="method", name="method")
    data = xr.concat(parts, methods, data_vars="all")
    temperatures = ("cell", [cell.temperature for cell in cells])
    return data.assign_coords(cell=[cell.name for cell in cells], temperature=temperatures)


def _one(
    problem: Problem,
    cells: Sequence[Cell],
    candidate: Candidate,
    arguments: Any,
    gradients: int,
) -> xr.Dataset:
    begin = time.perf_counter()
    sizes = arguments.particles
    settings, total = (candidate.method, *candidate.others), sizes[-1]
    runs = [
        runner(problem, method, total, sizes[0], Length.of(gradients, method, draws=25))
        for method in settings
    ]
    key_tune, key_run = jax.random.split(jax.random.key(arguments.seed))

    tuned_at = min(TUNED_AT, total)
    trials = [Lane(c, h, tuned_at) for c in range(len(cells)) for h in candidate.grid]
    tried = [
        cells[lane.cell].score(found)[0].mean()
        for run in runs
        for lane, found in zip(trials, _runs(run, cells, trials, total, key_tune), strict=True)
    ]
    tuning = np.reshape(tried, (len(settings), len(cells), STEPS))
    tuning = np.where(np.isfinite(tuning), tuning, np.inf)
    best = np.argmin(tuning.min(axis=-1), axis=0)
    tuning = tuning[best, np.arange(len(cells))]
    steps = candidate.grid[np.argmin(tuning, axis=-1)]

    lanes, ran = [], []
    for k, run in enumerate(runs):
        own = [
            Lane(int(c), steps[c], size)
            for c in np.flatnonzero(best == k)
            for size in sizes
            for _ in range(-(-arguments.seeds // (total // size)))
        ]
        lanes += own
        ran += _runs(run, cells, own, total, key_run)
    rows = []
    for c, cell in enumerate(cells):
        for size in sizes:
            mine = [f for lane, f in zip(lanes, ran, strict=True) if lane[::2] == (c, size)]
            one = Found(
                *(
                    np.concatenate(list(map(np.atleast_1d, each)))
                    for each in zip(*mine, strict=True)
                )
            )
            gap, divergence = cell.score(one)
            rows.append(
                {
                    "gap": gap[: arguments.seeds],
                    "objective": one.objective[: arguments.seeds],
                    "divergence": divergence,
                    **{name: np.mean(getattr(one, name)) for name in OF_ALL},
                }
            )
    shape = (len(cells), len(sizes))
    data = xr.Dataset(
        {
            name: (
                ("cell", "particles", "replicate")[: 2 + np.ndim(rows[0][name])],
                np.reshape([row[name] for row in rows], (*shape, *np.shape(rows[0][name]))),
            )
            for name in rows[0]
        },
        {"particles": list(sizes)},
    )
    print(f"  {candidate.name:<30} {time.perf_counter() - begin:4.0f} s", flush=True)
    return data.assign(
        setting=("cell", [settings[k].name for k in best]),
        step=("cell", steps),
        tuning=(("cell", "trial"), tuning),
        grid=("trial", candidate.grid),
    )


def _runs(
    run: Callable[..., Kept], cells: Sequence[Cell], lanes: Sequence[Lane], total: int, key: Array
) -> list[Found]:
    """All lanes, in calls of one shape, so that there is one program to compile."""
    found, abreast = [], STEPS * len(cells)
    keys = jax.random.split(key, len(lanes))
    for begin in range(0, len(lanes), abreast):
        take = np.minimum(np.arange(begin, begin + abreast), len(lanes) - 1)
        some = [lanes[i] for i in take]
        parameters = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(cells[lane.cell].parameters for lane in some)
        )
        kept = run(
            [cells[lane.cell].temperature for lane in some],
            parameters,
            [lane.step for lane in some],
            [lane.size for lane in some],
            keys[take],
        )
        found += [
            _found(Kept(*(leaf[i] for leaf in kept)), total // lane.size, lane.size)
            for i, lane in enumerate(some[: len(lanes) - begin])
        ]
    return found


def _found(kept: Kept, ensembles: int, size: int) -> Found:
    """Of one run; slots beyond its ensembles are empty."""
    objective, averages, edge = (
        np.mean(leaf[:, :ensembles], axis=0, dtype=float) for leaf in kept[:3]
    )
    accepted, refused, ratio = (
        float(np.mean(leaf)) for leaf in (kept.accepted, kept.refused, kept.collective_ratio)
    )
    last = kept.last[: ensembles * size].reshape(ensembles, size, *kept.last.shape[1:])
    ratio = ratio if ensembles == 1 else np.nan
    return Found(objective, averages, edge, last, accepted, refused, ratio)


def together(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Comparisons one after another along their cells. The first has all methods; what another
    leaves out is NaN."""
    methods = parts[0]["method"]
    parts = [part.reindex({"method": methods}, fill_value={"setting": ""}) for part in parts]
    return xr.concat(parts, "cell", data_vars="minimal", coords="minimal", compat="override")


def summary(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Free energies above the minimum, in nats, and their standard errors: (cell, N, method)."""
    gap = (data["gap"] / data["temperature"]).transpose("cell", "particles", "method", "replicate")
    return gap.values.mean(axis=-1), gap.values.std(axis=-1, ddof=1) / np.sqrt(gap.shape[-1])


def verdicts(data: xr.Dataset, champion: str) -> tuple[int, list[str]]:
    """In how many (cell, N) the champion has the least free energy or ties with it, and a line on
    each of the others."""
    mean, error = summary(data)
    methods = list(data["method"].values)
    k = methods.index(champion)
    z = (mean[..., k, None] - mean) / np.hypot(error[..., k, None], error)
    z[..., k] = -np.inf
    won, lost = 0, []
    for c, cell in enumerate(data["cell"].values):
        for i, size in enumerate(data["particles"].values):
            worst = np.nanargmax(z[c, i])
            if z[c, i, worst] <= TIE:
                won += 1
                continue
            lower = mean[c, i, k] - mean[c, i, worst]
            lost.append(
                f"{cell}, N={size}: '{methods[worst]}' is lower by {1e3 * lower:.2f} thousandths "
                f"of a nat, z = {z[c, i, worst]:.1f}"
            )
    return won, lost


def show(data: xr.Dataset) -> None:
    """A table a cell: (L - L(mu*)) / tau in thousandths of a nat, and what explains it."""
    mean, error = summary(data)
    sizes = data["particles"].values
    for c, cell in enumerate(data["cell"].values):
        print(f"\n{cell}: (L - L*)/tau in thousandths, by N; the rest at N={sizes[-1]}")
        header = "".join(f"{n:>17}" for n in sizes)
        print(f"  {'':<24}{header}        h      edge  accepted  refused     r")
        for m, method in enumerate(data["method"].values):
            if np.isnan(mean[c, :, m]).all():
                continue
            numbers = "".join(
                f"{1e3 * v:10.2f} +-{1e3 * e:5.2f}"
                for v, e in zip(mean[c, :, m], error[c, :, m], strict=True)
            )
            one = data.isel(cell=c, method=m)
            last, grid = one.isel(particles=-1), one["grid"].values
            mark = "*" if float(one["step"]) in (grid[0], grid[-1]) else " "
            print(
                f"  {method:<24}{numbers}  {float(one['step']):8.1e}{mark}"
                f"{float(last['edge']):7.1%}  {float(last['accepted']):8.0%}"
                f"  {float(last['refused']):7.2%}  {float(last['collective_ratio']):4.2f}"
                + (f"  {setting}" if (setting := one["setting"].item()) != method else "")
            )
    print("\n* the step is the first or the last of its grid")


def draw(data: xr.Dataset, columns: int) -> Any:
    """A panel a cell: the free energy over N, by method, with two standard errors."""
    cells = data["cell"].values
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(3.1 * columns, 4.6), 2.5 * rows + 0.9),
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06),
        squeeze=False,
    )
    mean, error = summary(data)
    for c, (ax, cell) in enumerate(zip(axes.flat, cells, strict=False)):
        for m, method in enumerate(data["method"].values):
            ax.errorbar(
                data["particles"], mean[c, :, m], 2 * error[c, :, m], capsize=2, **look(method)
            )
        ax.set_yscale("log")
        ax.set_title(cell.replace("tau", r"$\tau$"), fontsize="medium")
        number_axis(ax, data["particles"].values)
        bare(ax)
    for ax in axes.flat[len(cells) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel(SCORE)
    for ax in axes.flat[: max(0, len(cells) - columns)]:
        ax.set_xlabel("")
    legend_under(figure, axes[0, 0], columns if columns < 4 else 5)
    return figure


def report(data: xr.Dataset, champion: str, stem: Any, columns: int) -> None:
    """Tables, verdict if the champion was run, NetCDF and figure."""
    show(data)
    conclude(data, champion)
    command.save(data, draw(data, columns), stem, dpi=85)


def conclude(data: xr.Dataset, champion: str) -> None:
    if champion not in data["method"]:
        return
    won, lost = verdicts(data, champion)
    print(f"\n{champion}: least or tied within {TIE:g} standard errors in {won} of ", end="")
    print(f"{won + len(lost)} (cell, N)", *lost, sep="\n  ")
