"""From a NumPyro constraint to its default mirror map."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike
from numpyro.distributions import constraints as nc

from .base import MirrorMap
from .euclidean import Euclidean
from .half_line import HalfLine
from .product import Independent, over_axes

Shape = tuple[int, ...]
#: (constraint with unbatched parameters, shape of one event, dtype) -> map of one event, or None
#: where the support has no mirror map and runs in an unconstrained chart.
Builder = Callable[[nc.Constraint, Shape, DTypeLike], MirrorMap | None]

_builders: dict[type, Builder] = {}


def register(*constraint_types: type) -> Callable[[Builder], Builder]:
    """Decorator: use this builder for constraints of these types and of their subclasses.

    The most specific registered class of a constraint wins."""
    for constraint_type in constraint_types:
        if not (isinstance(constraint_type, type) and issubclass(constraint_type, nc.Constraint)):
            raise TypeError(
                f"register takes Constraint classes, got {constraint_type!r}; "
                "for a singleton such as constraints.simplex pass type(constraints.simplex)"
            )

    def decorate(builder: Builder) -> Builder:
        for constraint_type in constraint_types:
            _builders[constraint_type] = builder
        return builder

    return decorate


def registered() -> tuple[type, ...]:
    """Every constraint class with a builder of its own."""
    return tuple(_builders)


def mirror_map(
    constraint: nc.Constraint, shape: Shape = (), dtype: DTypeLike = float
) -> MirrorMap | None:
    """The default mirror map of a support, for values of this whole shape.

    Leading axes beyond the constraint's event become `Independent` copies, each with its own
    parameters where the constraint's are arrays. None where the constraint is registered as
    having no mirror map, or is not registered: it then runs in NumPyro's `biject_to` chart."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    while isinstance(constraint, nc.independent):
        constraint = constraint.base_constraint
    builder = _builder_of(type(constraint))
    if builder is None:
        return None
    split = len(shape) - constraint.event_dim
    if split < 0:
        raise ValueError(
            f"{constraint} has events of {constraint.event_dim} axes, got a value of shape {shape}"
        )
    batch, event = shape[:split], shape[split:]
    if not batch:
        return builder(constraint, event, dtype)
    leaves, structure = jax.tree.flatten(constraint)
    ranks = getattr(constraint, "parameter_event_dims", (0,) * len(leaves))
    leaves = [
        jnp.broadcast_to(leaf, (*batch, *jnp.shape(leaf)[jnp.ndim(leaf) - rank :]))
        for leaf, rank in zip(leaves, ranks, strict=True)
    ]

    def build(*parameters):
        return builder(jax.tree.unflatten(structure, parameters), event, dtype)

    if build(*(leaf[(0,) * split] for leaf in leaves)) is None:
        return None
    return Independent(over_axes(build, batch)(*leaves), batch)


def _builder_of(constraint_type: type) -> Builder | None:
    for ancestor in constraint_type.__mro__:
        if ancestor in _builders:
            return _builders[ancestor]
    return None


@register(type(nc.real))
def _real(constraint, shape, dtype):
    return Euclidean()


@register(nc.greater_than)
def _above(constraint, shape, dtype):
    return HalfLine.above(constraint.lower_bound, dtype)


@register(nc.less_than)
def _below(constraint, shape, dtype):
    return HalfLine.below(constraint.upper_bound, dtype)
