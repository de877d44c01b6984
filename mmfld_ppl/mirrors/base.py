"""What a mirror map is: a Legendre function, its gradient, its inverse gradient, its Hessian.

A subclass owes `potential` and `slack`; everything else has a default from automatic
differentiation, which closed forms override. Methods take one event; `Independent` and `jax.vmap`
do the batching. An event is an array, or a pytree of arrays for a product of maps.
"""

from __future__ import annotations

import abc
import functools
import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, DTypeLike, Float, PyTree

from ..linalg import Scalar, inner, sum_entries, total
from .metric import DenseMetric, Metric, ScaledMetric
from .newton import newton_conjugate
from .symmetric import newton_symmetric_step

Event = PyTree[Float[Array, "..."]]

#: Observations that are trusted by half.
HALF_TRUSTED = 5


class Observation(NamedTuple):
    """What metric adaptation accumulates at a point.

    coordinates: the coordinates that the adaptable weights belong to.
    local_variance: diagonal of the inverse Hessian of the unweighted map at the point, in the
      same coordinates: the variance that a step of unit length has there.
    """

    coordinates: PyTree
    local_variance: PyTree


class Moments(NamedTuple):
    """Averages of observations over a warm-up window, each shaped like the coordinates.

    mean, variance: of the coordinates; no variance where one point was seen.
    local_variance: average of `Observation.local_variance`.
    score_variance, score_size, score_mean: variance, root mean square and mean of the potential's
      slope in local units, sqrt(local_variance) times the slope; None where the slopes are not
      known. Of a slope of more than 1e19 the square overflows in single precision, and the root
      mean square does not.
    """

    mean: PyTree
    variance: PyTree | None
    local_variance: PyTree
    score_variance: PyTree | None = None
    score_size: PyTree | None = None
    score_mean: PyTree | None = None

    def ratio(self) -> PyTree:
        """(length of a unit step / standard deviation of the law)^2, by coordinate: the weight
        under which a unit step is one standard deviation long.

        local_variance / variance from where the points went, `score_variance` from how the slopes
        changed on the way. For a Gaussian both are the curvature over the metric's, and their
        geometric mean is so even while the points are still travelling, since slopes change with
        position by the curvature (compare the metric of nutpie)."""
        if self.variance is None:
            # The drift of a step is then of unit length.
            return self.score_size
        ratio = jax.tree.map(jnp.divide, self.local_variance, self.variance)
        if self.score_variance is None:
            return ratio
        return jax.tree.map(lambda r, s: jnp.sqrt(r) * jnp.sqrt(s), ratio, self.score_variance)

    def barrier_floor(self) -> PyTree:
        """The least weight that a barrier can use, by coordinate.

        Its local unit is the distance to the boundary: a law is never wider than that, whatever a
        few points may have suggested, and a drift of more than one unit a step leaves it. 1 where
        the scores overflow."""
        if self.score_size is None:
            return jax.tree.map(jnp.ones_like, self.local_variance)
        return jax.tree.map(
            lambda s: jnp.where(jnp.isfinite(s), jnp.maximum(1, s), 1), self.score_size
        )

    def part(self, name: str | int) -> Moments:
        """Those of one entry of coordinates that are a dictionary, or a tuple."""
        return Moments(*(None if m is None else m[name] for m in self))

    def total(self) -> Moments:
        """Summed over the coordinates, their squares where it is a root mean square; the variance
        of scores averaged."""
        sums = Moments(
            *(None if m is None else total(map(sum_entries, jax.tree.leaves(m))) for m in self)
        )
        if self.score_size is not None:
            sums = sums._replace(score_size=_length(jax.tree.leaves(self.score_size)))
        if sums.score_variance is None:
            return sums
        size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(self.score_variance))
        return sums._replace(score_variance=sums.score_variance / size)


class MirrorMap(eqx.Module):
    r"""A Legendre function `phi` on the interior of a convex set.

    Primal points are `x`, dual points `y = grad phi(x)`; `x = grad phi*(y)`; the metric is
    `G(x) = hess phi(x)`. On an affine set (a simplex, symmetric matrices) dual vectors are classes
    modulo the normal directions: any representative may be passed, and any may come back.

    A subclass implements `potential` and `slack`, states `self_concordance`, and overrides what
    it knows in closed form.
    """

    #: Smallest known M with |D^3 phi[u,u,u]| <= 2 M (D^2 phi[u,u])^(3/2); 1 is standard
    #: self-concordance, 0 a quadratic, infinity an unbounded ratio (entropy maps). A class with
    #: parameters may make it a property.
    self_concordance: ClassVar[float] = math.inf
    #: Whether `diffuse` is available. A class with parts may make it a property.
    has_exact_diffusion: ClassVar[bool] = False
    #: The least weight that adaptation may choose. A class with parts may make it a property.
    least_weight: ClassVar[float] = 0.0

    @property
    def has_symmetric_step(self) -> bool:
        """Whether `symmetric_step` is sure to be found: Newton's method finds it for a
        self-concordant map."""
        stated = self.self_concordance
        return not isinstance(stated, float) or math.isfinite(stated)

    @abc.abstractmethod
    def potential(self, x: Event) -> Scalar:
        """phi(x), for x in the interior."""

    @abc.abstractmethod
    def slack(self, x: Event) -> Scalar:
        """Positive in the interior, zero on the boundary, negative or NaN outside.

        In the units of the coordinates; infinite where there is no boundary."""

    def grad(self, x: Event) -> Event:
        """Dual point y = grad phi(x)."""
        return jax.grad(self.potential)(x)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        """Primal point x = grad phi*(y), the maximiser of <y, x> - phi(x).

        `start` is an interior point from which iterative solvers begin; closed forms ignore it.
        NaN when a solver does not converge."""
        return newton_conjugate(self, y, start, self.self_concordance)

    def metric(self, x: Event) -> Metric:
        """The Hessian G(x), factored once."""
        flat, unravel = ravel_pytree(x)
        hessian = jax.hessian(lambda z: self.potential(unravel(z)))(flat)
        return DenseMetric(jnp.linalg.cholesky(hessian), unravel)

    def noise_like(self, x: Event) -> PyTree:
        """Zeros of the shape of the standard normal noise that `metric(x).sqrt` takes."""
        return jax.tree.map(jnp.zeros_like, x)

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        """Pure diffusion dY = sqrt(2 G(X)) dB for `time`, started at primal x, without time
        discretisation. Only where `has_exact_diffusion`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form diffusion")

    def diffusion_noise_like(self, x: Event) -> PyTree:
        """Zeros of the shape of the standard normal noise that `diffuse` takes."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form diffusion")

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        r"""The symplectic map (x, p) -> (x', p') of which half the symmetrised Bregman divergence
        is the generating function:

            S(x, x') = <grad phi(x') - grad phi(x), x' - x> / 2,   p = -dS/dx,   p' = dS/dx'.

        To second order the geodesic of the metric from x with momentum p, and exactly reversible:
        (x', -p') goes to (x, -p). x' is the minimiser of the strictly convex
        phi(x') + |x' - x|^2_{G(x)} / 2 - <2p + grad phi(x), x'>, so that it exists and is inside
        for any p. Default: Newton's method."""
        return newton_symmetric_step(self, x, momentum, self.self_concordance)

    @property
    def is_flat(self) -> bool:
        """Whether `flat` and `shifted` are available."""
        return False

    def flat(self, x: Event) -> tuple[Event, Event]:
        """Coordinates z, one for each entry of x, in which the metric is the identity, and dz/dx,
        entry by entry. Only where `is_flat`."""
        raise NotImplementedError(f"{type(self).__name__} has no flat coordinates")

    def shifted(self, x: Event, by: Event) -> Event:
        """The point that is `by` further on than x in flat coordinates."""
        raise NotImplementedError(f"{type(self).__name__} has no flat coordinates")

    def stepping(self) -> MirrorMap:
        """The map that symmetric steps are made with, and that the warm-up adapts for them: metric,
        log determinant and step of one and the same. Itself, unless a map of nearly the same metric
        has better steps."""
        return self

    def restore(self, x: Event) -> Event:
        """The point on the affine set of the support from which rounding has moved x; x itself
        where the support is solid. Without it the errors of many symmetric steps would add up."""
        return x

    def log_det_grad(self, x: Event) -> Event:
        """Gradient of log det G, a dual vector."""
        return jax.grad(lambda z: self.metric(z).log_det())(x)

    def observe(self, x: Event) -> Observation:
        """Coordinates and local variances for metric adaptation.

        Default: the event itself, with the diagonal of the inverse Hessian, by one solve for each
        entry."""
        flat, unravel = ravel_pytree(x)
        basis = jnp.eye(flat.size, dtype=flat.dtype)
        solve = self.metric(x).solve
        diagonal = jax.vmap(lambda e: inner(unravel(e), solve(unravel(e))))(basis)
        return Observation(x, unravel(diagonal))

    def pull_slope(self, x: Event, slope: Event) -> PyTree:
        """The slope of a potential at x in the coordinates of `observe`, as the representative of
        its class without a normal part."""
        metric = self.metric(x)
        return metric.apply(metric.solve(slope))

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        """The same map with free weights of this dtype, for warm-up to adapt."""
        return Weighted(self, jnp.ones((), dtype))

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        """This map rescaled for a law with these moments; `trust` in [0, 1] is how far to go
        from the present scale, geometrically. Default: nothing to adapt."""
        return self

    def describe(self) -> str:
        """A short name for reports."""
        return type(self).__name__


class Weighted(MirrorMap):
    """phi_w(x) = w phi(x): a mirror step of size h under it is one of size h/w under phi.

    The scalar weight is what warm-up adapts, to `Moments.ratio` of the sums over the coordinates.
    Self-concordance: M / sqrt(w)."""

    base: MirrorMap
    weight: Float[Array, ""]

    @property
    def self_concordance(self) -> float | Scalar:
        return self.base.self_concordance / jnp.sqrt(self.weight)

    @property
    def least_weight(self) -> float:
        return self.base.least_weight

    @property
    def has_exact_diffusion(self) -> bool:
        return self.base.has_exact_diffusion

    @property
    def has_symmetric_step(self) -> bool:
        return self.base.has_symmetric_step

    def potential(self, x: Event) -> Scalar:
        return self.weight * self.base.potential(x)

    def slack(self, x: Event) -> Scalar:
        return self.base.slack(x)

    def grad(self, x: Event) -> Event:
        return jax.tree.map(lambda y: self.weight * y, self.base.grad(x))

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self.base.conjugate_grad(jax.tree.map(lambda v: v / self.weight, y), start)

    def metric(self, x: Event) -> Metric:
        return ScaledMetric(self.base.metric(x), self.weight)

    def noise_like(self, x: Event) -> PyTree:
        return self.base.noise_like(x)

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        # dY = sqrt(2 w G) dB for Y = w grad phi is the diffusion of phi, run for time / w.
        return self.base.diffuse(x, noise, time / self.weight)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return self.base.diffusion_noise_like(x)

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        lighter = jax.tree.map(lambda p: p / self.weight, momentum)
        position, momentum = self.base.symmetric_step(x, lighter)
        return position, jax.tree.map(lambda p: self.weight * p, momentum)

    @property
    def is_flat(self) -> bool:
        return self.base.is_flat

    def flat(self, x: Event) -> tuple[Event, Event]:
        root = jnp.sqrt(self.weight)
        z, speed = self.base.flat(x)
        return jax.tree.map(lambda v: root * v, z), jax.tree.map(lambda v: root * v, speed)

    def shifted(self, x: Event, by: Event) -> Event:
        root = jnp.sqrt(self.weight)
        return self.base.shifted(x, jax.tree.map(lambda v: v / root, by))

    def stepping(self) -> MirrorMap:
        return Weighted(self.base.stepping(), self.weight)

    def restore(self, x: Event) -> Event:
        return self.base.restore(x)

    def log_det_grad(self, x: Event) -> Event:
        return self.base.log_det_grad(x)

    def observe(self, x: Event) -> Observation:
        return self.base.observe(x)

    def pull_slope(self, x: Event, slope: Event) -> PyTree:
        return self.base.pull_slope(x, slope)

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return self

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        summed, constant = moments.total(), jnp.asarray(self.base.self_concordance)
        weight = interpolate_scale(self.weight, summed.ratio(), trust)
        barrier = (constant > 0) & jnp.isfinite(constant)
        weight = jnp.where(barrier, jnp.maximum(weight, summed.barrier_floor()), weight)
        weight = jnp.maximum(weight, self.least_weight)
        return Weighted(self.base.adapted(moments, trust), weight)

    def describe(self) -> str:
        return self.base.describe()


def _length(leaves: list[Array]) -> Scalar:
    """The root of the sum of squares, which themselves may overflow."""
    largest = functools.reduce(jnp.maximum, map(jnp.max, map(jnp.abs, leaves)))
    unit = jnp.where(largest > 0, largest, 1)
    return unit * jnp.sqrt(total(sum_entries(jnp.square(leaf / unit)) for leaf in leaves))


def trust_of(observations: Array) -> Scalar:
    """How far to go towards what so many observations say."""
    return observations / (observations + HALF_TRUSTED)


def observations_of(trust: Scalar) -> Scalar:
    """The number that is trusted so far."""
    return HALF_TRUSTED * trust / (1 - trust)


def interpolate_scale(
    old: Float[Array, "..."], new: Float[Array, "..."], trust: Scalar
) -> Float[Array, "..."]:
    """old^(1 - trust) new^trust; `old` where `new` is not a positive finite number, as after a
    window in which a coordinate never moved."""
    usable = jnp.isfinite(new) & (new > 0)
    return jnp.where(usable, old * (jnp.where(usable, new, old) / old) ** trust, old)
