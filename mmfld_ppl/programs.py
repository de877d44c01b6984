"""Programs that are compiled once, and branches that stay branches in them."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.extend.core import Jaxpr
from jaxtyping import Array, Bool

from .arrays import is_known
from .digests import digest, inner_arrays

#: Compiled programs that are kept, the last ones used.
MOST = 16
#: What prints as less than it is: functions of Python that are called, and devices. Those that say
#: what is to be kept for derivatives compute nothing.
HIDDEN = re.compile(r"^(?!\s*policy=).*(0x|Mesh\()", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class _Program:
    """Equal to another one that computes the same. text: its operations. arrays: a digest of those
    within it."""

    text: str
    arrays: str
    jaxpr: Jaxpr = dataclasses.field(compare=False)


@functools.lru_cache(maxsize=MOST)
def _compiled(program: _Program) -> Callable:
    return jax.jit(functools.partial(eval_jaxpr, program.jaxpr, ()))


def compiled(f: Callable, *like: Any) -> Callable:
    """`f` for arguments like these, compiled, unless a function that traces to the same program
    was: the same one made anew, or one that closes over other arrays of the same shapes.

    It is traced at every call of this, so that what a model raises, warns of, and reads from
    globals is as if nothing were kept. What calls functions of Python is compiled each time."""
    anew = functools.partial(f)  # JAX knows functions by what they are, and would not look again.
    closed, shapes = jax.make_jaxpr(anew, return_shape=True)(*like)
    held, leaves = closed.consts, jax.tree.leaves(like)
    if not all(map(is_known, (*held, *leaves))) or any(map(_is_placed, held)):
        return jax.jit(anew)
    # Once more with the arrays as arguments, so that no program that is kept has hold of them.
    jaxpr = jax.make_jaxpr(functools.partial(eval_jaxpr, closed.jaxpr))(held, *leaves).jaxpr
    text, within = str(jaxpr), list(inner_arrays(jaxpr))
    if HIDDEN.search(text) or any(map(_may_change, within)):
        return jax.jit(anew)
    program = _compiled(_Program(text, digest(within), jaxpr))
    structure = jax.tree.structure(shapes)

    def call(*args: Any) -> Any:
        return jax.tree.unflatten(structure, program(*held, *jax.tree.leaves(args)))

    return call


def _is_placed(array: Array) -> bool:
    """Whether an array was put on some device: as an argument it would take the results there."""
    return getattr(array, "committed", False)


def _may_change(array: Array) -> bool:
    """Whether an array within a program may be data of NumPy's: JAX takes these for what they were
    as long as a program has hold of them. Solvers have some of one entry."""
    return isinstance(array, np.ndarray) and array.size > 1


@jax.custom_batching.custom_vmap
def in_all(condition: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether a condition holds in all members of a batch, so that a `jax.lax.cond` of it stays a
    branch under vmap, where of a condition of each member both sides would always be computed."""
    return condition


@in_all.def_vmap
def _(size: int, batched: list[bool], condition: Bool[Array, " k"]) -> tuple[Array, bool]:
    return in_all(jnp.all(condition)), False
