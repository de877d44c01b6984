"""What functionals ask of the data and measures that they are given, where these can be seen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..arrays import as_array, as_arrays, is_count, is_known, is_positive
from ..measures import Measure


def require_instance(name: str, value: Any) -> None:
    """Raises TypeError for a class."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be an instance, got the class {value.__name__}: pass an instance, "
            f"{value.__name__}(...)"
        )


def require_arguments(name: str, function: Callable, called: str, count: int) -> None:
    """Raises TypeError for a function that does not take so many arguments, by position.

    called: how it is called, for the message."""
    # A decorator may keep the name, and so the signature, of what takes more than it does itself.
    for of_wrapped in (True, False):
        try:
            inspect.signature(function, follow_wrapped=of_wrapped).bind(*range(count))
        except TypeError as error:
            refused = error
        except ValueError:  # A function of C says nothing of its arguments.
            return
        else:
            return
    raise TypeError(f"{name} is called as {called}, and does not take that: {refused}")


def require_kernel(name: str, kernel: Callable) -> None:
    """Raises TypeError for a class, and for a function that does not take two points."""
    require_instance(name, kernel)
    require_arguments(name, kernel, "kernel(x, y)", 2)


def called_as(function: Callable[..., Any], name: str, called: str) -> Callable[..., Any]:
    """The function, which adds to what goes wrong inside of it how it was called: arguments in
    another order go wrong there."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            shapes = ", ".join(str(jax.tree.map(jnp.shape, x)) for x in arguments)
            error.add_note(f"{name} was called as {called}, with arguments of shape {shapes}.")
            raise

    return call


def require_finite(name: str, tree: PyTree) -> None:
    """Raises ValueError for leaves with entries that are not finite, naming the first such row."""
    for leaf in jax.tree.leaves(tree):
        if not is_known(leaf) or not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            continue
        finite = np.isfinite(np.asarray(leaf))
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise ValueError(
                f"{name} must be finite, got {np.asarray(leaf)[row]} in row {row} and "
                f"{np.count_nonzero(~finite)} such entries in all: leave these rows out, or mend "
                "them"
            )


def require_positive(name: str, value: float | Array) -> Float[Array, ""]:
    """The value as an array. Raises ValueError unless it is one finite number above zero."""
    if not is_positive(value):
        raise ValueError(f"{name} must be one positive number, got {value}")
    return jnp.asarray(value, jnp.result_type(value, float))


def require_symmetric(
    name: str, function: Callable[[Any, Any], Array], points: PyTree, way_out: str
) -> None:
    """Raises ValueError for a function of two points that differs there and back, between a few."""
    few = jax.tree.map(lambda x: x[:8], points)
    matrix = jax.vmap(jax.vmap(function, (None, 0)), (0, None))(few, few)
    if not is_known(matrix) or matrix.ndim != 2:  # No numbers: that is said elsewhere.
        return
    there = np.asarray(matrix)
    apart = np.abs(there - there.T)
    if np.any(apart > 1e-3 * np.max(np.abs(there))):
        raise ValueError(
            f"{name} must be the same from x to y and from y to x, and differs by "
            f"{np.max(apart):.3g} between two of the first points: {way_out}"
        )


def require_probabilities(name: str, masses: Array | np.ndarray) -> None:
    """Raises ValueError for masses that are negative or do not sum to one."""
    if not is_known(masses):
        return
    known = np.asarray(masses)
    least, total = np.min(known), np.sum(known, dtype=float)
    if not (least >= 0 and abs(total - 1) < 1e-4):
        raise ValueError(
            f"{name} must be non-negative and sum to one, got minimum {least:g} and sum {total:g}: "
            "divide them by their sum"
        )


def require_one_each(name: str, values: Any, count: int, of: str) -> None:
    """Raises ValueError unless values are a vector with one entry for each of so many things."""
    shape = np.shape(values)
    if shape != (count,):
        got = f"{shape[0]} entries" if len(shape) == 1 else f"shape {shape}"
        raise ValueError(f"{name}: {got} for {count} {of}, give one for each")


def require_limits(threshold: float, max_iterations: int) -> None:
    """Raises ValueError unless iterations can be stopped by these."""
    if not threshold > 0 or not is_count(max_iterations):
        raise ValueError(
            "threshold must be positive and max_iterations a whole number of at least 1, got "
            f"{threshold} and {max_iterations}"
        )


def require_block(block_size: int | None) -> None:
    """Raises ValueError unless points can be taken so many at a time."""
    if block_size is not None and not is_count(block_size):
        raise ValueError(f"block_size must be a whole number of at least 1, got {block_size}")


def as_probability(name: str, target: Any) -> Measure:
    """A `Measure`, or a pair of points and masses, of mass one on finite points."""
    return Measure(*as_atoms(name, target))


def as_atoms(name: str, target: Any) -> tuple[PyTree, Any]:
    """The points and masses of `as_probability`, before they are arrays of JAX, which a trace
    stages."""
    if isinstance(target, Measure):
        points, masses = target.points, target.weights
    elif isinstance(target, tuple) and len(target) == 2:
        points = as_arrays(f"the points of {name}", target[0])
        masses = as_array(f"the masses of {name}", target[1])
    else:
        raise TypeError(
            f"{name} must be a Measure or a (points, masses) pair, got {type(target).__name__}; "
            "Measure.uniform(points) gives equal masses, and an image is (centres of its pixels, "
            "ink / ink.sum()), with a row of coordinates and one mass for each pixel"
        )
    if np.shape(masses) == (0,):
        raise ValueError(f"{name} has no atoms: leave it out, or give it points")
    require_finite(f"the points of {name}", points)
    require_probabilities(f"the masses of {name}", masses)
    return points, masses


def as_targets(targets: Iterable[Any]) -> list[tuple[PyTree, Any]]:
    """The points and masses of each target, which are points of one set."""
    if isinstance(targets, Measure):
        raise TypeError("targets must be a list of targets, got one Measure: pass [target]")
    atoms = [as_atoms(f"target {k}", target) for k, target in enumerate(targets)]
    if not atoms:
        raise ValueError("a barycenter needs at least one target measure, got none")
    for k, (points, _) in enumerate(atoms):
        require_same_events(f"target {k}", points, "target 0", atoms[0][0])
    return atoms


def require_same_events(name: str, points: PyTree, other: str, others: PyTree) -> None:
    """Raises ValueError unless both hold points of one structure and one shape of an event."""
    got, expected = (
        jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], tree) for tree in (points, others)
    )
    if got != expected:
        raise ValueError(
            f"{name} has points of shape {got}, {other} of shape {expected}: both must be points "
            "of the same set"
        )
