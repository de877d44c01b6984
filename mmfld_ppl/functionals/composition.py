"""Functions of the values of functionals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..linalg import total
from ..measures import Measure
from .base import Functional, Linearization, OfTerms, as_functional, scalar


class Composition(OfTerms):
    r"""F(mu) = R(F_1(mu), ..., F_k(mu)).

    First variation at x:  sum_i d_i R(F_1(mu), ..., F_k(mu)) dF_i/dmu(x).  Convex in mu when the
    F_i are, and R is convex and increasing in each. Where an F_i draws minibatches, F and its
    variation are estimated with a bias unless R is linear.

    outer: R, of as many numbers as there are functionals, to one number.
    terms: the F_i, functionals or plain functions of a measure.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.functionals import OfMean
        >>> F = Composition(lambda f, g: f * g, OfMean(lambda m: m), OfMean(lambda m: m**2))
        >>> value, tangent, _ = F.linearize(Measure.uniform(jnp.array([1.0, 3.0])))
        >>> print(value, F.first_variation(tangent, jnp.array([0.0, 0.5])))
        8.0 [0. 6.]

    Raises ValueError without functionals, and when R does not give one real number; TypeError for
    terms that are no functionals.
    """

    outer: Callable[..., Float[Array, ""]]

    def __init__(
        self,
        outer: Callable[..., Float[Array, ""]],
        *terms: Functional | Callable[[Measure], Float[Array, ""]],
    ):
        if not terms:
            raise ValueError("Composition needs functionals to compose, got none after the outer")
        self.outer = outer
        self.terms = tuple(map(as_functional, terms))

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        values, tangents, carries = zip(*self._parts(measure, carry, key), strict=True)
        outer: Any = scalar(self.outer, "the outer function of Composition")
        value, slopes = jax.value_and_grad(outer, argnums=tuple(range(len(values))))(*values)
        return Linearization(value, (slopes, tangents), carries)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        slopes, tangents = tangent
        return total(
            slope * term.first_variation(t, points)
            for slope, term, t in zip(slopes, self.terms, tangents, strict=True)
        )
