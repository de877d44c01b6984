"""What values and programs are, in a few letters that are the same in every process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

#: Addresses in what objects print, which change from process to process.
ADDRESS = re.compile(r"0x[0-9a-f]+")


def digest(tree: PyTree) -> str:
    """Of arrays and of what NumPy makes arrays of (data frames) by value and by how it prints, of
    anything else by how it prints."""
    leaves, structure = jax.tree.flatten(tree)
    found = sha256(ADDRESS.sub("", str(structure)).encode())
    for leaf in leaves:
        found.update(b"\0leaf")  # Or 1, 23 would be 12, 3.
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if hasattr(leaf, "__array__"):
            array = np.asarray(leaf)
            # Objects lie in an array as addresses.
            content = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(content)
        if isinstance(leaf, (set, frozenset)):
            leaf = sorted(map(repr, leaf))
        if not isinstance(leaf, (jax.Array, np.ndarray)):
            found.update(ADDRESS.sub("", repr(leaf)).encode())
    return found.hexdigest()


def digest_of_program(program: ClosedJaxpr) -> str:
    """Of its operations by how they print, and of the arrays that it holds by value."""
    # To a terminal JAX prints in colours.
    printed = program.jaxpr.pretty_print(use_color=False)
    return digest((printed, program.consts, list(inner_arrays(program.jaxpr))))


def inner_arrays(program: Jaxpr) -> Iterator[Any]:
    """The arrays that operations of a program hold, which do not print, or not in full: mostly
    those that functions within it, compiled by themselves, close over."""
    for operation in program.eqns:
        held = [v.val for v in operation.invars if isinstance(v, Literal)]
        for part in (*held, *jax.tree.leaves(operation.params)):
            if isinstance(part, ClosedJaxpr):
                yield from part.consts
                part = part.jaxpr
            if isinstance(part, Jaxpr):
                yield from inner_arrays(part)
            elif isinstance(part, (np.ndarray, jax.Array)):
                yield part
