"""Euclidean projections onto convex supports: P x = argmin over z in the support of |x - z|.

The projection is onto the closure, so points land on the boundary. Leading axes of x broadcast
against the batch shape of the constraint's parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions import constraints as nc

from .constraints import ball, halfspace, spectraplex
from .constraints.by_type import ByType
from .mirrors.spectral import from_eigen

Shape = tuple[int, ...]
Projection = Callable[[Array], Array]
#: (constraint, shape of an event) -> projection.
Factory = Callable[[nc.Constraint, Shape], Projection]

_factories: ByType[Factory] = ByType()


def register_projection(*constraint_types: type) -> Callable[[Factory], Factory]:
    """Decorator: use this factory for constraints of these types and of their subclasses.

    The most specific registered class of a constraint wins. For a singleton such as
    `constraints.simplex` pass its type."""
    return _factories.register("register_projection", constraint_types)


def projection(constraint: nc.Constraint, shape: Shape = ()) -> Projection:
    """The projection onto a support, for values whose trailing axes have this shape.

    >>> import jax.numpy as jnp
    >>> from numpyro.distributions import constraints
    >>> from mmfld_ppl.projections import projection
    >>> projection(constraints.simplex, (3,))(jnp.array([0.5, 2.5, -1.0]))
    Array([0., 1., 0.], dtype=float32)

    Raises:
        ValueError: the shape has fewer axes than an event; or no projection is registered for
            the constraint."""
    factory = _factories.of(constraint)
    if factory is None:
        supported = ", ".join(sorted(_name(x) for x in _factories))
        raise ValueError(
            f"no Euclidean projection onto {constraint}; supported: {supported}. "
            "Add one with @register_projection(type(constraint)) on a function "
            "(constraint, shape) -> projection"
        )
    if len(shape) < constraint.event_dim:
        raise ValueError(
            f"{constraint} has events of {constraint.event_dim} axes, "
            f"got a value of shape {shape}; pass the shape of a whole value"
        )
    return factory(constraint, shape)


def _name(constraint_type: type) -> str:
    return constraint_type.__name__.lstrip("_")


def project_simplex(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Onto {x >= 0, sum x = 1}: max(x - threshold, 0), the threshold by sorting.

    Held, Wolfe and Crowder (1974); O(d log d)."""
    # The projection does not change when all coordinates shift; this keeps the sums small.
    x = x - jnp.max(x, axis=-1, keepdims=True)
    u = jnp.flip(jnp.sort(x, axis=-1), axis=-1)
    count = jnp.arange(1, x.shape[-1] + 1)
    thresholds = (jnp.cumsum(u, axis=-1) - 1) / count.astype(x.dtype)
    last = jnp.sum(u > thresholds, axis=-1, keepdims=True) - 1
    return jnp.maximum(x - jnp.take_along_axis(thresholds, last, axis=-1), 0)


def project_eigenvalues(
    x: Float[Array, "*batch n n"], project: Projection
) -> Float[Array, "*batch n n"]:
    """Onto a set of symmetric matrices that is given by the eigenvalues alone.

    U diag(project(l)) U^T of X = U diag(l) U^T; of an X that is not symmetric, of its symmetric
    part. O(n^3).

    project: the projection of a vector of n eigenvalues, in whatever order, as `project_simplex`.
    """
    values, vectors = jnp.linalg.eigh(x, symmetrize_input=True)
    return from_eigen(project(values), vectors)


def _clip_at_zero(x: Array) -> Array:
    return jnp.maximum(x, 0)


@register_projection(type(nc.real))
def _real(constraint, shape):
    return lambda x: x


@register_projection(nc.zero_sum)
def _zero_sum(constraint, shape):
    def project(x):
        for axis in range(-constraint.event_dim, 0):
            x = x - jnp.mean(x, axis=axis, keepdims=True)
        return x

    return project


@register_projection(nc.independent)
def _independent(constraint, shape):
    return projection(constraint.base_constraint, shape)


@register_projection(nc.greater_than, nc.greater_than_eq)
def _above(constraint, shape):
    return lambda x: jnp.maximum(x, constraint.lower_bound)


@register_projection(nc.less_than, nc.less_than_eq)
def _below(constraint, shape):
    return lambda x: jnp.minimum(x, constraint.upper_bound)


@register_projection(nc.interval)
def _interval(constraint, shape):
    return lambda x: jnp.clip(x, constraint.lower_bound, constraint.upper_bound)


@register_projection(type(nc.circular))
def _circular(constraint, shape):
    raise ValueError(
        "a circle is not a convex set: circular has no Euclidean projection; MMFLD runs it on a "
        "wrapped line"
    )


@register_projection(type(nc.simplex))
def _simplex(constraint, shape):
    return project_simplex


@register_projection(ball)
def _ball(constraint, shape):
    radius = jnp.expand_dims(constraint.radius, -1)
    # Never a division by a norm that may vanish.
    return lambda x: x * (radius / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), radius))


@register_projection(halfspace)
def _halfspace(constraint, shape):
    normal, offset = jnp.asarray(constraint.normal), constraint.offset
    squared = jnp.sum(jnp.square(normal), axis=-1)

    def project(x):
        excess = jnp.maximum(jnp.sum(normal * x, axis=-1) - offset, 0)
        return x - (excess / squared)[..., None] * normal

    return project


@register_projection(type(nc.positive_definite), type(nc.positive_semidefinite))
def _positive_definite(constraint, shape):
    return lambda x: project_eigenvalues(x, _clip_at_zero)


@register_projection(type(spectraplex))
def _spectraplex(constraint, shape):
    return lambda x: project_eigenvalues(x, project_simplex)
