"""Functionals of a mean: F(mu) = R(E_mu[feature]) + E_mu[potential]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..linalg import inner, total
from ..measures import Measure
from .base import Functional, Linearization, scalar
from .checks import called_as, require_arguments


class OfMean(Functional):
    r"""F(mu) = R(m) + E_mu[U(x)],  m = E_mu[f(x)].

    First variation at x:  <grad R(m), f(x)> + U(x).  Convex in mu when R is convex.

    outer: R, from the mean of the feature (an array or pytree) to a number. None for R = 0.
    feature: f, of one point. Default: the point itself.
    potential: U, of one point, to a number. None for U = 0.
    Cost: O(N) features. Where R is an average over data, see `EmpiricalRisk`.

    Matching a mean q, with a pull to the origin:

        >>> import jax.numpy as jnp
        >>> q = jnp.array([0.5, 0.5])
        >>> F = OfMean(lambda m: jnp.sum((m - q) ** 2), potential=lambda x: 0.1 * jnp.sum(x**2))
        >>> value, tangent, _ = F.linearize(Measure.uniform(jnp.array([[1.0, 0.0], [1.0, 1.0]])))
        >>> print(f"{value:.2f}", F.first_variation(tangent, jnp.array([[1.0, 2.0]])))
        0.40 [1.5]

    Raises ValueError when neither `outer` nor `potential` is given, or when one of them does not
    give a number; TypeError for functions that do not take what they are called with.
    """

    outer: Callable[[PyTree], Float[Array, ""]] | None = eqx.field(default=None)
    feature: Callable[[Any], PyTree] = eqx.field(default=lambda x: x)
    potential: Callable[[Any], Float[Array, ""]] | None = eqx.field(default=None)

    def __check_init__(self):
        if self.outer is None and self.potential is None:
            raise ValueError("OfMean needs an outer function of the mean, a potential, or both")
        if self.outer is not None:
            require_arguments("the outer function of OfMean", self.outer, "outer(mean)", 1)
        if self.potential is not None:
            require_arguments("the potential of OfMean", self.potential, "potential(x)", 1)
        require_arguments("the feature of OfMean", self.feature, "feature(x)", 1)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        value, slope = jnp.zeros((), measure.weights.dtype), None
        if self.outer is not None:
            name = "the outer function of OfMean"
            feature = called_as(self.feature, "the feature of OfMean", "feature(x)")
            mean = jax.tree.map(measure.mean, jax.vmap(feature)(measure.points))
            outer = scalar(called_as(self.outer, name, "outer(mean)"), name)
            value, slope = jax.value_and_grad(outer)(mean)
        if self.potential is not None:
            name = "the potential of OfMean"
            potential = scalar(called_as(self.potential, name, "potential(x)"), name)
            value = value + measure.mean(jax.vmap(potential)(measure.points))
        return Linearization(value, slope, None)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        terms = []
        if self.outer is not None:
            terms.append(lambda x: inner(tangent, self.feature(x)))
        if self.potential is not None:
            terms.append(self.potential)
        return total(jax.vmap(term)(points) for term in terms)
