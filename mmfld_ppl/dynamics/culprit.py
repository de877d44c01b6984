"""Which unit and which site of a refused move were not finite."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree


class Culprit(NamedTuple):
    """Where a move was not finite.

    unit: index of the first unit that was refused, -1 when none was. leaf: index of the first leaf
    of the position that is not finite there, in value or slope; -1 when all are, so that the
    density, the functional or the support is the reason."""

    unit: Int[Array, ""]
    leaf: Int[Array, ""]


def locate(refused: Bool[Array, " n"], *trees: PyTree) -> Culprit:
    """The culprit among n units. trees: stacked positions and slopes, all of one structure."""
    first = jnp.argmax(refused)
    # Not leaf[first], for which devices that share the units would have to send them all.
    chosen = jnp.arange(refused.shape[0]) == first

    def broken_there(row: tuple[Array, ...]) -> Bool[Array, ""]:
        bad = [jnp.any(~jnp.isfinite(leaf).reshape(leaf.shape[0], -1), axis=1) for leaf in row]
        return jnp.any(chosen & jnp.any(jnp.stack(bad), axis=0))

    rows = zip(*(jax.tree.leaves(tree) for tree in trees), strict=True)
    broken = jnp.stack([broken_there(row) for row in rows])
    found = jnp.any(refused)
    unit = jnp.where(found, first, -1)
    leaf = jnp.where(found & jnp.any(broken), jnp.argmax(broken), -1)
    return Culprit(unit.astype(jnp.int32), leaf.astype(jnp.int32))
