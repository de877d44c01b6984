"""Running means and variances of observations of a mirror map."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..mirrors import Moments, Observation


class Welford(NamedTuple):
    """Sums over the observations so far, in the manner of Welford 1962 for batches.

    observations: how many. steps: batches. mean, squares: mean of the coordinates and sum of
    squared deviations from it. local_variance: mean local variance. score_mean, score_squares: as
    mean and squares, for the slopes in units of the local variance."""

    observations: Float[Array, ""]
    steps: Float[Array, ""]
    mean: PyTree
    squares: PyTree
    local_variance: PyTree
    score_mean: PyTree
    score_squares: PyTree


def welford_init(like: Observation) -> Welford:
    """Nothing seen yet. `like`: an observation of one unit."""
    leaf = jax.tree.leaves(like)[0]
    zero = jnp.zeros((), leaf.dtype)
    zeros = jax.tree.map(jnp.zeros_like, like)
    return Welford(zero, zero, zeros.coordinates, zeros.coordinates, *3 * (zeros.local_variance,))


def welford_update(state: Welford, batch: Observation, slopes: PyTree) -> Welford:
    """Adds the observations of a batch of units, stacked along the leading axis.

    slopes: of the potential at each, in the coordinates of the observations."""
    size = jax.tree.leaves(batch)[0].shape[0]
    count = state.observations + size
    share = size / count

    def average(old, new):
        return jax.tree.map(lambda a, b: a + share * (jnp.mean(b, axis=0) - a), old, new)

    def spread(mean, squares, new):
        def add(mean, squares, x):
            batch_mean = jnp.mean(x, axis=0)
            within = jnp.sum(jnp.square(x - batch_mean), axis=0)
            # Nothing was before the first, the square of which may overflow.
            moved = jnp.where(state.observations > 0, batch_mean - mean, 0)
            return squares + within + state.observations * share * jnp.square(moved)

        return jax.tree.map(add, mean, squares, new)

    # Next to a boundary rounding can make a variance that should vanish negative.
    scores = jax.tree.map(
        lambda v, g: jnp.sqrt(jnp.maximum(v, 0)) * g, batch.local_variance, slopes
    )
    return Welford(
        count,
        state.steps + 1,
        average(state.mean, batch.coordinates),
        spread(state.mean, state.squares, batch.coordinates),
        average(state.local_variance, batch.local_variance),
        average(state.score_mean, scores),
        spread(state.score_mean, state.score_squares, scores),
    )


def welford_moments(state: Welford) -> Moments:
    """Mean, variance and mean local variance of what was seen."""

    def variance(squares):
        return jax.tree.map(lambda s: s / jnp.maximum(state.observations - 1, 1), squares)

    score_variance = variance(state.score_squares)
    return Moments(
        state.mean,
        variance(state.squares),
        state.local_variance,
        score_variance,
        jax.tree.map(
            lambda mean, v: jnp.hypot(mean, jnp.sqrt(v)), state.score_mean, score_variance
        ),
        state.score_mean,
    )
