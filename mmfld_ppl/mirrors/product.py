"""Products of maps: over named sites, and over batch axes."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PyTree

from ..linalg import sum_entries, total
from .base import Event, MirrorMap, Moments, Observation, Scalar
from .metric import Metric


def over_axes(function: Callable, shape: tuple[int, ...]) -> Callable:
    """`function` of one element, mapped over leading axes of these sizes."""
    for size in reversed(shape):
        function = jax.vmap(function, axis_size=size)
    return function


class ProductMetric(Metric):
    """Block-diagonal metric of a dictionary of events."""

    parts: dict[str, Metric]

    def apply(self, u: PyTree) -> PyTree:
        return {name: part.apply(u[name]) for name, part in self.parts.items()}

    def solve(self, v: PyTree) -> PyTree:
        return {name: part.solve(v[name]) for name, part in self.parts.items()}

    def sqrt(self, noise: PyTree) -> PyTree:
        return {name: part.sqrt(noise[name]) for name, part in self.parts.items()}

    def log_det(self) -> Float[Array, ""]:
        return total(part.log_det() for part in self.parts.values())

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        return total(part.inverse_norm_sq(v[name]) for name, part in self.parts.items())

    def shortest(self, v: PyTree) -> PyTree:
        return {name: part.shortest(v[name]) for name, part in self.parts.items()}


class Product(MirrorMap):
    """phi(x) = sum_name phi_name(x[name]) for events that are dictionaries."""

    parts: dict[str, MirrorMap]

    @property
    def self_concordance(self) -> float | Scalar:
        return jnp.max(jnp.stack([jnp.asarray(p.self_concordance) for p in self.parts.values()]))

    @property
    def has_exact_diffusion(self) -> bool:
        return all(part.has_exact_diffusion for part in self.parts.values())

    @property
    def has_symmetric_step(self) -> bool:
        return all(part.has_symmetric_step for part in self.parts.values())

    def potential(self, x: Event) -> Scalar:
        return total(part.potential(x[name]) for name, part in self.parts.items())

    def slack(self, x: Event) -> Scalar:
        slacks = [part.slack(x[name]) for name, part in self.parts.items()]
        return jnp.min(jnp.stack(slacks))

    def grad(self, x: Event) -> Event:
        return {name: part.grad(x[name]) for name, part in self.parts.items()}

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return {
            name: part.conjugate_grad(y[name], start[name]) for name, part in self.parts.items()
        }

    def metric(self, x: Event) -> Metric:
        return ProductMetric({name: part.metric(x[name]) for name, part in self.parts.items()})

    def noise_like(self, x: Event) -> PyTree:
        return {name: part.noise_like(x[name]) for name, part in self.parts.items()}

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        return {name: part.diffuse(x[name], noise[name], time) for name, part in self.parts.items()}

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return {name: part.diffusion_noise_like(x[name]) for name, part in self.parts.items()}

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        moved = {
            name: part.symmetric_step(x[name], momentum[name]) for name, part in self.parts.items()
        }
        positions, momenta = ({name: m[i] for name, m in moved.items()} for i in (0, 1))
        return positions, momenta

    @property
    def is_flat(self) -> bool:
        return all(part.is_flat for part in self.parts.values())

    def flat(self, x: Event) -> tuple[Event, Event]:
        found = {name: part.flat(x[name]) for name, part in self.parts.items()}
        z, speed = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
        return z, speed

    def shifted(self, x: Event, by: Event) -> Event:
        return {name: part.shifted(x[name], by[name]) for name, part in self.parts.items()}

    def stepping(self) -> Product:
        return Product({name: part.stepping() for name, part in self.parts.items()})

    def restore(self, x: Event) -> Event:
        return {name: part.restore(x[name]) for name, part in self.parts.items()}

    def log_det_grad(self, x: Event) -> Event:
        return {name: part.log_det_grad(x[name]) for name, part in self.parts.items()}

    def observe(self, x: Event) -> Observation:
        seen = {name: part.observe(x[name]) for name, part in self.parts.items()}
        return Observation(
            {name: o.coordinates for name, o in seen.items()},
            {name: o.local_variance for name, o in seen.items()},
        )

    def pull_slope(self, x: Event, slope: Event) -> PyTree:
        return {name: part.pull_slope(x[name], slope[name]) for name, part in self.parts.items()}

    def adaptable(self, dtype: DTypeLike) -> Product:
        return Product({name: part.adaptable(dtype) for name, part in self.parts.items()})

    def adapted(self, moments: Moments, trust: Scalar) -> Product:
        return Product(
            {name: part.adapted(moments.part(name), trust) for name, part in self.parts.items()}
        )


class Independent(MirrorMap):
    """phi(x) = sum over the leading axes `shape` of x of a base map.

    Every array of `base` has the same leading axes: one map an element, each with its own
    parameters and, when adaptable, its own weight. Make one with `Independent.of`."""

    base: MirrorMap
    shape: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, base: MirrorMap, shape: tuple[int, ...]) -> Independent:
        """The same base map at every element."""
        return cls(
            jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *jnp.shape(leaf))), base),
            shape,
        )

    @property
    def self_concordance(self) -> float | Scalar:
        return jnp.max(jnp.asarray(self.base.self_concordance))

    @property
    def has_exact_diffusion(self) -> bool:
        return self.base.has_exact_diffusion

    @property
    def has_symmetric_step(self) -> bool:
        return self.base.has_symmetric_step

    @property
    def least_weight(self) -> float:
        return self.base.least_weight

    def _each(self, method, *args):
        return over_axes(method, self.shape)(self.base, *args)

    def potential(self, x: Event) -> Scalar:
        return sum_entries(self._each(lambda base, x: base.potential(x), x))

    def slack(self, x: Event) -> Scalar:
        return jnp.min(self._each(lambda base, x: base.slack(x), x), initial=jnp.inf)

    def grad(self, x: Event) -> Event:
        return self._each(lambda base, x: base.grad(x), x)

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        return self._each(lambda base, y, s: base.conjugate_grad(y, s), y, start)

    def metric(self, x: Event) -> Metric:
        return IndependentMetric(self._each(lambda base, x: base.metric(x), x), self.shape)

    def noise_like(self, x: Event) -> PyTree:
        return self._each(lambda base, x: base.noise_like(x), x)

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        return self._each(lambda base, x, n: base.diffuse(x, n, time), x, noise)

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return self._each(lambda base, x: base.diffusion_noise_like(x), x)

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        return self._each(lambda base, x, p: base.symmetric_step(x, p), x, momentum)

    @property
    def is_flat(self) -> bool:
        return self.base.is_flat

    def flat(self, x: Event) -> tuple[Event, Event]:
        return self._each(lambda base, x: base.flat(x), x)

    def shifted(self, x: Event, by: Event) -> Event:
        return self._each(lambda base, x, by: base.shifted(x, by), x, by)

    def stepping(self) -> MirrorMap:
        return Independent(self._each(lambda base: base.stepping()), self.shape)

    def restore(self, x: Event) -> Event:
        return self._each(lambda base, x: base.restore(x), x)

    def log_det_grad(self, x: Event) -> Event:
        return self._each(lambda base, x: base.log_det_grad(x), x)

    def observe(self, x: Event) -> Observation:
        return self._each(lambda base, x: base.observe(x), x)

    def pull_slope(self, x: Event, slope: Event) -> PyTree:
        return self._each(lambda base, x, slope: base.pull_slope(x, slope), x, slope)

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return Independent(self._each(lambda base: base.adaptable(dtype)), self.shape)

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        return Independent(self._each(lambda base, m: base.adapted(m, trust), moments), self.shape)

    def describe(self) -> str:
        return self.base.describe()


class IndependentMetric(Metric):
    """Block-diagonal metric over leading axes; `base` holds one metric an element."""

    base: Metric
    shape: tuple[int, ...] = eqx.field(static=True)

    def _each(self, method, *args):
        return over_axes(method, self.shape)(self.base, *args)

    def apply(self, u: PyTree) -> PyTree:
        return self._each(lambda base, u: base.apply(u), u)

    def solve(self, v: PyTree) -> PyTree:
        return self._each(lambda base, v: base.solve(v), v)

    def sqrt(self, noise: PyTree) -> PyTree:
        return self._each(lambda base, n: base.sqrt(n), noise)

    def log_det(self) -> Float[Array, ""]:
        return sum_entries(self._each(lambda base: base.log_det()))

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        return sum_entries(self._each(lambda base, v: base.inverse_norm_sq(v), v))

    def shortest(self, v: PyTree) -> PyTree:
        return self._each(lambda base, v: base.shortest(v), v)
