"""Numbers as users have them, in lists, data frames and arrays, read as arrays."""

from __future__ import annotations

import datetime
import numbers
import textwrap
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

_DATES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)


def is_known(value: Any) -> bool:
    """Whether a value is there, and not traced. Look at it with NumPy: within a trace JAX stages
    even operations on constants."""
    return not isinstance(value, Tracer)


def is_number(value: Any) -> bool:
    """Whether this is one real number, traced or not."""
    array = np.asarray(value) if is_known(value) else value
    return array.ndim == 0 and jnp.isdtype(array.dtype, ("real floating", "integral", "bool"))


def is_positive(value: Any) -> bool:
    """Whether this is one finite number above zero; of what is traced, whether it is a number."""
    return is_number(value) and not (is_known(value) and not 0 < np.asarray(value) < np.inf)


def is_count(value: Any, least: int = 1) -> bool:
    """Whether this is a whole number, Python's or NumPy's, and not too small."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(value >= least)


def as_array(name: str, values: Any) -> Any:
    """One array of numbers: of NumPy from lists, data frames and whatever else NumPy reads, so that
    it can be looked at within a trace; what JAX has already stays as it is.

    Raises ValueError, which calls the values by this name, for dates, text, missing values and
    other things that are not numbers, and for rows of different lengths."""
    if isinstance(values, Array):
        return values
    if not all(map(is_known, jax.tree.leaves(values))):
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
        wrong = ~np.asarray(np.frompyfunc(_is_real, 1, 1)(array), bool)
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


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)
