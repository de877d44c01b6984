"""Entropic optimal transport to given measures, through OTT-JAX with warm-started potentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from ott.geometry.geometry import Geometry
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.acceleration import Momentum
from ott.solvers.linear.sinkhorn import Sinkhorn

from ..measures import Measure
from .base import Functional, Linearization


def squared_distance(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """|x - y|^2, not halved, summed over the leaves of a point. As a difference, not as
    |x|^2 - 2 x.y + |y|^2, which cancels in single precision."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, y)))


class Potentials(NamedTuple):
    """Dual solutions, without the log weights: P_ij = a_i b_j exp((f_i + g_j - C_ij)/epsilon).

    targets: g_k at the atoms of each target, with mean zero under its weights.
    itself: the potential of OT(mu, mu) at the atoms of mu; None without debiasing.
    """

    targets: Float[Array, "k m"]
    itself: Float[Array, " n"] | None


class SinkhornReport(NamedTuple):
    """How well each transport problem was solved, and its cost.

    With debiasing the last entry of every field is the problem of the measure with itself.

    iterations: Sinkhorn iterations that were needed from the carry.
    marginal_error: sum_j |sum_i P_ij - b_j| for the coupling P of the report, whose other
      marginal is exact.
    converged: marginal_error below the threshold.
    value: OT_epsilon, entropy term included.
    transport_cost: sum_ij P_ij C_ij.
    """

    iterations: Int[Array, " k"]
    marginal_error: Float[Array, " k"]
    converged: Bool[Array, " k"]
    value: Float[Array, " k"]
    transport_cost: Float[Array, " k"]


class SinkhornBarycenter(Functional):
    r"""F(mu) = sum_k lambda_k OT_eps(mu, nu_k),

        OT_eps(mu, nu) = min_P <C, P> + eps KL(P | mu x nu)  over couplings P of mu and nu.

    First variation at x:  sum_k lambda_k f_k(x),
    f_k(x) = -eps log sum_j b_kj exp((g_kj - C(x, y_kj))/eps),  with g_k the optimal potential at
    the atoms y_kj of nu_k, of mean zero under its weights b_kj. By the envelope theorem nothing is
    differentiated through the iterations, and F(mu) = E_mu[sum_k lambda_k f_k]. Convex in mu.

    `debiased=True` subtracts half the self-transport, sum_k lambda_k [OT_eps(mu, nu_k) -
    OT_eps(mu, mu)/2]: up to a constant the mean Sinkhorn divergence (Feydy et al. 2019), convex in
    mu when exp(-C/eps) is a positive definite kernel, as for the squared distance. The plain
    barycenter is blurred or shrunk by the entropy, the debiased one is not (Janati et al. 2020).

    targets: the nu_k, `Measure`s or (points, weights) pairs, of any sizes; masses sum to one.
    weights: lambda, non-negative with sum one. Default: equal.
    epsilon: regularisation, in the units of the cost. In float32 epsilon down to 1e-3 times the
      largest cost reaches the default threshold; below that use float64.
    cost: C(x, y) of two points; an OTT-JAX `CostFn` is one. Default: |x - y|^2, not halved.
    threshold: largest L1 error of the marginals at which a solve stops.
    max_iterations: at which it stops all the same; see `report`.

    The carry holds the potentials. One that is not finite, or larger than the range of the cost,
    is dropped for a cold start, so a bad step does not outlive itself. In `linearize` the weights
    of mu stand for their ratios; with mass one F is as above.

        >>> import jax.numpy as jnp
        >>> left, right = jnp.array([[0.0], [0.1]]), jnp.array([[0.9], [1.0], [1.1]])
        >>> targets = [Measure.uniform(left), Measure.uniform(right)]
        >>> F = SinkhornBarycenter(targets, epsilon=0.01)
        >>> between = Measure.uniform(jnp.linspace(0.4, 0.6, 5)[:, None])
        >>> bool(F(between) < F(Measure.uniform(left)))
        True

    Raises ValueError for no targets, targets of different event shapes, points that are not
    finite, weights that are negative or do not sum to one, epsilon <= 0, a measure whose points do
    not match. Values that are traced are not checked.
    """

    points: PyTree[Float[Array, "k m ..."]]
    masses: Float[Array, "k m"]
    weights: Float[Array, " k"]
    epsilon: Float[Array, ""]
    cost: Callable[[Any, Any], Float[Array, ""]]
    debiased: bool = eqx.field(static=True)
    threshold: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)

    def __init__(
        self,
        targets: Sequence[Measure | tuple[PyTree, Array]],
        weights: Float[Array, " k"] | None = None,
        *,
        epsilon: float | Array,
        cost: Callable[[Any, Any], Float[Array, ""]] = squared_distance,
        debiased: bool = False,
        threshold: float = 1e-3,
        max_iterations: int = 1000,
    ):
        measures = [_as_target(k, target) for k, target in enumerate(targets)]
        _check_targets(measures)
        if weights is None:
            weights = jnp.full(len(measures), 1 / len(measures), measures[0].weights.dtype)
        if jnp.shape(weights) != (len(measures),):
            raise ValueError(
                f"a barycenter of {len(measures)} targets needs as many weights, got weights of "
                f"shape {jnp.shape(weights)}"
            )
        _check_masses(weights, "the weights of the barycenter", "scale the functional")
        if jnp.ndim(epsilon) or (_known(epsilon) and not epsilon > 0):
            raise ValueError(f"epsilon must be one positive number, got {epsilon}")
        if not threshold > 0 or max_iterations < 1:
            raise ValueError(
                "threshold must be positive and max_iterations at least 1, got "
                f"{threshold} and {max_iterations}"
            )
        self.points, self.masses = _pad(measures)
        self.weights = jnp.asarray(weights)
        self.epsilon = jnp.asarray(epsilon)
        self.cost = cost
        self.debiased = debiased
        self.threshold = threshold
        self.max_iterations = max_iterations

    def linearize(
        self, measure: Measure, carry: Potentials | None = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        frozen = jax.lax.stop_gradient(measure)
        potentials, _ = self._solve(frozen, carry)
        tangent = (potentials, frozen if self.debiased else None)
        value = measure.mean(self.first_variation(tangent, measure.points))
        return Linearization(value, tangent, potentials)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        (g, p), measure = tangent
        like = self._cast(g.dtype)
        f = jax.vmap(_transform, (0, 0, 0, None))(
            like._costs(points), like.masses, g, like.epsilon
        )
        if measure is None:
            return like.weights @ f
        cost = _pairwise(self.cost, measure.points, points)
        return like.weights @ f - _transform(cost, _normalised(measure), p, like.epsilon)

    def init_carry(self, measure: Measure) -> Potentials:
        dtype = measure.weights.dtype
        itself = jnp.zeros(measure.size, dtype) if self.debiased else None
        return Potentials(jnp.zeros(self.masses.shape, dtype), itself)

    def report(self, measure: Measure, carry: Potentials | None = None) -> SinkhornReport:
        """Iterations, marginal errors and costs of the solves at `measure`, started from `carry`."""
        (g, p), iterations = self._solve(measure, carry)
        like, a = self._cast(g.dtype), _normalised(measure)
        costs, plans = like._costs(measure.points), self._plans(measure, g)

        def problem(cost: Array, plan: Array, b: Array, g: Array) -> tuple[Array, ...]:
            f = _transform(cost, b, g, like.epsilon)
            return jnp.sum(jnp.abs(plan.sum(1) - b)), a @ f + b @ g, jnp.sum(plan * cost)

        fields = jax.vmap(problem)(costs, plans, like.masses, g)
        if p is not None:
            cost = _pairwise(self.cost, measure.points, measure.points)
            plan = _plan(cost, a, a, p, like.epsilon)
            fields = jax.tree.map(jnp.append, fields, problem(cost, plan, a, p))
        error, value, transport_cost = fields
        return SinkhornReport(iterations, error, error < self.threshold, value, transport_cost)

    def couplings(
        self, measure: Measure, carry: Potentials | None = None
    ) -> Float[Array, "k n m"]:
        """The optimal couplings P_k of `measure` (rows) with each target (columns; zero where a
        smaller target was filled up)."""
        (g, _), _ = self._solve(measure, carry)
        return jnp.swapaxes(self._plans(measure, g), 1, 2)
