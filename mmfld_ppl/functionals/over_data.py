"""Averages over data, with minibatches: empirical risks and mixture likelihoods.

Both have the form F(mu) = (1/n) sum_i F_i(mu), one term a datum. With a `batch_size` and a key, a
linearisation replaces the n data by `batch_size` of them, drawn with replacement: value and first
variation are unbiased. Without a key all data are used. The tangent remembers which were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..measures import Measure
from .base import Functional, Linearization, scalar
from .of_mean import inner


class EmpiricalRisk(Functional):
    r"""F(mu) = (1/n) sum_i R(m_i, z_i) + E_mu[U(x)],  m_i = E_mu[f(x, z_i)].

    First variation at x:  (1/n) sum_i <grad R(m_i, z_i), f(x, z_i)> + U(x).  Convex in mu when R
    is convex in its first argument. A two-layer network is f(x, (inputs, label)) = the output of
    a neuron x, R = the loss, U = the weight decay.

    loss: R, from a mean of the feature (an array or pytree) and one datum, to a number.
    feature: f, of one point and one datum.
    data: an array, or a pytree of arrays, with the n data along the leading axis.
    potential: U, of one point, to a number. None for U = 0.
    batch_size: how many data a key draws. None: `linearize` uses all data, with or without a key.
    Cost: O(N n) features, O(N batch_size) with a key.

        >>> import jax.numpy as jnp
        >>> F = EmpiricalRisk(
        ...     loss=lambda mean, datum: (mean - datum[1]) ** 2,
        ...     feature=lambda x, datum: x * datum[0],
        ...     data=(jnp.array([1.0, 2.0]), jnp.array([1.0, 2.0])),
        ... )
        >>> print(F(Measure.uniform(jnp.array([1.0, 3.0]))))
        2.5
    """

    loss: Callable[[PyTree, Any], Float[Array, ""]]
    feature: Callable[[Any, Any], PyTree]
    data: PyTree[Float[Array, "n ..."]]
    potential: Callable[[Any], Float[Array, ""]] | None = None
    batch_size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        _check_data(self.data, self.batch_size)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        rows = _draw(key, self.data, self.batch_size)
        loss = scalar(self.loss, "the loss of EmpiricalRisk")

        def one(datum: PyTree) -> tuple[Float[Array, ""], PyTree]:
            features = jax.vmap(self.feature, (0, None))(measure.points, datum)
            return jax.value_and_grad(loss)(jax.tree.map(measure.mean, features), datum)

        losses, slopes = jax.vmap(one)(_take(self.data, rows))
        value = jnp.mean(losses)
        if self.potential is not None:
            potential = scalar(self.potential, "the potential of EmpiricalRisk")
            value = value + measure.mean(jax.vmap(potential)(measure.points))
        return Linearization(value, (slopes, rows), None)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        slopes, rows = tangent
        batch = _take(self.data, rows)

        def at(x: PyTree) -> Float[Array, ""]:
            terms = jax.vmap(lambda slope, datum: inner(slope, self.feature(x, datum)))
            total = jnp.mean(terms(slopes, batch))
            return total if self.potential is None else total + self.potential(x)

        return jax.vmap(at)(points)

    @property
    def stochastic(self) -> bool:
        return self.batch_size is not None


class MixtureLikelihood(Functional):
    r"""F(mu) = -(1/n) sum_i log p_i,  p_i = E_mu[k(z_i | x)]: the mean negative log-likelihood.

    First variation at x:  -(1/n) sum_i k(z_i | x) / p_i.  Convex in mu; its minimiser over all
    measures is the nonparametric maximum likelihood estimator. `n * F` gives the log-likelihood
    its own scale. All in logarithms, so that a datum far from every atom does not underflow.

    log_density: log k(z | x), of one point x and one datum z (in this order), finite.
    data: an array, or a pytree of arrays, with the n data along the leading axis.
    batch_size: how many data a key draws. None: `linearize` uses all data, with or without a key.
    Cost: O(N n) densities, O(N batch_size) with a key, in time and memory.

        >>> import jax.numpy as jnp
        >>> F = MixtureLikelihood(lambda x, z: -((z - x) ** 2) / 2, data=jnp.array([0.0, 3.0]))
        >>> print(F(Measure.uniform(jnp.array([1.0, 1.0]))))
        1.25
    """

    log_density: Callable[[Any, Any], Float[Array, ""]]
    data: PyTree[Float[Array, "n ..."]]
    batch_size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        _check_data(self.data, self.batch_size)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        rows = _draw(key, self.data, self.batch_size)
        logs = self._log_densities(measure.points, rows)
        log_p = jax.nn.logsumexp(logs, axis=0, b=measure.weights[:, None])
        return Linearization(-jnp.mean(log_p), (log_p, rows), None)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        log_p, rows = tangent
        return -jnp.mean(jnp.exp(self._log_densities(points, rows) - log_p), axis=1)

    @property
    def stochastic(self) -> bool:
        return self.batch_size is not None

    def _log_densities(
        self, points: PyTree, rows: Int[Array, " batch"] | None
    ) -> Float[Array, "m batch"]:
        log_density = scalar(self.log_density, "the log density of MixtureLikelihood")
        across_data = jax.vmap(log_density, (None, 0))
        return jax.vmap(across_data, (0, None))(points, _take(self.data, rows))


def _check_data(data: PyTree, batch_size: int | None) -> None:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    if not shapes or len({shape[:1] for shape in shapes}) != 1 or not shapes[0] or not shapes[0][0]:
        raise ValueError(f"data must share a leading axis of at least one row, got shapes {shapes}")
    if batch_size is not None and not 1 <= batch_size <= shapes[0][0]:
        raise ValueError(
            f"batch_size must be between 1 and the {shapes[0][0]} data, got {batch_size}"
        )


def _draw(
    key: PRNGKeyArray | None, data: PyTree, batch_size: int | None
) -> Int[Array, " batch"] | None:
    """Rows of a minibatch, or None for all data."""
    if key is None or batch_size is None:
        return None
    return jax.random.randint(key, (batch_size,), 0, jnp.shape(jax.tree.leaves(data)[0])[0])


def _take(data: PyTree, rows: Int[Array, " batch"] | None) -> PyTree:
    return data if rows is None else jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], data)
