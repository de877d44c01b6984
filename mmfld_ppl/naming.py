"""Names of the leaves of a pytree, and names that users give."""

from __future__ import annotations

from collections.abc import Iterable
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


def require_known(what: str, names: Iterable[str], known: Iterable[str], of: str = "") -> None:
    """Raises ValueError for names that are none of the known ones. of: what these are."""
    known = set(known)
    if unknown := sorted(set(names) - known):
        raise ValueError(f"{what} names {unknown}, which is none of {of}{sorted(known)}")
