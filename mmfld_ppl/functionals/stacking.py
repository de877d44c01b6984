"""Measures of unequal sizes as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..measures import Measure


def stack_measures(measures: Sequence[Measure]) -> Measure:
    """All measures along a new leading axis, their masses made one, filled up to the size of the
    largest with copies of an atom that have no mass."""
    size = max(measure.size for measure in measures)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(_fill(m, size) for m in measures))


def masses(measure: Measure) -> Float[Array, " n"]:
    """The weights, divided by their sum."""
    return measure.weights / jnp.sum(measure.weights)


def _fill(measure: Measure, size: int) -> Measure:
    extra = size - measure.size

    def lengthen(leaf: Array) -> Array:
        return jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (extra, *leaf.shape[1:]))])

    points = jax.tree.map(lengthen, measure.points)
    return Measure(points, jnp.pad(masses(measure), (0, extra)))
