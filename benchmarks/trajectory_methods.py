"""Methods that `trajectories` compares: clouds of cells at any times, and where a cell goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import ot
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import mmfld_ppl as mm
from mmfld_ppl.functionals import PathSpace
from models.trajectory import starting_cells, trajectory

#: Points, and their masses: none for equal ones.
Cloud = tuple[np.ndarray, np.ndarray | None]
Setting = dict[str, float]


class Answer(NamedTuple):
    """clouds: one for each wanted time. moved: cells at each time but the last, and where each is
    expected at the next time; several pairs of them where the method is random."""

    clouds: list[Cloud]
    moved: list[list[tuple[np.ndarray, np.ndarray]]]


class Method(NamedTuple):
    """answer: (snapshots, times, times wanted, setting, seed) -> Answer."""

    name: str
    answer: Callable[..., Answer]
    settings: list[Setting]


def copied(snapshots, times, wanted, setting, seed) -> Answer:
    """The last snapshot up to then; every cell stays."""
    at = np.searchsorted(times, wanted, "right") - 1
    clouds: list[Cloud] = [(snapshots[k], None) for k in at]
    return Answer(clouds, [[(x, x)] for x in snapshots[:-1]])


def pooled(snapshots, times, wanted, setting, seed) -> Answer:
    """All snapshots, with Gaussian weights in time."""
    clouds = []
    for s in wanted:
        far = ((times - s) / setting["width"]) ** 2
        w = np.exp((far.min() - far) / 2)
        shares = [np.full(len(z), share) for z, share in zip(snapshots, w, strict=True)]
        clouds.append((np.concatenate(snapshots), np.concatenate(shares)))
    return Answer(clouds, [])


def interpolated(snapshots, times, wanted, setting, seed) -> Answer:
    """By optimal transport between neighbouring snapshots of equal sizes: plain, or entropic by
    the whole coupling where `epsilon` is given. `blur` adds Gaussian noise to copies."""
    rng = np.random.default_rng(seed)
    if "epsilon" in setting:
        blocks = np.stack(snapshots)
        tau = setting["epsilon"] / np.diff(times).max()
        plans = couplings(snapshots, times, blocks, {"diffusivity": tau})
    else:
        plans = [_assigned(x, y) for x, y in zip(snapshots[:-1], snapshots[1:], strict=True)]
    clouds = _between(rng, snapshots, plans, times, wanted, 0.0)
    if blur := setting.get("blur"):
        clouds = [_blurred(rng, cloud, blur) for cloud in clouds]
    return Answer(clouds, _moved(snapshots, plans))


def inferred(sample: Callable, snapshots, times, wanted, setting, seed) -> Answer:
    """Particles at the times of the snapshots; in between the whole couplings of neighbours, along
    straight lines or (`bridges`) Brownian bridges. All draws together."""
    setting = dict(setting)
    tau = setting["diffusivity"] if setting.pop("bridges", 0) else 0.0
    draws = sample(snapshots, times, setting, seed)
    rng, each, moved = np.random.default_rng(seed), [], [[] for _ in times[1:]]
    draws = draws.reshape(len(draws), len(times), -1, draws.shape[2])
    for blocks in draws:
        if np.isin(wanted, times).all():
            each.append([(blocks[np.searchsorted(times, s)], None) for s in wanted])
            continue
        plans = couplings(snapshots, times, blocks, setting)
        each.append(_between(rng, blocks, plans, times, wanted, tau))
        for pairs, more in zip(moved, _moved(blocks, plans), strict=True):
            pairs += more
    clouds = []
    for parts in zip(*each, strict=True):
        shares = [np.full(len(x), 1 / len(x)) if w is None else w / w.sum() for x, w in parts]
        clouds.append((np.concatenate([x for x, _ in parts]), np.concatenate(shares)))
    return Answer(clouds, moved)


def couplings(
    snapshots: Sequence[np.ndarray], times: np.ndarray, blocks: np.ndarray, setting: Setting
) -> np.ndarray:
    """Entropic ones of neighbouring blocks, (T-1, M, M)."""
    setting = {"bandwidth": 1.0, "regularization": 1.0, **setting}
    path = PathSpace(snapshots, times.astype(np.float32), **_single(setting))
    points = jnp.asarray(blocks.reshape(-1, blocks.shape[-1]), jnp.float32)
    return np.asarray(_couplings(path, points), float)


@eqx.filter_jit
def _couplings(path: PathSpace, points: jax.Array) -> jax.Array:
    return path.couplings(mm.Measure.uniform(points))


def _single(setting: Setting) -> dict[str, Any]:
    return {name: jnp.float32(value) for name, value in setting.items()}


def _assigned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The optimal coupling of clouds of equal sizes and masses."""
    i, j = linear_sum_assignment(cdist(x, y, "sqeuclidean"))
    plan = np.zeros((len(x), len(y)))
    plan[i, j] = 1 / len(x)
    return plan


def _between(rng, blocks, plans, times, wanted, tau) -> list[Cloud]:
    """All pairs of each coupling with more than a trace of mass, on their way."""
    clouds: list[Cloud] = []
    for s in wanted:
        k = int(np.searchsorted(times, s, "right")) - 1
        gap = times[k + 1] - times[k]
        u = (s - times[k]) / gap
        i, j = np.nonzero(plans[k] > 1e-4 * plans[k].max())
        x = (1 - u) * blocks[k][i] + u * blocks[k + 1][j]
        noise = np.sqrt(tau * gap * u * (1 - u)) * rng.normal(size=x.shape)
        clouds.append((x + noise, plans[k][i, j]))
    return clouds


def _blurred(rng, cloud: Cloud, deviation: float) -> Cloud:
    """Copies with noise, 4000 at least."""
    x, masses = cloud
    times = -(-4000 // len(x))
    x = np.repeat(x, times, axis=0)
    masses = None if masses is None else np.repeat(masses, times)
    return x + deviation * rng.normal(size=x.shape), masses


def _moved(blocks, plans) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Where each cell is expected to go, by its row of the coupling."""
    return [
        [(x, plan @ y / plan.sum(axis=1, keepdims=True))]
        for x, y, plan in zip(blocks[:-1], blocks[1:], plans, strict=True)
    ]


def w2(cloud: Cloud, truth: np.ndarray, most: int = 4000) -> float:
    """The 2-Wasserstein distance to equal masses at the truth.

    Of a larger cloud what falls into one of `most` small squares or fewer goes together, and the
    scatter in the squares is added, which makes it an upper bound, above it by a percent."""
    x, masses = cloud
    masses = np.full(len(x), 1 / len(x)) if masses is None else masses / masses.sum()
    scatter = 0.0
    if len(x) > most:
        side = 0.02
        while len((found := np.unique(np.floor(x / side), axis=0, return_inverse=True))[0]) > most:
            side *= 1.5
        of = found[1].ravel()
        total = np.bincount(of, masses)
        centres = np.stack([np.bincount(of, masses * column) for column in x.T], axis=1)
        centres /= total[:, None]
        scatter = masses @ ((x - centres[of]) ** 2).sum(axis=1)
        x, masses = centres, total / total.sum()
    cost = cdist(x, truth, "sqeuclidean")
    to = np.full(len(truth), 1 / len(truth))
    return float(np.sqrt(ot.emd2(masses, to, cost, 10**6) + scatter))


def next_position(
    moved: list[list[tuple[np.ndarray, np.ndarray]]], truth: list[np.ndarray]
) -> float:
    """Root mean square error of where each individual is at the next time: it is expected to move
    as the cell that is nearest to it does, in the mean over the pairs given.

    truth: all individuals at each time, in the same order."""
    errors = []
    for pairs, here, there in zip(moved, truth[:-1], truth[1:], strict=True):
        nearest = [(cdist(here, x).argmin(axis=1), x, y) for x, y in pairs]
        step = np.mean([y[i] - x[i] for i, x, y in nearest], axis=0)
        errors.append(np.mean(((here + step - there) ** 2).sum(axis=1)))
    return float(np.sqrt(np.mean(errors)))


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
