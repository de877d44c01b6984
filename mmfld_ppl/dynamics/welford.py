"""Running means and variances of observations of a mirror map."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..mirrors import Moments, Observation


class Welford(NamedTuple):
    """Sums over the observations so far, in the manner of Welford 1962 for batches.

    count: observations. steps: batches. mean, squares: mean of the coordinates and sum of
    squared deviations from it. local_variance: mean local variance."""

    count: Float[Array, ""]
    steps: Float[Array, ""]
    mean: PyTree
    squares: PyTree
    local_variance: PyTree


def welford_init(like: Observation) -> Welford:
    """Nothing seen yet. `like`: an observation of one unit."""
    leaf = jax.tree.leaves(like)[0]
    zero = jnp.zeros((), leaf.dtype)
    zeros = jax.tree.map(jnp.zeros_like, like)
    return Welford(zero, zero, zeros.coordinates, zeros.coordinates, zeros.local_variance)


def welford_update(state: Welford, batch: Observation) -> Welford:
    """Adds the observations of a batch of units, stacked along the leading axis."""
    size = jax.tree.leaves(batch)[0].shape[0]
    count = state.count + size
    share = size / count

    def merge(mean, squares, x):
        batch_mean = jnp.mean(x, axis=0)
        gap = batch_mean - mean
        within = jnp.sum(jnp.square(x - batch_mean), axis=0)
        return mean + share * gap, squares + within + state.count * share * jnp.square(gap)

    merged = jax.tree.map(merge, state.mean, state.squares, batch.coordinates)
    mean, squares = jax.tree.transpose(
        jax.tree.structure(state.mean), jax.tree.structure((0, 0)), merged
    )
    local = jax.tree.map(
        lambda old, new: old + share * (jnp.mean(new, axis=0) - old),
        state.local_variance,
        batch.local_variance,
    )
    return Welford(count, state.steps + 1, mean, squares, local)


def welford_moments(state: Welford) -> Moments:
    """Mean, variance and mean local variance of what was seen."""
    variance = jax.tree.map(lambda s: s / jnp.maximum(state.count - 1, 1), state.squares)
    return Moments(state.mean, variance, state.local_variance)
