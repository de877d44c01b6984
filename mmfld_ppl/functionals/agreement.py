"""Whether what a functional states of itself agrees with its values.

A wrong first variation is no error to a sampler: it finds the fixed point of another functional. So
what `first_variation` gives is compared with differences of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..linalg import inner, matmul
from ..measures import Measure
from .base import Functional, as_functional
from .variation import require_linearization

#: What is meant to hold, by what is held to it. A law takes those before it for granted, so that
#: the first to fail is the one to mend.
LAWS = {
    "linearize().value": "a measure is the same when some of its atoms are stated in two halves",
    "linearize(carry=)": "a carry may change the cost, never the answer",
    "first_variation": "entry j depends on point j alone (and on the block that it is in)",
    "the values of first_variation": "they are the derivative of F in the masses at the points",
    "the gradient of first_variation": "it is the derivative in the point",
}
#: Largest relative change of a mass, and ways in which masses are changed beside from one measure
#: to the other.
STEP, WAYS = 0.2, 4
#: What adds up over the terms of a value, in units of rounding.
ROUNDINGS = 64


class _Seen(NamedTuple):
    """One number a law. error: relative, in the order of `LAWS`. rounding: how much of it rounding
    may explain."""

    error: Float[Array, " laws"]
    rounding: Float[Array, " laws"]


def check_functional(
    functional: Functional | Callable[[Measure], Array],
    measure: Measure,
    other: Measure,
    *,
    tolerance: float = 0.01,
) -> None:
    r"""Compare the first variation of a functional with its values, between two measures.

    At the mixture m of both, half and half: F(m) is the same when atoms are stated in two halves of
    their mass, or from the carry that `linearize` left at `measure`; `first_variation` gives for
    each point what it gives for it alone; [F(m (1 + t g)) - F(m (1 - t g))] / 2t tends to
    <dF/dmu(m), g m> for changes g of masses that leave their sum; and the gradient of the first
    variation is that of its values. Not looked at: minibatches, and whether F is convex.

    functional: F, or a plain function of a measure. measure, other: two measures of as many atoms,
      as different as F is to be used at. tolerance: relative error that is one; what a solver
      within F leaves has to be well below. In double precision smaller ones can be told.
    Cost: some twenty values, and as many first variations as there are atoms.

    Raises:
        TypeError: the methods of F do not take or give what they should.
        ValueError: the measures differ in shape; F is not finite; rounding may explain a larger
          error than `tolerance`; or F disagrees. The message says in what, by how much, and what
          is meant to hold.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl import Measure
        >>> from mmfld_ppl.functionals import OfMean, check_functional
        >>> mu, nu = (Measure.uniform(jnp.array(x)) for x in ([0.0, 1.0], [0.5, 3.0]))
        >>> check_functional(OfMean(lambda m: m**2), mu, nu)
    """
    functional = as_functional(functional)
    name = type(functional).__name__
    require_linearization(functional, measure)
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(m)] for m in (measure, other)]
    if shapes[0] != shapes[1] or measure.size % functional.num_blocks:
        raise ValueError(
            f"check_functional takes two measures of {name} of as many atoms each, in "
            f"{functional.num_blocks} equal block(s), got arrays of shapes {shapes[0]} and "
            f"{shapes[1]}"
        )
    error, rounding = jax.jit(lambda mu, nu: _see(functional, mu, nu))(measure, other)
    for (what, law), e, r in zip(LAWS.items(), error, rounding, strict=True):
        if not jnp.isfinite(e):
            raise ValueError(f"{what} of {name} is not finite between these measures")
        if r > tolerance:
            raise ValueError(
                f"rounding may explain {r:.1g} of an error in {what} of {name}, and hides one of "
                f"{tolerance:.1g}: pass measures in double precision"
            )
        if e > tolerance:
            raise ValueError(
                f"{what} of {name}: wrong by {e:.2g} of the size, of which rounding explains "
                f"{r:.1g}: {law}"
            )


def _see(functional: Functional, mu: Measure, nu: Measure) -> _Seen:
    blocks = functional.num_blocks
    m = _mixture(blocks, (mu, 0.5), (nu, 0.5))
    halves = _mixture(blocks, (mu, 0.25), (mu, 0.25), (nu, 0.5))
    value, tangent, _ = functional.linearize(m, functional.init_carry(m))
    eps = float(jnp.finfo(value.dtype).eps)

    carry = functional.linearize(mu, functional.init_carry(mu)).carry
    warm, cold = functional.linearize(nu, carry).value, functional(nu)
    joint = functional.first_variation(tangent, m.points)

    def alone(points: PyTree) -> Float[Array, " n"]:
        rows = jax.tree.map(lambda leaf: jnp.swapaxes(_rows(leaf, blocks), 0, 1), points)
        one_by_one = jax.lax.map(lambda x: functional.first_variation(tangent, x), rows)
        return jnp.ravel(one_by_one.T)

    def slope(way: Float[Array, " n"]) -> Float[Array, ""]:
        def difference(t: float) -> Array:
            more, less = (functional(Measure(m.points, m.weights * (1 + s * way))) for s in (t, -t))
            return (more - less) / (2 * t)

        # Two steps cancel the terms of order t^2.
        return (4 * difference(STEP / 2) - difference(STEP)) / 3

    ways = _ways(m.weights, blocks)
    found, predicted = jax.lax.map(slope, ways), matmul(ways, m.weights * joint)

    # Chords between atoms stay within a convex support.
    middle = jax.tree.map(lambda x, z: (x + z) / 2, mu.points, nu.points)
    chord = jax.tree.map(lambda x, z: (z - x) / 2, mu.points, nu.points)
    h = eps ** (1 / 3)

    def at(t: float) -> PyTree:
        return jax.tree.map(lambda x, d: x + t * d, middle, chord)

    up, down = alone(at(h)), alone(at(-h))
    gradient = jax.grad(lambda x: jnp.sum(functional.first_variation(tangent, x)))(middle)
    pushed = jax.vmap(inner)(gradient, chord)
    level, digit = ROUNDINGS * eps * jnp.abs(value), eps * jnp.max(jnp.abs(joint))
    pairs = [
        _relative(functional(halves) - value, value, level),
        _relative(warm - cold, cold, level),
        _relative(alone(m.points) - joint, joint - jnp.mean(joint), digit),
        _relative(predicted - found, jnp.append(predicted, found), level / STEP),
        _relative(pushed - (up - down) / (2 * h), pushed, digit / h),
    ]
    return _Seen(*map(jnp.stack, zip(*pairs, strict=True)))


def _mixture(blocks: int, *parts: tuple[Measure, float]) -> Measure:
    """sum_i c_i mu_i, block by block."""

    def joined(*leaves: Array) -> Array:
        together = jnp.concatenate([_rows(leaf, blocks) for leaf in leaves], axis=1)
        return together.reshape(-1, *together.shape[2:])

    scaled = [Measure(mu.points, c * mu.weights) for mu, c in parts]
    return jax.tree.map(joined, *scaled)


def _rows(leaf: Array, blocks: int) -> Array:
    return leaf.reshape(blocks, -1, *leaf.shape[1:])


def _ways(weights: Float[Array, " n"], blocks: int) -> Float[Array, "ways n"]:
    """Relative changes of masses that leave the mass of each block."""
    w = _rows(weights, blocks)
    between = jnp.repeat(jnp.array([1.0, -1.0], w.dtype), w.shape[1] // 2)
    random = jax.random.normal(jax.random.key(0), (WAYS, *w.shape), w.dtype)
    ways = jnp.concatenate([jnp.broadcast_to(between, (1, *w.shape)), random])
    ways -= jnp.sum(w * ways, axis=-1, keepdims=True) / jnp.sum(w, axis=-1, keepdims=True)
    ways = ways.reshape(len(ways), -1)
    return ways / jnp.max(jnp.abs(ways), axis=1, keepdims=True)


def _relative(error: Array, size: Array, rounding: Array) -> tuple[Array, Array]:
    """Both in units of `size`; zero where all is."""
    error, size = jnp.max(jnp.abs(error)), jnp.max(jnp.abs(size))
    flat = (size == 0) & (error == 0)
    scale = jnp.where(flat, 1, size)
    return error / scale, jnp.where(flat, 0, rounding / scale)
