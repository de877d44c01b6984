"""What a functional is: something that can be linearised at a measure.

A functional F takes a `Measure` to a number. Its first variation dF/dmu(mu) is the function of a
point with  F((1-t) mu + t nu) = F(mu) + t <dF/dmu(mu), nu - mu> + o(t),  defined up to a constant.
Everything that the dynamics need is in it: drift, Metropolis ratio, proximal Gibbs density.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..arrays import is_number
from ..linalg import total
from ..measures import Measure
from .checks import require_instance


class Linearization(NamedTuple):
    """F at one measure, to first order.

    value: F(mu).
    tangent: arrays that determine the first variation; a pytree whose structure and shapes do not
      depend on mu, so that a state of the dynamics can hold it.
    carry: what the next linearisation, at a nearby measure, wants to start from; of the same
      structure, shapes and dtypes as what `init_carry` gave.
    """

    value: Float[Array, ""]
    tangent: PyTree
    carry: PyTree


class Functional(eqx.Module):
    """A functional of a measure.

    A subclass implements `linearize` and `first_variation`; one that warm-starts also
    `init_carry`, one that draws minibatches also `stochastic`. The tangent has to be enough for
    the first variation: it may be asked of another instance, built from the same data.

    Functionals form a linear space:

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.functionals import OfMean
        >>> spread = OfMean(potential=lambda x: x**2) - OfMean(outer=lambda m: m**2)
        >>> print(spread(Measure.uniform(jnp.array([1.0, 3.0]))))
        1.0
        >>> print((0.5 * spread)(Measure.uniform(jnp.array([1.0, 3.0]))))
        0.5
        >>> print((spread / 2)(Measure.uniform(jnp.array([1.0, 3.0]))))
        0.5
        >>> print(sum([spread, spread])(Measure.uniform(jnp.array([1.0, 3.0]))))
        2.0
    """

    @abc.abstractmethod
    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        """Value, tangent and next carry at `measure`.

        `carry` is what `init_carry` or the last linearisation gave: it may change the cost, never
        the answer beyond the solver's tolerance. `key` draws a minibatch where the functional has
        one; without a key the whole data are used."""

    @abc.abstractmethod
    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        """dF/dmu at each of m points, under the linearisation that gave `tangent`.

        Entry j depends on point j alone, so that the gradient of the sum is the gradient at
        each point."""

    def init_carry(self, measure: Measure) -> PyTree:
        """A first carry for measures of this size. Default: none."""
        return None

    @property
    def stochastic(self) -> bool:
        """Whether `linearize` takes a key, as one that draws minibatches does."""
        return False

    @property
    def num_blocks(self) -> int:
        """Of how many measures F is a function, one for each of so many equal blocks of atoms, as
        `PathSpace` is of one for each time. Atoms are exchanged within a block only."""
        return 1

    def __call__(self, measure: Measure) -> Float[Array, ""]:
        """F(mu)."""
        return self.linearize(measure, self.init_carry(measure)).value

    def __add__(self, other: Functional | Callable[[Measure], Array]) -> Functional:
        return Sum((self, as_functional(other)))

    def __radd__(self, other: Any) -> Functional:
        # `sum` begins with zero. Anything else is a function of a measure, or refused.
        if jnp.isscalar(other) and other == 0:
            return self
        return Sum((as_functional(other), self))

    def __mul__(self, scale: float | Array) -> Functional:
        return Scaled(self, jnp.asarray(_factor(scale)))

    __rmul__ = __mul__

    def __truediv__(self, scale: float | Array) -> Functional:
        return self * (1 / _factor(scale))

    def __neg__(self) -> Functional:
        return -1.0 * self

    def __sub__(self, other: Functional | Callable[[Measure], Array]) -> Functional:
        return self + (-1.0 * as_functional(other))


class Autodiff(Functional):
    """A plain function of a measure, linearised by differentiation in the weights.

    dF/dmu(x) is the derivative of F in the mass of an atom at x: the atoms at the m points enter
    with weight zero and the gradient in their weights is taken (one reverse pass over N + m
    atoms for all of them, so a function of all pairs costs (N + m)^2 time and memory). The
    function must be differentiable in a weight at zero, which JAX's logsumexp(..., b=weights) and
    log(weights) are not; `MMFLD` puts that to the test (`require_first_variation`). A function of
    the values of other functionals is a `Composition`.

        >>> import jax.numpy as jnp
        >>> F = Autodiff(lambda mu: mu.mean(mu.points) ** 2)
        >>> value, tangent, _ = F.linearize(Measure.uniform(jnp.array([1.0, 3.0])))
        >>> print(value, F.first_variation(tangent, jnp.array([0.0, 0.5])))
        4.0 [0. 2.]

    Raises ValueError when the value is not one real number, or when the function never reads the
    weights (`jnp.mean(mu.points)` in place of `mu.mean(mu.points)`): its first variation would be
    zero.
    """

    function: Callable[[Measure], Float[Array, ""]]

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        value = scalar(self.function, "a functional given as a function")(measure)
        if not _depends(lambda w: self.function(Measure(measure.points, w)), measure.weights):
            raise ValueError(
                "the function given as a functional never reads the weights of its measure, so its "
                "first variation would be zero: integrate with measure.mean(values), or use "
                "measure.weights, in place of averages over the points"
            )
        return Linearization(value, measure, None)

    def first_variation(
        self, tangent: Measure, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        # The points enter with weight zero, but the derivative in a weight still depends on
        # where its atom is, and only there.
        ghosts = jax.tree.leaves(points)[0].shape[0]
        atoms = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), tangent.points, points)

        def value(ghost_weights: Float[Array, " m"]) -> Float[Array, ""]:
            weights = jnp.concatenate([tangent.weights, ghost_weights])
            return self.function(Measure(atoms, weights))

        return jax.grad(value)(jnp.zeros(ghosts, tangent.weights.dtype))


class OfTerms(Functional):
    """A functional of others, which it linearises each with a key and a carry of its own."""

    terms: tuple[Functional, ...]

    def _parts(
        self, measure: Measure, carry: PyTree, key: PRNGKeyArray | None
    ) -> list[Linearization]:
        carries = (None,) * len(self.terms) if carry is None else carry
        keys = (None,) * len(self.terms) if key is None else jax.random.split(key, len(self.terms))
        return [
            term.linearize(measure, c, k)
            for term, c, k in zip(self.terms, carries, keys, strict=True)
        ]

    def init_carry(self, measure: Measure) -> PyTree:
        return tuple(term.init_carry(measure) for term in self.terms)

    @property
    def stochastic(self) -> bool:
        return any(term.stochastic for term in self.terms)

    @property
    def num_blocks(self) -> int:
        return math.lcm(*(term.num_blocks for term in self.terms))


class Sum(OfTerms):
    """(F + G)(mu) = F(mu) + G(mu)."""

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        values, tangents, carries = zip(*self._parts(measure, carry, key), strict=True)
        return Linearization(total(values), tangents, carries)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        return total(
            term.first_variation(t, points) for term, t in zip(self.terms, tangent, strict=True)
        )


class Scaled(Functional):
    """(c F)(mu) = c F(mu)."""

    base: Functional
    scale: Float[Array, ""]

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        value, tangent, carry = self.base.linearize(measure, carry, key)
        return Linearization(self.scale.astype(value.dtype) * value, tangent, carry)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        values = self.base.first_variation(tangent, points)
        return self.scale.astype(values.dtype) * values

    def init_carry(self, measure: Measure) -> PyTree:
        return self.base.init_carry(measure)

    @property
    def stochastic(self) -> bool:
        return self.base.stochastic

    @property
    def num_blocks(self) -> int:
        return self.base.num_blocks


def as_functional(functional: Functional | Callable[[Measure], Float[Array, ""]]) -> Functional:
    """A functional as it is; a plain callable F(Measure) as one linearised by autodiff.

    Raises TypeError for anything else, a class included."""
    if isinstance(functional, Functional):
        return functional
    require_instance("a functional", functional)
    if callable(functional):
        return Autodiff(functional)
    raise TypeError(
        f"expected a Functional or a callable of a Measure, got {type(functional).__name__}; a "
        "function of a mean is OfMean(outer)"
    )


def _factor(scale: float | Array) -> float | Array:
    if not is_number(scale):
        raise TypeError(
            f"a functional is scaled by one number, got {scale!r}; functionals add, F + G, and a "
            "product or quotient of two is Composition(lambda f, g: f * g, F, G)"
        )
    return scale


def scalar(function: Callable[..., Array], name: str) -> Callable[..., Float[Array, ""]]:
    """`function`, with a ValueError that names it when its value is not one real number."""

    def checked(*arguments: Any) -> Float[Array, ""]:
        value = function(*arguments)
        if jnp.shape(value):
            raise ValueError(
                f"{name} must give one number, got shape {jnp.shape(value)}: sum or average it"
            )
        if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise ValueError(
                f"{name} must give a real number, got {jnp.result_type(value)}, which has no "
                "gradient: give a floating-point number, of complex ones the real part"
            )
        return jnp.asarray(value)

    return checked


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Floating-point leaves in this precision: that of a measure, which data must not change."""
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


def _depends(function: Callable[[Array], Array], argument: Array) -> bool:
    """Whether the traced output can depend on the argument."""
    jaxpr = jax.make_jaxpr(function)(argument).jaxpr
    reached = {id(var) for var in jaxpr.invars}
    for eqn in jaxpr.eqns:
        if any(id(var) in reached for var in eqn.invars):
            reached.update(id(var) for var in eqn.outvars)
    return any(id(var) in reached for var in jaxpr.outvars)
