"""Weighted empirical measures."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .arrays import as_array, as_arrays


def _points(points: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, as_arrays("the points of a Measure", points))


def _weights(weights: Any) -> Array:
    found: Any = as_array("the weights of a Measure", weights)
    # Whole numbers are masses like others, and what is cast to their dtype must not be cut off.
    return jnp.asarray(found, jnp.result_type(found, float))


class Measure(eqx.Module):
    """mu = sum_i weights[i] * delta(points[i]).

    points: an array, or a pytree of arrays, with the N atoms along the leading axis. Lists of
      numbers and data frames are taken as an array.
    weights: N masses. Functionals are differentiated in them, so nothing normalises them:
    `mean` is the integral, also of a measure whose mass is not 1.

    Raises ValueError when there is no atom, when points and weights disagree on how many, or when
    they are not numbers.

        >>> import jax.numpy as jnp
        >>> mu = Measure(jnp.array([[0.0, 1.0], [4.0, 1.0]]), jnp.array([0.75, 0.25]))
        >>> mu.size
        2
        >>> print(mu.mean(mu.points))
        [1. 1.]
    """

    points: PyTree[Float[Array, "n ..."]] = eqx.field(converter=_points)
    weights: Float[Array, " n"] = eqx.field(converter=_weights)

    def __check_init__(self):
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.points)]
        if not shapes:
            raise ValueError("a Measure needs points, got a pytree without arrays")
        if {shape[:1] for shape in shapes} != {self.weights.shape}:
            raise ValueError(
                "the points of a Measure and its weights must share their leading axis, got points "
                f"of shapes {shapes} and weights of shape {self.weights.shape}"
            )
        if self.size == 0:
            raise ValueError("a Measure needs at least one atom, got none")

    @classmethod
    def uniform(cls, points: PyTree[Float[Array, "n ..."]]) -> Measure:
        """Equal weights 1/N.

        >>> print(Measure.uniform({"position": jnp.zeros((4, 2))}).weights)
        [0.25 0.25 0.25 0.25]
        """
        points = _points(points)
        leaves = jax.tree.leaves(points)
        if not leaves or not jnp.ndim(leaves[0]):
            raise ValueError("a Measure needs points along a leading axis, got none")
        n = jnp.shape(leaves[0])[0]
        return cls(points, jnp.full(n, 1 / max(n, 1), jnp.result_type(leaves[0], float)))

    @property
    def size(self) -> int:
        """Number of atoms N."""
        return self.weights.shape[0]

    def mean(self, values: Float[Array, "n ..."]) -> Float[Array, " ..."]:
        """The integral sum_i weights[i] * values[i] of a function with these values.

        Raises ValueError unless there is one for each atom, along the leading axis."""
        if jnp.shape(values)[:1] != (self.size,):
            raise ValueError(
                f"Measure.mean takes the values of a function at the {self.size} atoms, along the "
                f"leading axis, got shape {jnp.shape(values)}: mu.mean(mu.points) is the mean"
            )
        return jnp.tensordot(self.weights, values, axes=1, precision="highest")
