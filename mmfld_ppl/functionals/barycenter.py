"""The entropic Wasserstein barycenter as a functional of the measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..arrays import as_array
from ..linalg import matmul
from ..measures import Measure
from .base import Functional, Linearization, cast
from .checks import (
    as_targets,
    require_limits,
    require_one_each,
    require_positive,
    require_probabilities,
    require_same_events,
    require_symmetric,
)
from .distances import Cost, squared_distance
from .soft_transform import soft_transform
from .stacking import masses, stack_measures
from .transport import SinkhornReport, assess, coupling, each, solve, solve_self


class Potentials(NamedTuple):
    """Dual solutions.

    targets: g_k at the atoms of each target, of mean zero under its masses.
    itself: the potential of OT(mu, mu) at the atoms of mu; None without debiasing.
    """

    targets: Float[Array, "k m"]
    itself: Float[Array, " n"] | None


class SinkhornBarycenter(Functional):
    r"""F(mu) = sum_k lambda_k OT_eps(mu, nu_k),

        OT_eps(mu, nu) = min_P <C, P> + eps KL(P | mu x nu)  over couplings P of mu and nu.

    First variation at x:  sum_k lambda_k f_k(x),
    f_k(x) = -eps log sum_j b_kj exp((g_kj - C(x, y_kj))/eps),  with g_k the optimal potential at
    the atoms y_kj of nu_k, of mean zero under their masses b_kj. By the envelope theorem nothing
    is differentiated through the iterations. Convex in mu, and F(mu) = E_mu[sum_k lambda_k f_k].

    `debiased=True` subtracts OT_eps(mu, mu)/2: up to a constant, F is then the mean Sinkhorn
    divergence to the targets, convex in mu when exp(-C/eps) is a positive definite kernel, as it
    is for the squared distance (Feydy et al. 2019). It removes the shrinkage that the entropy
    gives the plain barycenter (Janati et al. 2020).

    targets: the nu_k, a list of `Measure`s or (points, masses) pairs of any sizes, of mass one.
    weights: lambda, non-negative with sum one. Default: equal.
    epsilon: regularisation, in the units of the cost. The smaller, the more iterations. In float32
      the default threshold is met down to some 2e-3 of the largest cost, in float64 to 5e-4.
    cost: C(x, y) of two points; an OTT-JAX `CostFn` is one. Default: |x - y|^2, not halved.
    debiased: see above; one more problem, of size N x N. The cost must be symmetric.
    threshold: L1 error of the marginals at which a solve stops.
    max_iterations: at which it stops all the same, with the potentials that it has: see `report`.

    Cost: a solve is O(N m) in time for each target and iteration. Up to 2^26 pairs it holds the
    costs of one target, on accelerators of as many as keep them busy, in three arrays for every
    chain that is vectorised; beyond, they are made anew in every iteration, a block at a time. A
    first variation at n points is O(n m) in time for each target, its gradient in the points
    included, and holds a block of pairs.

    The carry is `Potentials`. One that is not finite, or exceeds the range of the cost, makes a
    cold start, so that a bad step does not outlive itself. A measure whose mass is not one is
    transported as if its weights were normalised, and what it costs is multiplied by the mass.

        >>> import jax.numpy as jnp
        >>> left, right = jnp.array([[0.0], [0.2]]), jnp.array([[0.9], [1.0], [1.1]])
        >>> F = SinkhornBarycenter([Measure.uniform(left), Measure.uniform(right)], epsilon=0.01)
        >>> middle = Measure.uniform(jnp.linspace(0.4, 0.7, 5)[:, None])
        >>> print(f"{F(middle):.2f} {F(Measure.uniform(left)):.2f}")
        0.21 0.41

    Raises ValueError for no targets, targets without atoms, targets or measures whose points do not
    match, points that are not finite numbers, masses or weights that are negative or do not sum to
    one, epsilon <= 0, debiasing with a cost that is not symmetric; TypeError for a target that is
    no measure. What is traced is checked for its shape only.
    """

    points: PyTree[Float[Array, "k m ..."]]
    masses: Float[Array, "k m"]
    weights: Float[Array, " k"]
    epsilon: Float[Array, ""]
    cost: Cost
    debiased: bool = eqx.field(static=True)
    threshold: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)

    def __init__(
        self,
        targets: Sequence[Measure | tuple[PyTree, Array]],
        weights: Float[Array, " k"] | None = None,
        *,
        epsilon: float | Array,
        cost: Cost = squared_distance,
        debiased: bool = False,
        threshold: float = 1e-3,
        max_iterations: int = 1000,
    ):
        measures = [Measure(*atoms) for atoms in as_targets(targets)]
        equal = jnp.full(len(measures), 1 / len(measures), measures[0].weights.dtype)
        shares = as_array("the barycenter weights", equal if weights is None else weights)
        require_one_each("the barycenter weights", shares, len(measures), "targets")
        require_probabilities("the barycenter weights", shares)
        self.epsilon = require_positive("epsilon", epsilon)
        require_limits(threshold, max_iterations)
        if debiased and cost is not squared_distance:
            way_out = "leave debiased out, or take the mean of both ways"
            require_symmetric("the cost of debiased=True", cost, measures[0].points, way_out)
        stacked = stack_measures(measures)
        self.points, self.masses = stacked.points, stacked.weights
        self.weights = jnp.asarray(shares)
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
        like = cast(self, g.dtype)

        def at(y: PyTree, b: Array, g: Array) -> Float[Array, " m"]:
            return soft_transform(like.cost, points, y, b, g, like.epsilon)

        pairs = jax.tree.leaves(points)[0].shape[0] * g.shape[1]
        total = matmul(like.weights, each(at, like.points, like.masses, g, pairs=pairs))
        return total if p is None else total - at(measure.points, masses(measure), p)

    def init_carry(self, measure: Measure) -> Potentials:
        dtype = measure.weights.dtype
        itself = jnp.zeros(measure.size, dtype) if self.debiased else None
        return Potentials(jnp.zeros(self.masses.shape, dtype), itself)

    def report(self, measure: Measure, carry: Potentials | None = None) -> SinkhornReport:
        """How the solves at `measure` go, started from `carry` (default: cold). With debiasing the
        last entry of every field is the problem of the measure with itself."""
        (g, p), iterations = self._solve(measure, carry)
        like, a = cast(self, g.dtype), masses(measure)
        found = like._each(assess, measure, g)
        if p is not None:
            x = measure.points
            itself = assess(like.cost, x, x, a, a, p, like.epsilon)
            found = jax.tree.map(jnp.append, found, itself)
        return SinkhornReport.of(iterations, found, self.threshold)

    def couplings(self, measure: Measure, carry: Potentials | None = None) -> Float[Array, "k n m"]:
        """The optimal couplings of `measure` (rows) with each target (columns; those past the size
        of a smaller target are zero)."""
        (g, _), _ = self._solve(measure, carry)
        return jnp.swapaxes(cast(self, g.dtype)._each(coupling, measure, g), 1, 2)

    def _solve(
        self, measure: Measure, carry: Potentials | None
    ) -> tuple[Potentials, Int[Array, " k"]]:
        """Potentials at `measure` and the iterations that they took."""
        first = jax.tree.map(lambda leaf: leaf[0], self.points)
        require_same_events("the measure", measure.points, "the targets", first)
        g, p = self.init_carry(measure) if carry is None else carry
        like, limits = cast(self, measure.weights.dtype), (self.threshold, self.max_iterations)
        g, iterations = like._each(solve, measure, g, *limits)
        if p is not None:
            a = masses(measure)
            p, count = solve_self(like.cost, measure.points, a, p, like.epsilon, *limits)
            iterations = jnp.append(iterations, count)
        return Potentials(g, p), iterations

    def _each(
        self,
        function: Callable[..., PyTree],
        measure: Measure,
        g: Float[Array, "k m"],
        *limits: float,
    ) -> PyTree:
        """A function of `transport` at each target."""
        x, a = measure.points, masses(measure)

        def at(y: PyTree, b: Array, g: Array) -> PyTree:
            return function(self.cost, x, y, b, a, g, self.epsilon, *limits)

        return each(at, self.points, self.masses, g, pairs=measure.size * g.shape[1])
