"""Trajectories from few cells: distance to the truth against the cells in a snapshot.

Two populations. Countries (fertility, life expectancy) every five years: paths from every second
snapshot, thinned to n countries each, are held against all countries in the others (W2).
The bifurcating cells of Chizat et al. (2022), ten dimensions: marginals are held against the true
ones (root mean energy distance, as there). Every method has its settings tuned, for each n, on a
first set of cells, and is measured on others; in brackets, the standard error over those.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import ot
from scipy.spatial.distance import cdist

import mmfld_ppl as mm
from examples.gapminder_trajectories import countries, straight
from mmfld_ppl.functionals import PathSpace
from models import bifurcation
from models.trajectory import starting_cells, trajectory
from models.trajectory_result import interpolate

Cloud = tuple[np.ndarray, np.ndarray | None]
Setting = dict[str, float]


def sampler(cells: int, warmup: int, draws: int, thinning: int) -> Callable:
    """A function from snapshots to draws of the particles that compiles once for all data sets and
    settings of the same sizes: what is compiled takes them as arguments."""
    kernel = mm.MMFLD(trajectory)

    @jax.jit
    def go(state, snapshots, times, weights, setting):
        keywords = {"cells": cells, "weights": weights, **setting}

        def step(state, _):
            return kernel.sample(state, (snapshots, times), keywords), None

        def draw(state, _):
            state, _ = jax.lax.scan(step, state, length=thinning)
            return state, state.z["x"]

        state, _ = jax.lax.scan(step, state, length=warmup)
        return jax.lax.scan(draw, state, length=draws)[1]

    known: dict[Any, np.ndarray] = {}

    def sample(
        snapshots: Sequence[np.ndarray], times: np.ndarray, setting: Setting, seed: int
    ) -> np.ndarray:
        name = (sum(z.sum() for z in snapshots), seed, *sorted(setting.items()))
        if name not in known:
            known[name] = fresh(snapshots, times, setting, seed)
        return known[name]

    def fresh(snapshots, times, setting, seed) -> np.ndarray:
        counts = np.array([len(z) for z in snapshots])
        filled = [
            mm.Measure(
                np.concatenate([z, np.broadcast_to(z[:1], (counts.max() - len(z), z.shape[1]))]),
                (np.arange(counts.max()) < len(z)) / len(z),
            )
            for z in (np.asarray(z, np.float32) for z in snapshots)
        ]
        filled = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), filled)
        weights, times = jnp.asarray(counts / counts.sum()), jnp.asarray(times, jnp.float32)
        first = starting_cells(
            jax.random.key(seed), filled, times, cells=cells, bandwidth=setting["bandwidth"]
        )
        keywords = {"cells": cells, "weights": weights, **setting}
        start = kernel.init(jax.random.key(seed), warmup, first, (filled, times), keywords)
        return np.asarray(go(start, filled, times, weights, setting), float)

    return sample


def w2(cloud: Cloud, truth: np.ndarray) -> float:
    x, masses = cloud
    masses = np.full(len(x), 1 / len(x)) if masses is None else masses / masses.sum()
    cost = cdist(x, truth, "sqeuclidean")
    return float(np.sqrt(ot.emd2(masses, np.full(len(truth), 1 / len(truth)), cost, 10**6)))


def energy(cloud: Cloud, truth: np.ndarray) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|."""
    x, masses = cloud
    masses = np.full(len(x), 1 / len(x)) if masses is None else masses / masses.sum()
    between, within = masses @ cdist(x, truth).mean(axis=1), masses @ cdist(x, x) @ masses
    return float(2 * between - within - _within(truth.tobytes(), truth.shape))


@functools.cache
def _within(raw: bytes, shape: tuple[int, ...]) -> float:
    y = np.frombuffer(raw).reshape(shape)
    return float(cdist(y, y).mean())


class Method(NamedTuple):
    """clouds: (snapshots, times, times wanted, setting, seed) -> one cloud for each wanted time."""

    name: str
    clouds: Callable[..., list[Cloud]]
    settings: list[Setting]


def copy(snapshots, times, wanted, setting, seed) -> list[Cloud]:
    """The last snapshot up to then."""
    return [(snapshots[np.searchsorted(times, s, "right") - 1], None) for s in wanted]


def pooled(snapshots, times, wanted, setting, seed) -> list[Cloud]:
    """All snapshots, with Gaussian weights in time."""
    found = []
    for s in wanted:
        far = ((times - s) / setting["width"]) ** 2
        w = np.exp((far.min() - far) / 2)
        masses = np.concatenate(
            [np.full(len(z), share) for z, share in zip(snapshots, w, strict=True)]
        )
        found.append((np.concatenate(snapshots), masses))
    return found


def interpolated(snapshots, times, wanted, setting, seed) -> list[Cloud]:
    """By optimal transport between neighbouring snapshots: plain (epsilon 0) or entropic; `blur`
    adds Gaussian noise to copies."""
    rng = np.random.default_rng(seed)
    clouds = _interpolated(rng, snapshots, times, wanted, setting["epsilon"])
    if not setting.get("blur"):
        return clouds
    copies = [np.repeat(x, -(-1000 // len(x)), axis=0) for x, _ in clouds]
    return [(x + setting["blur"] * rng.normal(size=x.shape), None) for x in copies]


def _interpolated(rng, snapshots, times, wanted, epsilon) -> list[Cloud]:
    found = []
    for s in wanted:
        k = np.searchsorted(times, s, "right") - 1
        x, y, u = snapshots[k], snapshots[k + 1], (s - times[k]) / (times[k + 1] - times[k])
        if not epsilon:
            found.append((straight(x, y, u), None))
            continue
        cost = cdist(x, y, "sqeuclidean") / 2
        plan = ot.sinkhorn(
            np.full(len(x), 1 / len(x)),
            np.full(len(y), 1 / len(y)),
            cost,
            epsilon,
            method="sinkhorn_log",
            numItermax=2000,
            warn=False,
        )
        i, j = np.divmod(rng.choice(plan.size, 2000, p=(plan / plan.sum()).ravel()), len(y))
        found.append(((1 - u) * x[i] + u * y[j], None))
    return found


def inferred(sample: Callable, pool: int | None, snapshots, times, wanted, setting, seed):
    """The path-space estimator, at the times of the snapshots or in between, along Brownian bridges
    or straight lines; the last `pool` draws together."""
    setting = dict(setting)
    bridges = setting.pop("bridges", 0)
    draws = sample(snapshots, times, setting, seed)
    rng, clouds = np.random.default_rng(seed), []
    kept = draws[-(pool or len(draws)) :]
    blocks = kept.reshape(len(kept), len(times), -1, draws.shape[2])
    for s in wanted:
        k = int(np.searchsorted(times, s, "right")) - 1
        if times[k] == s:
            clouds.append((blocks[:, k].reshape(-1, draws.shape[2]), None))
            continue
        path = PathSpace([snapshots[k], snapshots[k + 1]], times[k : k + 2], **setting)
        between = []
        for b in blocks[:, k : k + 2]:
            measure = mm.Measure.uniform(jnp.asarray(b.reshape(-1, b.shape[-1]), jnp.float32))
            plans, still = np.asarray(path.couplings(measure)), np.zeros((1, b.shape[1]))
            gap, at = times[k : k + 2], np.array([s])
            tau = bridges * setting["diffusivity"]
            between.append(interpolate(rng, b, plans, still, gap, at, tau))
        clouds.append((np.concatenate(between, axis=1)[0], None))
    return clouds


class Study(NamedTuple):
    """snapshots: (cells, seed) -> snapshots. truth: seed -> clouds at the wanted times. error: of
    clouds."""

    snapshots: Callable[[int, int], list[np.ndarray]]
    times: np.ndarray
    wanted: np.ndarray
    truth: Callable[[int], list[np.ndarray]]
    error: Callable[[list[Cloud], list[np.ndarray]], float]


def mean_w2(clouds: list[Cloud], truth: list[np.ndarray]) -> float:
    return float(np.mean([w2(c, y) for c, y in zip(clouds, truth, strict=True)]))


def root_mean_energy(clouds: list[Cloud], truth: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean([energy(c, y) for c, y in zip(clouds, truth, strict=True)])))


def nations(first: int) -> Study:
    """Countries every ten years from snapshot `first` of those every five, the others left out. The
    seed also says in which of five years the calendar begins."""
    panel, years = countries(), np.arange(0, 50, 5)
    used = years[first::2]
    left = years[first + 1 : -1 : 2]
    times = panel.times - panel.times[0]

    def snapshots(cells: int, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.permutation(panel.snapshots[k + seed % 5])[:cells] for k in used]

    def truth(seed: int) -> list[np.ndarray]:
        return [panel.snapshots[k + seed % 5] for k in left]

    return Study(snapshots, times[used], times[left], truth, mean_w2)


def cells() -> Study:
    rng, times = np.random.default_rng(10**6), bifurcation.TIMES
    truth = [bifurcation.simulate(rng, 1000, s) for s in times]

    def snapshots(count: int, seed: int) -> list[np.ndarray]:
        return bifurcation.snapshots(np.random.default_rng(seed), count)

    return Study(snapshots, times, times, lambda seed: truth, root_mean_energy)


def compare(
    name: str, tuning: Study, test: Study, counts: Iterable[int], methods, seeds: int
) -> list[dict[str, Any]]:
    rows = []
    for count in counts:
        for method in methods(count):

            def error(study: Study, setting: Setting, seed: int, method=method, count=count):
                seen = study.snapshots(count, seed)
                clouds = method.clouds(seen, study.times, study.wanted, setting, seed)
                return study.error(clouds, study.truth(seed))

            settings = method.settings
            tried = [error(tuning, s, 0) for s in settings] if len(settings) > 1 else [0.0]
            best = settings[int(np.argmin(tried))]
            found = [error(test, best, seed) for seed in range(1, 1 + seeds)]
            rows.append(
                {
                    "population": name,
                    "cells": count,
                    "method": method.name,
                    "error": float(np.mean(found)),
                    "s.e.": float(np.std(found, ddof=1) / np.sqrt(seeds)),
                    "setting": " ".join(f"{k}={v:g}" for k, v in best.items()),
                }
            )
            print(rows[-1], flush=True)
    return rows


def grid(**values: Sequence[float]) -> list[Setting]:
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def on_nations(cells: int) -> list[Method]:
    sample = sampler(100 if cells < 150 else 200, warmup=500, draws=10, thinning=20)
    settings = grid(diffusivity=[0.01, 0.03], bandwidth=[0.1], regularization=[1.0, 3.0])
    if cells >= 100:
        settings = grid(diffusivity=[0.001, 0.003], bandwidth=[0.05], regularization=[0.3, 1.0])
    settings = [{**setting, "bridges": bridges} for setting in settings for bridges in (0, 1)]
    epsilon = [0, 0.01, 0.03, 0.1]
    return [
        Method("copy", copy, [{}]),
        Method("pooled", pooled, grid(width=[2.5, 5, 10, 15])),
        Method("OT interpolation", interpolated, grid(epsilon=epsilon)),
        Method("OT, blurred", interpolated, grid(epsilon=epsilon[:3], blur=[0.03, 0.1, 0.2, 0.3])),
        Method("paths", functools.partial(inferred, sample, None), settings),
    ]


def on_cells(cells: int) -> list[Method]:
    sample = _cells_sampler()
    settings = grid(
        diffusivity=[bifurcation.DIFFUSIVITY],
        bandwidth=[0.3, 0.5],
        regularization=[0.05, 0.15, 0.4],
    )
    return [
        Method("snapshot", copy, [{}]),
        Method("pooled", pooled, grid(width=[0.03, 0.06, 0.125, 0.25])),
        Method("paths", functools.partial(inferred, sample, None), settings),
    ]


@functools.cache
def _cells_sampler() -> Callable:
    return sampler(100, warmup=500, draws=10, thinning=20)


def run(
    nations_counts: Sequence[int] = (20, 50, 202),
    cells_counts: Sequence[int] = (1, 4, 16, 64),
    seeds: int = 5,
) -> list[dict]:
    found = compare("countries", nations(0), nations(1), nations_counts, on_nations, seeds)
    study = cells()
    return found + compare("bifurcation", study, study, cells_counts, on_cells, seeds)
