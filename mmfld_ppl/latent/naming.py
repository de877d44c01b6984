"""Names of the leaves of a pytree."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, PyTree


def flatten_named(values: PyTree) -> tuple[list[str], list[Array], Any]:
    """(names, leaves, structure) of a pytree. A name is the path to a leaf with slashes; 'z' names
    a lone array."""
    paths, tree = jax.tree.flatten_with_path(values)
    names = ["/".join(_key_name(k) for k in path) or "z" for path, _ in paths]
    return names, [leaf for _, leaf in paths], tree


def _key_name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))
