"""What was computed of the same arrays already: NumPyro runs a model some fifteen times a run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from ..digests import digest

#: Results that are kept.
MOST = 16

_results: OrderedDict[Hashable, Array] = OrderedDict()


def remembered(compute: Callable[[], Array], of: PyTree) -> Array:
    """`compute()`, a function of a pytree whose arrays are known; of the same content only once.

    Content, and not identity: what NumPy holds may have changed in place."""
    arrays, rest = eqx.partition(of, eqx.is_array_like)
    functions, structure = jax.tree.flatten(rest)
    # What a function closes over may change without it.
    if any(getattr(function, "__closure__", None) for function in functions):
        return compute()
    key = (
        digest(arrays),
        jax.dtypes.canonicalize_dtype(float),
        jax.tree.structure(arrays),
        structure,
    )
    key += tuple(functions)
    try:
        hash(key)
    except TypeError:  # A function that is an object without a hash.
        return compute()
    if key not in _results:
        _results[key] = compute()
    _results.move_to_end(key)
    while len(_results) > MOST:
        _results.popitem(last=False)
    return _results[key]
