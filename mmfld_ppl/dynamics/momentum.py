"""Momenta that last from one move to the next, as both samplers keep them (Horowitz 1991): the part
of a move that comes before its step, and what is left of it after."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ..arrays import is_positive
from ..trees import all_finite, select
from .transition import Move, Transition


def require_friction(friction: float | None, metropolize: bool, transition: Transition) -> None:
    """Raises ValueError for a friction that is no positive number, or of moves that have no
    momentum to be judged."""
    if friction is None:
        return
    if not (is_positive(friction) and metropolize and transition.has_momentum):
        raise ValueError(
            "friction must be a positive number, of adjusted moves that have a momentum, as "
            f"those of Symmetric: got friction={friction!r}, metropolize={metropolize} and "
            f"{type(transition).__name__}; leave it out"
        )


def going_on(friction: float | None, positions: PyTree, before: PyTree | None) -> PyTree:
    """Momenta to go on with: those that were kept before, or at rest; () without friction."""
    if before is None:
        return () if friction is None else jax.tree.map(jnp.zeros_like, positions)
    require_same(friction, before)
    return before


def require_same(friction: float | None, momentum: PyTree) -> None:
    """Raises ValueError where momenta were kept and are not to be, or the other way round."""
    none = not jax.tree.leaves(momentum)
    if none != (friction is None):
        has, keeps = ("no momenta", "them") if none else ("momenta", "none")
        raise ValueError(
            f"the state that the run begins with has {has}, and this kernel keeps {keeps}: it was "
            "made under another path_length or diffusion; warm up with the kernel that goes on"
        )


def at_rest(momentum: PyTree, where: Bool[Array, ""]) -> PyTree:
    """Of zero, where that holds: the next move draws them anew."""
    return jax.tree.map(lambda p: jnp.where(where, 0, p), momentum)


def set_out(
    transition: Transition,
    x: PyTree,
    slope: PyTree,
    momentum: PyTree,
    noise: PyTree,
    h: Float[Array, ""],
    friction: float | None,
) -> tuple[Move, PyTree]:
    """The move of one unit, up to the kick that ends it, and the momentum that it begins with
    where those are kept. Friction and noise come half way, with e = sqrt(2h):

        p <- exp(-friction e) p + sqrt(1 - exp(-2 friction e)) S(x) xi,        S S^T = G(x),

    which keeps the law N(0, G) of p at x. A unit at rest has no momentum to keep, zero being a mark
    of that: all of it is drawn where it begins, and nothing is added on the way."""
    if friction is None:
        return transition.advance(x, slope, noise, h), ()
    leaves = jax.tree.leaves(momentum)
    resting = jnp.all(jnp.stack([jnp.all(leaf == 0) for leaf in leaves]))
    momentum = select(resting, transition.momentum(x, noise), momentum)
    time = jnp.where(resting, 0, friction * jnp.sqrt(2 * h))
    move = transition.kick(transition.begin(x, momentum), slope, h, 0.5)
    move = transition.refresh(transition.glide(move, h, 0.5), time, noise)
    return transition.glide(move, h, 0.5), momentum


def turned(momentum: PyTree) -> PyTree:
    """The momentum of a unit that is refused, and goes back the way it came: reversed; zero if it
    is not finite, or no later step would be either."""
    finite = all_finite(momentum)
    return jax.tree.map(lambda p: jnp.where(finite, -p, 0), momentum)


def kept(
    transition: Transition,
    move: Move,
    slope: PyTree,
    momentum: PyTree,
    accept: Bool[Array, ""],
    h: Float[Array, ""],
) -> PyTree:
    """The momentum after a move that set out with `momentum`; slope: of V where it ends."""
    landed = transition.kick(move, slope, h, 0.5).momentum
    return select(accept, landed, turned(momentum))
