"""The chart, the mirror map and the coordinate's support of one latent site."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, PyTree
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc

from .. import mirrors
from ..arrays import is_known
from ..constraints.by_type import base_of
from ..mirrors import Euclidean, Independent, MirrorMap, mirror_map
from ..mirrors.euclidean import WrappedLine
from .charts import Chart, coordinate_of, reference
from .layout import Site, in_words


def geometry_of(
    name: str,
    support: nc.Constraint,
    value: Array,
    axis: int | None,
    chosen: MirrorMap | None,
    strict: bool,
    dynamic: bool = False,
) -> tuple[Site, MirrorMap, nc.Constraint]:
    """One site, and the mirror map and the support of its coordinate.

    support: of one particle, where the value has the particle axis `axis`. dynamic: whether it
    depends on other latent sites. The numbers of both are arrays, since a state holds them, and
    the floats of the value's dtype.
    Raises ValueError where the value is complex or an interval has an infinite end, and in strict
    mode where there is no mirror map."""
    if jnp.iscomplexobj(value):
        raise ValueError(
            f"site '{name}': its values are complex numbers, which nothing here moves; sample real "
            "and imaginary parts as two real sites, and make the number of them in the model"
        )
    _require_finite_ends(name, support)
    dtype, shape = jnp.result_type(value, float), _without(jnp.shape(value), axis)

    def described(chart, coordinate_shape, geometry, fixed):
        moves = geometry.describe()
        if chart is not Chart.MIRROR:
            moves = f"{moves}, in its {chart.value}"
        words = in_words(support)
        if dynamic:
            words = f"{type(base_of(support)).__name__.strip('_')} (depends on other sites)"
        site = Site(
            name,
            coordinate_shape,
            jnp.shape(value),
            dtype.name,
            axis,
            chart,
            words,
            moves,
            geometry.has_symmetric_step,
        )
        return site, _as_arrays(geometry, dtype), _as_arrays(fixed, dtype)

    if chosen is not None:
        geometry = _chosen_map(name, chosen, support.event_dim, shape, dtype)
        _require_room(name, geometry, support, shape, dtype)
        return described(Chart.MIRROR, shape, geometry, support)
    chart, fixed = Chart.MIRROR, support
    if dynamic:
        chart, fixed = Chart.AFFINE, reference(support)
    geometry = None if fixed is None else mirror_map(fixed, shape, dtype)
    if geometry is not None:
        return described(chart, shape, geometry, fixed)
    if strict:
        raise ValueError(
            f"site '{name}': no mirror map for its support {support!r}, and strict=True rules out "
            f"the unconstrained chart; supported are {_supported()}; register one with "
            "mm.mirrors.register, or pass mirror_maps={'" + name + "': map}"
        )
    try:
        biject_to(support)
    except NotImplementedError:
        raise ValueError(
            f"site '{name}': its support {support!r} has neither a mirror map nor an unconstrained "
            f"chart; supported are {_supported()}; reparametrise the site (numpyro.infer.reparam), "
            "or register a map with mm.mirrors.register"
        ) from None
    chart = Chart.WRAPPED if base_of(support) is nc.circular else Chart.BIJECTION
    one = jax.ShapeDtypeStruct(shape, dtype)
    free = jax.eval_shape(lambda x: coordinate_of(chart, support, x), one)
    line = WrappedLine() if chart is Chart.WRAPPED else Euclidean()
    geometry = Independent.of(line, free.shape) if free.shape else line
    return described(chart, free.shape, geometry, nc.real)


def _require_finite_ends(name: str, support: nc.Constraint) -> None:
    base = base_of(support)
    if not isinstance(base, nc.interval):
        return
    ends = (base.lower_bound, base.upper_bound)
    if any(is_known(end) and np.any(np.isinf(end)) for end in ends):
        raise ValueError(
            f"site '{name}': its support {support!r} has an infinite end, which neither a map nor "
            "a chart of intervals can take: leave the end out, as in TruncatedNormal(low=0.0), or "
            "sample the entries that have one apart from those that have two"
        )


def _as_arrays(tree: PyTree, dtype: DTypeLike) -> PyTree:
    def cast(leaf):
        if not eqx.is_array_like(leaf):
            return leaf
        return jnp.asarray(leaf, dtype if eqx.is_inexact_array_like(leaf) else None)

    return jax.tree.map(cast, tree)


def _supported() -> str:
    return ", ".join(sorted(t.__name__.strip("_") for t in mirrors.registered()))


def _chosen_map(
    name: str, chosen: MirrorMap, event_dim: int, shape: tuple[int, ...], dtype: DTypeLike
) -> MirrorMap:
    """A map of one event, over the batch axes of a value."""
    if not isinstance(chosen, MirrorMap):
        raise TypeError(f"mirror_maps['{name}'] must be a MirrorMap, got {chosen!r}")
    split = len(shape) - event_dim
    batch, event = shape[:split], shape[split:]
    one = jax.ShapeDtypeStruct(event, dtype)
    try:
        taken = jax.eval_shape(lambda x: (chosen.slack(x), chosen.grad(x)), one)
        shapes = [leaf.shape for leaf in taken]
    except (IndexError, TypeError, ValueError):
        shapes = []
    if shapes != [(), event]:
        raise ValueError(
            f"mirror_maps['{name}'] must be a map of one event of the site, of shape {event}, and "
            f"{chosen.describe()} does not take it; batch axes are added to it, and "
            "mm.mirrors.Independent.of(map, shape) makes a map of arrays from one of scalars"
        )
    return Independent.of(chosen, batch) if batch else chosen


def _require_room(
    name: str, chosen: MirrorMap, support: nc.Constraint, shape: tuple[int, ...], dtype: DTypeLike
) -> None:
    """Raises ValueError where points of the support, far and near, are outside of a map's set: the
    dynamics would never go there, and sample another law."""
    try:
        chart = biject_to(support)
    except NotImplementedError:
        return
    free = jax.eval_shape(chart.inv, jax.ShapeDtypeStruct(shape, dtype)).shape
    scales = jnp.repeat(jnp.array([0.3, 1.0, 3.0], dtype), 11)
    u = jax.random.normal(jax.random.key(0), (33, *free), dtype)
    points = jax.vmap(chart)(u * scales.reshape(-1, *(1 for _ in free)))
    slack = jax.vmap(chosen.slack)(points)
    if not is_known(slack) or bool(jnp.all(slack > 0)):
        return
    raise ValueError(
        f"mirror_maps['{name}']: {chosen.describe()} is a map of a smaller set than the support "
        f"{support!r} of the site, {points[jnp.argmin(slack)]} for one is outside, so that another "
        "law would be sampled; take a map of the support, or state the smaller set as the support"
    )


def one_particle(support: nc.Constraint, axis: int, name: str, dynamic: bool) -> nc.Constraint:
    """The support of one particle, where its parameters carry the particle axis.

    Raises ValueError where it differs from particle to particle by itself, and not (dynamic)
    through other sites of the particle."""
    base = base_of(support)
    leaves, structure = jax.tree.flatten(base)
    ranks = getattr(base, "parameter_event_dims", (0,) * len(leaves))

    def first(leaf, rank):
        leaf = jnp.asarray(leaf)
        at = axis + base.event_dim - rank
        if leaf.ndim < -at:
            return leaf
        rows = jnp.moveaxis(leaf, at, 0)
        fixed = is_known(rows) and not dynamic
        if fixed and bool(jnp.any(rows != rows[0])):
            raise ValueError(
                f"site '{name}': its support {support!r} differs from particle to particle, and "
                "particles must be exchangeable; give them one support"
            )
        return rows[0]

    leaves = [first(leaf, rank) for leaf, rank in zip(leaves, ranks, strict=True)]
    one = jax.tree.unflatten(structure, leaves)
    event = support.event_dim - base.event_dim
    return nc.independent(one, event) if event else one


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    if axis is None:
        return shape
    return tuple(n for i, n in enumerate(shape) if i != len(shape) + axis)
