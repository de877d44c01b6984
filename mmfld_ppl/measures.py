"""Weighted empirical measures, and the arrays that their points and other data are read as."""

from __future__ import annotations

import datetime
import numbers
import textwrap
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

_DATES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)


def as_array(name: str, values: Any) -> Any:
    """One array of numbers: of NumPy from lists, data frames and whatever else NumPy reads, so that
    it can be looked at within a trace; what JAX has already stays as it is.

    Raises ValueError, which calls the values by this name, for dates, text, missing values and
    other things that are not numbers, and for rows of different lengths."""
    if isinstance(values, Array):
        return values
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values)):
        return jnp.asarray(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} must be one array of numbers, got rows of different lengths: give each row as "
            "many entries"
        ) from error
    if array.dtype.kind not in "OSUMm":
        return array
    return _numbers(name, array)


def as_arrays(name: str, tree: PyTree) -> PyTree:
    """A pytree of such arrays. A list in which there are only numbers is one of them."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: as_array(name + jax.tree_util.keystr(path), leaf), tree, is_leaf=_is_rows
    )


def _is_rows(node: PyTree) -> bool:
    return isinstance(node, list) and not any(map(np.ndim, jax.tree.leaves(node)))


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Of Python objects, if all of them are numbers."""
    if array.dtype.kind in "SU":
        array = array.astype(object)
    wrong = np.ones(array.shape, bool)
    if array.dtype == object:
        wrong = ~np.asarray(np.frompyfunc(_is_number, 1, 1)(array), bool)
    if not wrong.any():
        return array.astype(float)
    first = array[wrong][0]
    found, way_out = textwrap.shorten(repr(first), 60), "pass an array of them"
    if array.ndim:
        row = np.argwhere(wrong)[0][0]
        found += f" in row {row} and {np.count_nonzero(wrong)} such entries in all"
        way_out = "leave rows with missing values out, and write text and categories as numbers"
    if isinstance(first, _DATES):
        way_out = (
            "say how long after the first, in a unit of your choice, as by "
            "(t - t[0]) / np.timedelta64(365, 'D')"
        )
    raise ValueError(f"{name} must be numbers, got {found}: {way_out}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def _points(points: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, as_arrays("the points of a Measure", points))


def _weights(weights: Any) -> Array:
    return jnp.asarray(as_array("the weights of a Measure", weights))


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
        """The integral sum_i weights[i] * values[i] of a function with these values."""
        return jnp.tensordot(self.weights, values, axes=1)
