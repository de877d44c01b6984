"""How far one chain's measure is from its own fixed point."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..diagnostics import SteinTest, clustered_mean, slope_ratio, stein_kernel, stein_test
from ..diagnostics.stein import pair_mean
from .chain_gap import POINTS, gap
from .proximal import Block, FrozenModel
from .thinning import early_and_late, evenly

#: Points that a measure is linearised at.
POOLED = 10_000
#: Particles of a Stein test.
TESTED = 300
#: Draws along a run at which its particles are tested.
STEIN_DRAWS = 20
#: Of a particle, beyond which a Stein test would take too much memory, and find too little.
MOST_COORDINATES = 64
#: Of the slack.
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5)


def chain_statistics(
    model: FrozenModel, draws: Block, step_size: float, adjusted: bool | None, seed: int
) -> tuple[dict[str, tuple[tuple[str, ...], Any]], list[str]]:
    """The diagnostics of one chain, name -> (dims, values), as `mean_field_statistics` lists them;
    and the sites that have a boundary.

    draws: of the chain, (draw, N, ...) by site. step_size, adjusted: of the run."""
    length, size = next(iter(draws.values())).shape[:2]
    rng = np.random.default_rng(seed)
    key, gap_key = jax.random.split(jax.random.key(seed))
    wide = {n: jnp.asarray(x[evenly(length, POOLED // size)]) for n, x in draws.items()}
    kept = evenly(next(iter(wide.values())).shape[0], POINTS // size)
    blocks = {n: x[kept] for n, x in wide.items()}
    pooled, tangent = model.linearize(wide)
    walk = model.draw(tangent, blocks, step_size, key)
    found: dict[str, tuple[tuple[str, ...], Any]] = {}

    def put(name: str, value: Any, *dims: str) -> None:
        found[name] = (dims, np.asarray(value, float))

    bound, divergence = gap(model, tangent, blocks, walk.blocks, walk.step_size, gap_key)
    put("optimality_gap", bound.value)
    put("optimality_gap_error", bound.error)
    put("proximal_divergence", divergence.value)
    put("proximal_divergence_error", divergence.error)
    put("proximal_memory", walk.memory)
    if adjusted is False:
        put("would_accept", walk.acceptance)

    if sum(math.prod(x.shape[2:]) for x in draws.values()) <= MOST_COORDINATES:
        test, along = _stein(model, tangent, wide, draws, rng)
        put("stein_along", along, "stein_draw")
    else:
        test = SteinTest(np.nan, np.nan, np.nan)
    put("stein_statistic", test.statistic)
    put("stein_threshold", test.threshold)
    put("stein_p_value", test.p_value)

    last = {n: x[-1] for n, x in wide.items()}
    _, own = model.linearize({n: x[None] for n, x in last.items()})
    energies = model.energies(own, {n: x[None] for n, x in last.items()})
    variation, _, z = (np.asarray(v[0]) for v in energies)

    def value(weights: np.ndarray) -> float:
        return float(model.values(last, jnp.asarray(weights, variation.dtype)[None])[0])

    ratio, rounding = slope_ratio(value, variation, z)
    put("first_variation_ratio", ratio)
    put("first_variation_rounding", rounding)

    sizes, values, errors = _by_size(model, wide, float(pooled))
    put("size", sizes, "subsample")
    put("objective_by_size", values, "subsample")
    put("objective_by_size_error", errors, "subsample")

    slacks = [{n: np.ravel(s) for n, s in model.slack(b).items()} for b in (blocks, walk.blocks)]
    bounded = [name for name in draws if not np.all(slacks[0][name] == np.inf)]
    if bounded:
        ours, theirs = ([of_site[name] for name in bounded] for of_site in slacks)
        put("slack", [np.quantile(a, QUANTILES) for a in ours], "bounded_site", "quantile")
        put(
            "proximal_slack",
            [np.quantile(b, QUANTILES) for b in theirs],
            "bounded_site",
            "quantile",
        )
        beyond = [np.mean(~(a > np.quantile(b, 0.01))) for a, b in zip(ours, theirs, strict=True)]
        put("pile_up", beyond, "bounded_site")
    return found, bounded


def _stein(
    model: FrozenModel, tangent: Any, wide: Block, draws: Block, rng: np.random.Generator
) -> tuple[SteinTest, list[float]]:
    """Of each particle once, at a random draw; and the squared discrepancy at single draws of the
    same particles, with a kernel of the same width."""
    count, size = next(iter(wide.values())).shape[:2]
    keep, chosen = rng.permutation(size)[:TESTED], rng.integers(count, size=size)

    def forces(block: Block) -> list[np.ndarray]:
        return [np.asarray(v) for v in model.forces(tangent, block, keep)]

    mixed = forces({n: x[chosen, np.arange(size)] for n, x in wide.items()})
    at = early_and_late(next(iter(draws.values())).shape[0], STEIN_DRAWS)
    single = (forces({n: jnp.asarray(x[t]) for n, x in draws.items()}) for t in at)
    along = [pair_mean(stein_kernel(*one, like=mixed[0])) for one in single]
    return stein_test(stein_kernel(*mixed)), along


def _by_size(
    model: FrozenModel, wide: Block, pooled: float
) -> tuple[list[float], list[float], list[float]]:
    """F of quarters, halves and all of the particles, on average over draws, and of all draws."""
    count, size = next(iter(wide.values())).shape[:2]
    order = np.arange(size)
    splits = [order % 4 == r for r in range(4)] + [order % 2 == r for r in range(2)]
    weights = np.stack([*splits, np.ones(size, bool)]).astype(float)
    weights /= weights.sum(axis=1, keepdims=True)
    dtype = jax.tree.leaves(wide)[0].dtype
    some = evenly(count, 50)
    weightings = jnp.asarray(weights, dtype)
    values = np.array([model.values({n: x[t] for n, x in wide.items()}, weightings) for t in some])
    grouped = [values[:, :4].mean(axis=1), values[:, 4:6].mean(axis=1), values[:, 6]]
    means = [clustered_mean(v) for v in grouped]
    sizes = [size / 4, size / 2, size, size * count]
    # The pooled value is as uncertain as the mean over the draws that it pools.
    return (
        sizes,
        [*(m.value for m in means), pooled],
        [*(m.error for m in means), means[-1].error],
    )
