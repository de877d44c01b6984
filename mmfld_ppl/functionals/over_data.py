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
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..arrays import as_array, as_arrays, is_count, is_known
from ..linalg import inner, matmul
from ..measures import Measure
from .base import Functional, Linearization, scalar
from .checks import called_as, require_arguments, require_finite, require_one_each


def _arrays(data: PyTree) -> PyTree:
    return as_arrays("data", data)


def _counts(counts: Any) -> Array | np.ndarray | None:
    return None if counts is None else as_array("counts", counts)


#: How the functions below are called.
LOSS, FEATURE, LOG_DENSITY = "loss(mean, datum)", "feature(x, datum)", "log_density(x, datum)"


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
    Cost: O(N n) features, O(N batch_size) with a key, in time; in memory as well where a feature is
    more than elementwise, as one with a product is.

        >>> import jax.numpy as jnp
        >>> F = EmpiricalRisk(
        ...     loss=lambda mean, datum: (mean - datum[1]) ** 2,
        ...     feature=lambda x, datum: x * datum[0],
        ...     data=(jnp.array([1.0, 2.0]), jnp.array([1.0, 2.0])),
        ... )
        >>> print(F(Measure.uniform(jnp.array([1.0, 3.0]))))
        2.5

    Raises ValueError for data that are not finite numbers or do not share a leading axis, for a
    batch_size out of range, and when loss or potential do not give a number; TypeError for
    functions that do not take what they are called with.
    """

    loss: Callable[[PyTree, Any], Float[Array, ""]]
    feature: Callable[[Any, Any], PyTree]
    data: PyTree[Float[Array, "n ..."]] = eqx.field(converter=_arrays)
    potential: Callable[[Any], Float[Array, ""]] | None = None
    batch_size: int | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self):
        _check_data(self.data, self.batch_size)
        require_arguments("the loss of EmpiricalRisk", self.loss, LOSS, 2)
        require_arguments("the feature of EmpiricalRisk", self.feature, FEATURE, 2)
        if self.potential is not None:
            require_arguments("the potential of EmpiricalRisk", self.potential, "potential(x)", 1)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        rows = _draw(key, self.data, self.batch_size)
        name = "the loss of EmpiricalRisk"
        loss = scalar(called_as(self.loss, name, LOSS), name)

        def one(datum: PyTree) -> tuple[Float[Array, ""], PyTree]:
            feature = called_as(self.feature, "the feature of EmpiricalRisk", FEATURE)
            features = jax.vmap(feature, (0, None))(measure.points, datum)
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
    r"""F(mu) = -sum_i s_i log p_i,  p_i = E_mu[k(z_i | x)]: the mean negative log-likelihood.

    First variation at x:  -sum_i s_i k(z_i | x) / p_i.  Convex in mu; its minimiser over all
    measures is the nonparametric maximum likelihood estimator. s_i is the share of datum i, 1/n
    without `counts`; n * F gives the log-likelihood its own scale. All in logarithms, so that a
    datum far from every atom does not underflow.

    log_density: log k(z | x), of one point x and one datum z (in this order), finite.
    data: an array, or a pytree of arrays, with the n data along the leading axis.
    batch_size: how many data a key draws. None: `linearize` uses all data, with or without a key.
    counts: how often each datum occurs, so that s_i = counts_i / sum counts. Ties then cost
      nothing, and a datum of count 0 is left out. None: once.
    Cost: O(N n) densities, O(N batch_size) with a key, in time and memory; a batch by counts takes
    O(n + batch_size log n) besides.

        >>> import jax.numpy as jnp
        >>> F = MixtureLikelihood(lambda x, z: -((z - x) ** 2) / 2, data=jnp.array([0.0, 3.0]))
        >>> print(F(Measure.uniform(jnp.array([1.0, 1.0]))))
        1.25

    Raises ValueError for data that are not finite numbers or do not share a leading axis, and for
    counts that are negative, all zero, or not one a datum; TypeError for a log density that does
    not take what it is called with.
    """

    log_density: Callable[[Any, Any], Float[Array, ""]]
    data: PyTree[Float[Array, "n ..."]] = eqx.field(converter=_arrays)
    batch_size: int | None = eqx.field(static=True, default=None, kw_only=True)
    counts: Float[Array | np.ndarray, " n"] | None = eqx.field(
        converter=_counts, default=None, kw_only=True
    )

    def __check_init__(self):
        _check_data(self.data, self.batch_size)
        name = "the log density of MixtureLikelihood"
        require_arguments(name, self.log_density, LOG_DENSITY, 2)
        if self.counts is not None:
            _check_counts(self.counts, _size(self.data))

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        rows = _draw(key, self.data, self.batch_size, self.counts)
        logs = self._log_densities(measure.points, rows)
        log_p = _log_mean(logs, measure.weights)
        shares = jnp.exp(self._log_shares(rows, log_p.dtype))
        return Linearization(-jnp.sum(shares * log_p), (log_p, rows), None)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        log_p, rows = tangent
        # The share stands inside of the exponential: a datum that was left out may be so far from
        # every atom that its ratio overflows.
        log_shares = self._log_shares(rows, log_p.dtype)
        return -jnp.sum(jnp.exp(self._log_densities(points, rows) - log_p + log_shares), axis=1)

    @property
    def stochastic(self) -> bool:
        return self.batch_size is not None

    def _log_shares(self, rows: Int[Array, " batch"] | None, dtype: Any) -> Float[Array, " batch"]:
        """log s_i of the data in use. A minibatch has been drawn in proportion to the counts."""
        if self.counts is None or rows is not None:
            size = _size(self.data) if rows is None else len(rows)
            return jnp.full(size, -np.log(size), dtype)
        counts = jnp.asarray(self.counts, dtype)
        return jnp.log(counts) - jnp.log(jnp.sum(counts))

    def _log_densities(
        self, points: PyTree, rows: Int[Array, " batch"] | None
    ) -> Float[Array, "m batch"]:
        name = "the log density of MixtureLikelihood"
        log_density = scalar(called_as(self.log_density, name, LOG_DENSITY), name)
        across_data = jax.vmap(log_density, (None, 0))
        return jax.vmap(across_data, (0, None))(points, _take(self.data, rows))


@jax.custom_jvp
def _log_mean(logs: Float[Array, "n batch"], weights: Float[Array, " n"]) -> Float[Array, " batch"]:
    """log sum_i weights_i exp(logs_i), differentiable in a weight at zero, which JAX's is not."""
    return jax.nn.logsumexp(logs, axis=0, b=weights[:, None])


@_log_mean.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    logs, weights = primals
    log_p = _log_mean(logs, weights)
    ratios = jnp.exp(logs - log_p)
    # An atom without mass may be so much nearer than others that its ratio overflows.
    shares = jnp.where(weights[:, None] > 0, weights[:, None] * ratios, 0)
    return log_p, jnp.sum(shares * tangents[0], axis=0) + matmul(tangents[1], ratios)


def _size(data: PyTree) -> int:
    return jnp.shape(jax.tree.leaves(data)[0])[0]


def _check_data(data: PyTree, batch_size: int | None) -> None:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    if not shapes or len({shape[:1] for shape in shapes}) != 1 or not shapes[0] or not shapes[0][0]:
        raise ValueError(f"data must share a leading axis of at least one row, got shapes {shapes}")
    require_finite("data", data)
    if batch_size is not None and not (is_count(batch_size) and batch_size <= shapes[0][0]):
        raise ValueError(
            "batch_size must be a whole number between 1 and that of the data, "
            f"{shapes[0][0]}, got {batch_size}"
        )


def _check_counts(counts: Array | np.ndarray, size: int) -> None:
    require_one_each("counts", counts, size, "data")
    if not is_known(counts):
        return
    known = np.asarray(counts)
    if not (known.min() >= 0 and 0 < known.sum() < np.inf):
        raise ValueError(
            "counts say how often each datum occurs: they must be non-negative with a positive "
            f"sum, got minimum {known.min():g} and sum {known.sum():g}"
        )


def _draw(
    key: PRNGKeyArray | None,
    data: PyTree,
    batch_size: int | None,
    counts: Float[Array | np.ndarray, " n"] | None = None,
) -> Int[Array, " batch"] | None:
    """Rows of a minibatch, or None for all data."""
    if key is None or batch_size is None:
        return None
    if counts is None:
        return jax.random.randint(key, (batch_size,), 0, _size(data))
    return _drawn_by_counts(key, counts, batch_size)


def _drawn_by_counts(
    key: PRNGKeyArray, counts: Float[Array | np.ndarray, " n"], size: int
) -> Int[Array, " size"]:
    """Rows in proportion to their counts, to 1e-7 of the total; never one of count zero."""
    if is_known(counts):
        total = np.cumsum(np.asarray(counts, np.float64))
    else:
        total = jnp.cumsum(jnp.asarray(counts, float))
    ends = jnp.asarray(total / total[-1], float)
    share = 1 - jax.random.uniform(key, (size,), ends.dtype)  # In (0, 1].
    return jnp.searchsorted(ends, share, side="left")


def _take(data: PyTree, rows: Int[Array, " batch"] | None) -> PyTree:
    arrays = jax.tree.map(jnp.asarray, data)
    return arrays if rows is None else jax.tree.map(lambda leaf: leaf[rows], arrays)
