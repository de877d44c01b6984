"""Functionals of the image of a measure: of its marginals, or of features that are lifted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..measures import Measure
from .base import Functional, Linearization, as_functional
from .checks import called_as


class Pushforward(Functional):
    r"""F(mu) = G(T # mu), T # mu being the law of T(x) for x with law mu.

    First variation at x:  dG/dmu(T # mu) at T(x).  Convex in mu where G is, whatever T is.

    functional: G, or a plain function of a `Measure`. map: T, of one point, to an array or pytree.
    Cost: that of G, and N maps.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.functionals import OfMean
        >>> first = Pushforward(OfMean(lambda m: m**2), lambda x: x[0])
        >>> print(first(Measure.uniform(jnp.array([[1.0, 7.0], [3.0, 8.0]]))))
        4.0

    Raises TypeError for a G that is neither a functional nor a function, and for a functional in
    place of the map.
    """

    functional: Functional = eqx.field(converter=as_functional)
    map: Callable[[Any], PyTree]

    def __check_init__(self):
        if isinstance(self.map, Functional):
            raise TypeError(
                "a Pushforward takes the functional and then the map of one point, got "
                f"{type(self.map).__name__} for the map"
            )

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        return self.functional.linearize(self.image(measure), carry, key)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        return self.functional.first_variation(tangent, jax.vmap(self.map)(points))

    def init_carry(self, measure: Measure) -> PyTree:
        return self.functional.init_carry(self.image(measure))

    @property
    def stochastic(self) -> bool:
        return self.functional.stochastic

    @property
    def num_blocks(self) -> int:
        return self.functional.num_blocks

    def image(self, measure: Measure) -> Measure:
        """T # mu."""
        image = called_as(self.map, "the map of Pushforward", "map(x)")
        return Measure(jax.vmap(image)(measure.points), measure.weights)
