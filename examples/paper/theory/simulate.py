"""Replicates of particle systems from given starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmfld_ppl import dynamics


def replicates(
    langevin: dynamics.MeanFieldLangevin,
    starts: np.ndarray,
    seed: int,
    records: int,
    every: int,
    statistic: Callable[[jax.Array], Any] = lambda x: x,
) -> tuple[Any, np.ndarray]:
    """`statistic` of the particles of each replicate at the start and after each of `records` times
    `every` steps, with leading axes (replicate, record); and the mean acceptance.

    starts: (replicates, particles)."""

    def run(key, x):
        key_start, key_run = jax.random.split(key)
        state = langevin.init(x, key_start)

        def record(state, key):
            state, info = jax.lax.scan(
                lambda s, k: langevin.step(k, s), state, jax.random.split(key, every)
            )
            return state, (statistic(state.particles), jnp.mean(info.accept_prob))

        _, (seen, accepted) = jax.lax.scan(record, state, jax.random.split(key_run, records))
        first = jax.tree.map(lambda v: jnp.asarray(v)[None], statistic(x))
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, seen), accepted

    x = jnp.asarray(starts, jnp.float32)
    keys = jax.random.split(jax.random.key(seed), len(x))
    seen, accepted = jax.jit(jax.vmap(run))(keys, x)
    return jax.tree.map(np.asarray, seen), np.asarray(accepted)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over independent replicates along the leading axis."""
    values = np.asarray(values, float)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Prints columns that are as wide as they need to be."""
    text = [columns, *[[v if isinstance(v, str) else f"{v:.4g}" for v in row] for row in rows]]
    widths = [max(len(line[i]) for line in text) for i in range(len(columns))]
    print(f"\n{title}")
    for line in text:
        first, *rest = (
            v.ljust(w) if i == 0 else v.rjust(w)
            for i, (v, w) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *rest]), flush=True)
