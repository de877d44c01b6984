"""From a NumPyro constraint to its default mirror map."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike
from numpyro.distributions import constraints as nc

from .. import constraints as convex
from ..constraints.by_type import ByType, base_of
from .ball import Ball
from .base import MirrorMap
from .correlation import CorrelationMatrix
from .euclidean import Euclidean, ZeroSum
from .half_line import HalfLine
from .hermitian import HermitianSpectraplex
from .images import (
    Concatenation,
    HalfSpace,
    LowerCholesky,
    OrderedVector,
    PositiveOrderedVector,
    polytope_image,
)
from .interval import Interval
from .log_det import Spectraplex
from .positive_definite import PositiveDefinite
from .product import Independent, Product, over_axes
from .simplex import Simplex

Shape = tuple[int, ...]
#: (constraint with unbatched parameters, shape of one event, dtype) -> map of one event, or None
#: where the support has no mirror map and runs in an unconstrained chart.
Builder = Callable[[nc.Constraint, Shape, DTypeLike], MirrorMap | None]

_builders: ByType[Builder | None] = ByType()
# A circle has no boundary to keep away from, though NumPyro derives it from an interval.
_builders[type(nc.circular)] = None


def register(*constraint_types: type) -> Callable[[Builder], Builder]:
    """Decorator: use this builder for constraints of these types and of their subclasses.

    The most specific registered class of a constraint wins. A builder takes the constraint, with
    parameters of one event, the shape of an event and the dtype; a constraint whose parameters
    are arrays for one event says so in `parameter_event_dims`, their ranks in the order of its
    pytree leaves.

    Raises:
        TypeError: an argument is not a constraint class.

    >>> import jax.numpy as jnp
    >>> from numpyro.distributions import constraints
    >>> from mmfld_ppl.mirrors import EntropyOrthant, mirror_map, register
    >>> class _Rate(constraints.greater_than):
    ...     pass
    >>> @register(_Rate)
    ... def _rate(constraint, shape, dtype):
    ...     return EntropyOrthant(jnp.asarray(constraint.lower_bound, dtype))
    >>> mirror_map(_Rate(0.0)).describe()
    'EntropyOrthant'
    """
    return _builders.register("register", constraint_types)


def registered() -> tuple[type, ...]:
    """Every constraint class with a builder of its own."""
    return tuple(key for key, builder in _builders.items() if builder is not None)


def mirror_map(
    constraint: nc.Constraint, shape: Shape = (), dtype: DTypeLike = float
) -> MirrorMap | None:
    """The default mirror map of a support, for values of this whole shape.

    Leading axes beyond the constraint's event become `Independent` copies, each with its own
    parameters where the constraint's are arrays. None where the constraint is registered as
    having no mirror map, or is not registered: it then runs in NumPyro's `biject_to` chart, a
    circle on a wrapped line.

    Raises:
        TypeError: `constraint` is not a NumPyro constraint.
        ValueError: the shape has fewer axes than an event.

    >>> from numpyro.distributions import constraints
    >>> from mmfld_ppl.mirrors import mirror_map
    >>> mirror_map(constraints.simplex, (3,)).describe()
    'Simplex'
    >>> mirror_map(constraints.sphere, (3,)) is None
    True
    """
    if not isinstance(constraint, nc.Constraint):
        raise TypeError(f"mirror_map takes a NumPyro constraint, got {constraint!r}")
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    constraint = base_of(constraint)
    builder = _builders.of(constraint)
    if builder is None:
        return None
    # A concatenation cuts along an axis of the whole value, which may be one that its parts take
    # for a batch axis.
    whole = isinstance(constraint, nc.cat)
    split = 0 if whole else len(shape) - constraint.event_dim
    if split < 0:
        raise ValueError(
            f"{constraint} has events of {constraint.event_dim} axes, got a value of shape "
            f"{shape}; pass the shape of a whole value"
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


@register(type(nc.real))
def _real(constraint, shape, dtype):
    return Euclidean()


@register(nc.zero_sum)
def _zero_sum(constraint, shape, dtype):
    return ZeroSum()


@register(nc.greater_than)
def _above(constraint, shape, dtype):
    return HalfLine.above(constraint.lower_bound, dtype)


@register(nc.less_than)
def _below(constraint, shape, dtype):
    return HalfLine.below(constraint.upper_bound, dtype)


@register(nc.interval)
def _interval(constraint, shape, dtype):
    return Interval.between(constraint.lower_bound, constraint.upper_bound, dtype)


@register(type(nc.simplex))
def _simplex(constraint, shape, dtype):
    return Simplex.of_size(shape[0], dtype)


@register(type(nc.ordered_vector))
def _ordered(constraint, shape, dtype):
    return OrderedVector.of_size(shape[0], dtype)


@register(type(nc.positive_ordered_vector))
def _positive_ordered(constraint, shape, dtype):
    return PositiveOrderedVector.of_size(shape[0], dtype)


@register(type(nc.positive_definite), type(nc.positive_semidefinite))
def _positive_definite(constraint, shape, dtype):
    return PositiveDefinite.with_unit_scale(dtype)


@register(type(nc.lower_cholesky))
def _lower_cholesky(constraint, shape, dtype):
    return LowerCholesky.of_size(shape[0], dtype)


@register(type(nc.corr_matrix))
def _correlation(constraint, shape, dtype):
    return CorrelationMatrix()


@register(nc.cat)
def _concatenation(constraint, shape, dtype):
    axis = constraint.dim % len(shape)
    if shape[axis] != sum(constraint.lengths):
        raise ValueError(
            f"{constraint} needs {sum(constraint.lengths)} entries along axis {constraint.dim}, "
            f"got a value of shape {shape}"
        )
    parts = {}
    for i, (part, length) in enumerate(zip(constraint.cseq, constraint.lengths, strict=True)):
        part_map = mirror_map(part, (*shape[:axis], length, *shape[axis + 1 :]), dtype)
        if part_map is None:
            return None
        parts[str(i)] = part_map
    return Concatenation(Product(parts), axis, constraint.lengths)


@register(convex.ball)
def _ball(constraint, shape, dtype):
    return Ball(jnp.asarray(constraint.radius, dtype))


@register(convex.halfspace)
def _halfspace(constraint, shape, dtype):
    return HalfSpace.of(constraint.normal, constraint.offset, dtype)


@register(type(convex.spectraplex))
def _spectraplex(constraint, shape, dtype):
    return Spectraplex()


@register(type(convex.hermitian_spectraplex))
def _hermitian_spectraplex(constraint, shape, dtype):
    return HermitianSpectraplex()


@register(convex.polytope)
def _polytope(constraint, shape, dtype):
    fields = ("A", "b", "center", "basis", "rounding")
    return polytope_image(*(jnp.asarray(getattr(constraint, name), dtype) for name in fields))
