"""The state of a kernel as bytes, for any kernel whose state is a pytree of arrays."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


def pack(state: PyTree) -> bytes:
    """The leaves of a state, without its structure."""
    leaves = [_plain(leaf) for leaf in jax.tree.leaves(state)]
    file = io.BytesIO()
    np.savez(file, *[np.frombuffer(leaf.tobytes(), np.uint8) for leaf in leaves])
    return file.getvalue()


def unpack(content: bytes, like: PyTree) -> PyTree:
    """The state with the structure, shapes and dtypes of another one, on the default device.

    Leaves are strongly typed, so that the first step compiles to the same program as all others.
    Raises ValueError when the leaves do not fit."""
    old, structure = jax.tree.flatten(like)
    with np.load(io.BytesIO(content)) as file:
        stored = [file[name] for name in file.files]
    if [leaf.nbytes for leaf in stored] != [_plain(leaf).nbytes for leaf in old]:
        raise ValueError("the stored state of the kernel does not fit this kernel and model")
    new = [_restored(raw, leaf) for raw, leaf in zip(stored, old, strict=True)]
    return jax.tree.unflatten(structure, new)


def _is_key(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Array) -> np.ndarray:
    leaf = jnp.asarray(leaf)
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _restored(raw: np.ndarray, like: Array) -> Array:
    like = jnp.asarray(like)
    plain = _plain(like)
    # A copy: JAX may otherwise donate memory that belongs to NumPy.
    value = jnp.array(raw.view(plain.dtype).reshape(plain.shape), plain.dtype, copy=True)
    if _is_key(like):
        value = jax.random.wrap_key_data(value, impl=jax.random.key_impl(like))
    return value
