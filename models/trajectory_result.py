"""What a run of `models.trajectory` says about paths, as groups of its inference data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array
from mmfld_ppl.functionals import PathSpace
from mmfld_ppl.inference_data.datasets import SAMPLE_DIMS, dataset_of
from mmfld_ppl.inference_data.groups import dataset, with_groups
from mmfld_ppl.inference_data.summary import block_dim


def with_trajectories(
    idata: Any,
    path: PathSpace,
    *,
    at: Sequence[float] | np.ndarray = (),
    draws: int = 10,
    paths: int = 100,
    bridges: bool = False,
    coordinates: Sequence[str] | None = None,
    seed: int = 0,
) -> Any:
    """The exported run with its paths beside it, and the times by which `mm.summary` names the
    marginals.

    Adds these groups, `marginals` of all draws, the next three of the last `draws` of each chain:
      marginals: `x` (chain, draw, time, particle, coordinate).
      couplings: `coupling` (chain, draw, gap, particle, particle_next) between neighbouring times,
        named by the earlier one, of total mass one; with growth the earlier marginal is the grown
        one. `marginal_error` and `transport_cost` (chain, draw, gap) of their solves.
      paths: `x` (chain, draw, path, time, coordinate): draws from the Markov chain of the
        couplings, `time` being those of the snapshots and those of `at`. With growth these are
        the lines of descent of cells at the last time.
      interpolation: `x` (chain, draw, time_between, particle, coordinate) at the times `at`.
      snapshots: `x` (observed_cell, coordinate) and `observed_time` (observed_cell).

    path: the functional of the model. at: times between the first and the last.
    bridges: whether paths and interpolation follow Brownian bridges of variance diffusivity
      u (1 - u) dt about the straight line, at the fraction u of a gap, as the estimator has it.
      They may leave a bounded support; straight lines, the default, stay inside of any convex one.
    coordinates: names of the coordinates of a cell. seed: of the paths drawn.
    Raises ValueError for runs without the site `x` in T equal blocks, and times outside."""
    times = np.asarray(path.times, dtype=float)
    wanted = np.asarray(as_array("at", at), dtype=float).reshape(-1)
    outside = wanted[~((wanted >= times[0]) & (wanted <= times[-1]))]
    if len(outside):
        raise ValueError(
            f"a path is known from time {times[0]:g} to {times[-1]:g}, not at {outside.tolist()}: "
            "there is no extrapolation"
        )
    posterior = dataset(idata, "posterior")
    if "x" not in posterior:
        raise ValueError(
            f"the run has no site 'x', only {list(posterior.data_vars)}: pass a run of `trajectory`"
        )
    if posterior["x"].shape[2] % path.num_times:
        raise ValueError(
            f"the run has {posterior['x'].shape[2]} particles, not a multiple of the "
            f"{path.num_times} times of the path: pass the functional that the run was made with"
        )
    if draws < 1 or paths < 1:
        raise ValueError(f"draws and paths must be positive, got {draws} and {paths}")
    x = posterior["x"].values.astype(np.float32 if posterior["x"].dtype == np.float32 else float)
    chains, kept = x.shape[:2]
    blocks = x.reshape(chains, kept, path.num_times, -1, x.shape[-1])
    draws = min(draws, kept)
    solved = _solve(path, x[:, -draws:])
    rng = np.random.default_rng(seed)
    growth = np.asarray(jax.vmap(jax.vmap(path.log_factors))(jnp.asarray(blocks[:, -draws:])))
    tau = float(path.diffusivity) if bridges else 0.0
    grid = np.union1d(times, wanted)
    each = [
        (blocks[c, kept - draws + k], solved["coupling"][c, k], growth[c, k])
        for c in range(chains)
        for k in range(draws)
    ]
    lines = [_paths(rng, b, p, times, grid, paths, tau) for b, p, _ in each]
    between = [interpolate(rng, b, p, g, times, wanted, tau) for b, p, g in each]
    names = list(range(x.shape[-1])) if coordinates is None else list(coordinates)
    coords: Any = {
        "chain": posterior["chain"].values,
        "gap": times[:-1],
        "time_between": wanted,
        "coordinate": names,
    }
    last = coords | {"draw": posterior["draw"].values[-draws:]}

    def collect(values: list[np.ndarray]) -> np.ndarray:
        return np.stack(values).reshape(chains, draws, *values[0].shape)

    along, of_gap = ("particle", "coordinate"), (*SAMPLE_DIMS, "gap")
    block = block_dim(str(posterior["x"].dims[2]))
    groups = {
        "posterior": posterior.assign_coords({block: times}),
        "marginals": dataset_of(
            {"x": ((*SAMPLE_DIMS, "time", *along), blocks)},
            coords | {"draw": posterior["draw"].values, "time": times},
        ),
        "couplings": dataset_of(
            {
                "coupling": ((*of_gap, "particle", "particle_next"), solved["coupling"]),
                "marginal_error": (of_gap, solved["marginal_error"]),
                "transport_cost": (of_gap, solved["transport_cost"]),
            },
            last,
        ),
        "paths": dataset_of(
            {"x": ((*SAMPLE_DIMS, "path", "time", "coordinate"), collect(lines))},
            last | {"time": grid},
        ),
        "snapshots": _snapshots(path, times, names),
    }
    if len(wanted):
        groups["interpolation"] = dataset_of(
            {"x": ((*SAMPLE_DIMS, "time_between", *along), collect(between))}, last
        )
    return with_groups(idata, groups)


def _solve(path: PathSpace, x: np.ndarray) -> dict[str, np.ndarray]:
    """Couplings and how they were found, for every chain and draw."""

    @eqx.filter_jit
    def one(path: PathSpace, points: jax.Array) -> tuple:
        measure = mm.Measure.uniform(points)
        potentials = path.linearize(measure, path.init_carry(measure)).carry
        # From the solution, so that neither solves again.
        report = path.report(measure, potentials)
        couplings = path.couplings(measure, potentials)
        return couplings, report.marginal_error, report.transport_cost

    # One at a time: a batch would hold all couplings at once, and wait for the slowest.
    found = [one(path, jnp.asarray(points)) for points in x.reshape(-1, *x.shape[2:])]
    names = ("coupling", "marginal_error", "transport_cost")
    stacked = (np.stack([np.asarray(v) for v in values]) for values in zip(*found, strict=True))
    return {
        name: values.reshape(*x.shape[:2], *values.shape[1:])
        for name, values in zip(names, stacked, strict=True)
    }


def _draw(rng: np.random.Generator, weights: Float[np.ndarray, "k n"]) -> np.ndarray:
    """One index for each row of weights, in proportion to them."""
    total = np.cumsum(weights, axis=1, dtype=float)
    u = rng.uniform(size=(len(total), 1)) * total[:, -1:]
    return np.minimum((u >= total).sum(axis=1), weights.shape[1] - 1)


def _even(rng: np.random.Generator, weights: Float[np.ndarray, " n"], count: int) -> np.ndarray:
    """Systematic draws of indices, in random order."""
    total = np.cumsum(weights, dtype=float)
    at = (np.arange(count) + rng.uniform()) / count * total[-1]
    return rng.permutation(np.minimum(np.searchsorted(total, at, "right"), len(weights) - 1))


def _toward(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, u: float, variance: float
) -> np.ndarray:
    """At the fraction u of the way from x to y, along Brownian bridges of this variance a gap."""
    middle = (1 - u) * x + u * y
    if not variance:
        return middle
    return middle + np.sqrt(variance * u * (1 - u)) * rng.normal(size=x.shape)


def _paths(
    rng: np.random.Generator,
    blocks: np.ndarray,
    plans: np.ndarray,
    times: np.ndarray,
    grid: np.ndarray,
    count: int,
    tau: float,
) -> np.ndarray:
    """Lines of descent, drawn backwards from the last time; (count, len(grid), d)."""
    i = _even(rng, plans[-1].sum(axis=0), count)
    ends = [blocks[-1][i]]
    for x, plan in zip(blocks[-2::-1], plans[::-1], strict=True):
        i = _draw(rng, plan.T[i])
        ends.insert(0, x[i])
    steps = [ends[0]]
    for s, following in zip(grid[:-1], grid[1:], strict=True):
        k = int(np.searchsorted(times, s, "right")) - 1
        # From where the path is now: so that a bridge of several steps is one bridge.
        left, u = times[k + 1] - s, (following - s) / (times[k + 1] - s)
        at_end = following == times[k + 1]
        steps.append(ends[k + 1] if at_end else _toward(rng, steps[-1], ends[k + 1], u, tau * left))
    return np.stack(steps, axis=1).astype(blocks.dtype)


def interpolate(
    rng: np.random.Generator,
    blocks: np.ndarray,
    plans: np.ndarray,
    log_growth: np.ndarray,
    times: np.ndarray,
    at: np.ndarray,
    tau: float,
) -> np.ndarray:
    """Particles at the times `at`, (len(at), M, d).

    A pair of the coupling counts, at the fraction u of a gap, for what it has grown to so far."""
    found = []
    for s in at:
        k = min(int(np.searchsorted(times, s, "right")) - 1, len(times) - 2)
        u = (s - times[k]) / (times[k + 1] - times[k])
        weights = plans[k].sum(axis=1) * np.exp(-(1 - u) * log_growth[k])
        i = _even(rng, weights, blocks.shape[1])
        j = _draw(rng, plans[k][i])
        variance = tau * (times[k + 1] - times[k])
        found.append(_toward(rng, blocks[k][i], blocks[k + 1][j], u, variance))
    return np.stack(found).astype(blocks.dtype) if found else np.zeros((0, *blocks.shape[1:]))


def _snapshots(path: PathSpace, times: np.ndarray, names: list) -> xr.Dataset:
    masses, cells = np.asarray(path.masses), np.asarray(path.cells)
    real = masses > 0
    return dataset_of(
        {
            "x": (("observed_cell", "coordinate"), cells[real]),
            "observed_time": (
                ("observed_cell",),
                np.broadcast_to(times[:, None], real.shape)[real],
            ),
            "mass": (("observed_cell",), masses[real]),
        },
        {"coordinate": names},
    )
