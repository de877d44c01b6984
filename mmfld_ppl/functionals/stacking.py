"""Measures of unequal sizes as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..measures import Measure


def stack_measures(measures: Sequence[Measure]) -> Measure:
    """All measures along a new leading axis, their masses made one, filled up to the size of the
    largest with atoms that have no mass.

    Such atoms, these and others, lie where an atom with mass is: far away they would cost the
    precision of distances."""
    size = max(measure.size for measure in measures)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(_fill(m, size) for m in measures))


def masses(measure: Measure) -> Float[Array, " n"]:
    """The weights, divided by their sum."""
    return measure.weights / jnp.sum(measure.weights)


def _fill(measure: Measure, size: int) -> Measure:
    shares = jnp.pad(masses(measure), (0, size - measure.size))
    place = jnp.where(shares > 0, jnp.arange(size), jnp.argmax(shares > 0))
    return Measure(jax.tree.map(lambda leaf: leaf[place], measure.points), shares)
