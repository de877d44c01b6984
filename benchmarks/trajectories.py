"""Trajectories from few cells: distance to the truth against the cells in a snapshot.

Two populations. Countries (fertility, life expectancy) every five years: from every second
snapshot, thinned to n countries each. `W2` is the mean distance to all countries in the snapshots
left out; `next` the root mean square error of where each of the 202 countries is ten years on.
The bifurcating cells of Chizat et al. (2022), ten dimensions: `energy` is the root mean energy
distance of the marginals to the true ones, as there. Every method has its settings chosen, for
each n and error, on two sets of cells, and is measured on others; in brackets, the standard error
over those. Draws the curves for the countries to outputs/trajectory_curves.png.
"""

from __future__ import annotations

import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from examples.gapminder_trajectories import countries
from models import bifurcation

from .trajectory_methods import (
    Answer,
    Cloud,
    Method,
    Setting,
    copied,
    inferred,
    interpolated,
    next_position,
    pooled,
    sampler,
    w2,
)

#: Of the data sets on which settings are chosen. Those of countries begin in different years.
TUNING = (0, 12)


class Study(NamedTuple):
    """snapshots: (cells, seed) -> snapshots. errors: (answer, seed) -> each error by name."""

    snapshots: Callable[[int, int], list[np.ndarray]]
    times: np.ndarray
    wanted: np.ndarray
    errors: Callable[[Answer, int], dict[str, float]]


def nations(first: int) -> Study:
    """Countries every ten years from snapshot `first` of those every five, the others left out. The
    seed also says in which of five years the calendar begins."""
    panel, years = countries(), np.arange(0, 50, 5)
    used, left = years[first::2], years[first + 1 : -1 : 2]
    times = panel.times - panel.times[0]

    def snapshots(cells: int, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.permutation(panel.snapshots[k + seed % 5])[:cells] for k in used]

    def errors(answer: Answer, seed: int) -> dict[str, float]:
        hidden = [panel.snapshots[k + seed % 5] for k in left]
        distances = [w2(c, y) for c, y in zip(answer.clouds, hidden, strict=True)]
        found = {"W2": float(np.mean(distances))}
        if answer.moved:
            followed = [panel.snapshots[k + seed % 5] for k in used]
            found["next"] = float(next_position(answer.moved, followed))
        return found

    return Study(snapshots, times[used], times[left], errors)


def cells() -> Study:
    rng, times = np.random.default_rng(10**6), bifurcation.TIMES
    truth = [bifurcation.simulate(rng, 1000, s) for s in times]
    within = [float(cdist(y, y).mean()) for y in truth]

    def snapshots(count: int, seed: int) -> list[np.ndarray]:
        return bifurcation.snapshots(np.random.default_rng(seed), count)

    def errors(answer: Answer, seed: int) -> dict[str, float]:
        found = map(energy, answer.clouds, truth, within)
        return {"energy": float(np.sqrt(np.mean(list(found))))}

    return Study(snapshots, times, times, errors)


def energy(cloud: Cloud, truth: np.ndarray, within: float) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|; the last is `within`."""
    x, masses = cloud
    masses = np.full(len(x), 1 / len(x)) if masses is None else masses / masses.sum()
    return float(2 * masses @ cdist(x, truth).mean(axis=1) - masses @ cdist(x, x) @ masses - within)


def compare(
    name: str, tuning: Study, test: Study, counts: Iterable[int], methods, seeds: int
) -> list[dict[str, Any]]:
    rows = []
    for count in counts:
        for method in methods(count):

            def errors(study: Study, setting: Setting, seed: int, method=method, count=count):
                seen = study.snapshots(count, seed)
                return study.errors(
                    method.answer(seen, study.times, study.wanted, setting, seed), seed
                )

            settings = method.settings
            tried = [[errors(tuning, s, seed) for seed in TUNING] for s in settings]
            for measure in tried[0][0]:
                scores = [np.mean([found[measure] for found in each]) for each in tried]
                best = settings[int(np.argmin(scores))]
                found = [errors(test, best, seed)[measure] for seed in range(1, 1 + seeds)]
                rows.append(
                    {
                        "population": name,
                        "cells": count,
                        "error": measure,
                        "method": method.name,
                        "mean": float(np.mean(found)),
                        "s.e.": float(np.std(found, ddof=1) / np.sqrt(seeds)),
                        "tuned": float(min(scores)),
                        "setting": " ".join(f"{k}={v:g}" for k, v in best.items()),
                        "each": " ".join(f"{value:.4f}" for value in found),
                    }
                )
                print(rows[-1], flush=True)
    return rows


def grid(**values: Sequence[float]) -> list[Setting]:
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def on_nations(cells: int) -> list[Method]:
    """Diffusivity and bandwidth of the paths fall as the snapshots grow: 202 countries are all of
    them, and leave no noise to be smoothed away."""
    sample = sampler(202 if cells > 100 else 100, warmup=500, draws=10, thinning=20)
    settings = grid(diffusivity=[0.01], bandwidth=[0.1, 0.2], regularization=[1.0, 3.0])
    if cells > 100:
        settings = grid(diffusivity=[3e-3, 1e-2], bandwidth=[0.02], regularization=[0.3])
    settings = [{**setting, "bridges": bridges} for setting in settings for bridges in (0, 1)]
    entropic = grid(epsilon=[0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
    blurs = [{"blur": blur} for blur in (0.03, 0.1, 0.2, 0.3)]
    return [
        Method("copy", copied, [{}]),
        Method("pooled", pooled, grid(width=[2.5, 5, 10, 15])),
        Method("OT", interpolated, [{}]),
        Method("entropic OT", interpolated, entropic),
        Method("OT, blurred", interpolated, blurs + [{"epsilon": 0.03} | blur for blur in blurs]),
        Method("paths", functools.partial(inferred, sample), settings),
    ]


def on_cells(cells: int) -> list[Method]:
    settings = grid(
        diffusivity=[bifurcation.DIFFUSIVITY],
        bandwidth=[0.3, 0.5],
        regularization=[0.05, 0.15, 0.4],
    )
    return [
        Method("snapshot", copied, [{}]),
        Method("pooled", pooled, grid(width=[0.03, 0.06, 0.125, 0.25])),
        Method("paths", functools.partial(inferred, _cells_sampler()), settings),
    ]


@functools.cache
def _cells_sampler() -> Callable:
    return sampler(100, warmup=500, draws=10, thinning=20)


def draw(rows: list[dict[str, Any]], file: pathlib.Path) -> None:
    """Both errors of countries against the cells in a snapshot, a line a method."""
    from matplotlib import pyplot as plt

    from mmfld_ppl.plots import style

    labels = {"W2": "W2 to snapshots left out", "next": "error of the position in ten years"}
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
    shown = {"paths": "o", "OT, blurred": "D", "entropic OT": "v", "OT": "^", "pooled": "P"}
    shown["copy"] = "s"
    words = {"copy": "copy of the last, stays", "pooled": "pooled in time"}
    for axis, (measure, label) in zip(axes, labels.items(), strict=True):
        for k, (method, mark) in enumerate(shown.items()):
            mine = [row for row in rows if row["error"] == measure and row["method"] == method]
            if not mine:
                continue
            at, mean, error = ([row[key] for row in mine] for key in ("cells", "mean", "s.e."))
            look = {"color": "#999999" if method == "copy" else style.colour(k), "capsize": 2}
            axis.errorbar(at, mean, error, marker=mark, label=words.get(method, method), **look)
        axis.set(xscale="log", xlabel="countries a snapshot", ylabel=label)
        counts = sorted({row["cells"] for row in rows})
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
        axis.set_ylim(0)
        style.bare(axis)
    lines, named = axes[0].get_legend_handles_labels()
    place = {"loc": "outside upper center", "ncols": 3}
    figure.legend(lines, named, frameon=False, fontsize="small", **place)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=120)


def run(
    nations_counts: Sequence[int] = (20, 50, 202),
    cells_counts: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    seeds: int = 5,
) -> list[dict]:
    found = compare("countries", nations(0), nations(1), nations_counts, on_nations, seeds)
    draw(found, pathlib.Path("outputs/trajectory_curves.png"))
    study = cells()
    return found + compare("bifurcation", study, study, cells_counts, on_cells, seeds)
