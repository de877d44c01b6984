"""The ball, the box, the half-space and the spectraplex."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float
from numpyro.distributions import constraints as nc
from numpyro.distributions.util import array_equiv
from numpyro.util import not_jax_tracer


def array_module(x: ArrayLike) -> Any:
    """NumPy for NumPy values, so that checking them compiles nothing; JAX otherwise."""
    return np if isinstance(x, (np.ndarray, np.generic)) else jnp


def as_float(value: ArrayLike) -> ArrayLike:
    """Lists and integers become floating point; floats and floating arrays stay as they are."""
    if isinstance(value, (float, int)):
        return float(value)
    if not isinstance(value, jax.Array):
        value = np.asarray(value)
    if jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return value.astype(jax.dtypes.canonicalize_dtype(float))


class _Ball(nc.Constraint):
    """{x in R^d : |x|_2 < radius}, open, centred at the origin.

    Args:
        radius: positive, of the batch shape.

    Raises:
        ValueError: a radius is not positive and finite."""

    event_dim = 1
    parameter_event_dims: ClassVar[tuple[int, ...]] = (0,)

    def __init__(self, radius: ArrayLike = 1.0) -> None:
        self.radius = as_float(radius)
        if not_jax_tracer(self.radius):
            r = np.asarray(self.radius)
            if not np.all(np.isfinite(r) & (r > 0)):
                raise ValueError(f"ball needs a positive, finite radius, got {radius}")

    def __call__(self, x: Float[Array, "*batch d"]) -> Bool[Array, "*batch"]:
        xp = array_module(x)
        # The same expression as in the bijection, so that a feasible point is always invertible.
        return xp.sum(xp.square(x / xp.expand_dims(self.radius, -1)), axis=-1) < 1

    def __repr__(self) -> str:
        return f"ball(radius={self.radius})"

    def feasible_like(self, prototype: ArrayLike) -> Array:
        return jnp.zeros_like(prototype)

    def eq(self, other: object, static: bool = False) -> ArrayLike:
        return isinstance(other, _Ball) and array_equiv(self.radius, other.radius, static=static)

    def tree_flatten(self):
        return (self.radius,), (("radius",), {})


class _Halfspace(nc.Constraint):
    """{x in R^d : normal . x <= offset}, closed.

    Args:
        normal: shape (*batch, d), not zero, of any length.
        offset: of the batch shape.

    Raises:
        ValueError: a normal is zero, not finite or not a vector, or an offset is not finite."""

    event_dim = 1
    parameter_event_dims: ClassVar[tuple[int, ...]] = (1, 0)

    def __init__(self, normal: ArrayLike, offset: ArrayLike) -> None:
        self.normal, self.offset = as_float(normal), as_float(offset)
        if jnp.ndim(self.normal) == 0:
            raise ValueError(f"halfspace needs a vector as its normal, got the scalar {normal}")
        if not_jax_tracer(self.normal):
            n = np.asarray(self.normal)
            if not (np.all(np.isfinite(n)) and np.all(np.any(n != 0, axis=-1))):
                raise ValueError(f"halfspace needs a finite, non-zero normal, got {normal}")
        if not_jax_tracer(self.offset) and not np.all(np.isfinite(np.asarray(self.offset))):
            raise ValueError(f"halfspace needs a finite offset, got {offset}")

    def __call__(self, x: Float[Array, "*batch d"]) -> Bool[Array, "*batch"]:
        return array_module(x).sum(self.normal * x, axis=-1) <= self.offset

    def __repr__(self) -> str:
        return f"halfspace(normal={self.normal}, offset={self.offset})"

    def feasible_like(self, prototype: ArrayLike) -> Array:
        """The point on the normal through the origin at distance 1 from the boundary."""
        norm = jnp.linalg.norm(self.normal, axis=-1)
        x = ((self.offset / norm - 1) / norm)[..., None] * self.normal
        return jnp.broadcast_to(x, jnp.shape(prototype)).astype(jnp.result_type(prototype))

    def eq(self, other: object, static: bool = False) -> ArrayLike:
        if not isinstance(other, _Halfspace):
            return False
        return array_equiv(self.normal, other.normal, static=static) & array_equiv(
            self.offset, other.offset, static=static
        )

    def tree_flatten(self):
        return (self.normal, self.offset), (("normal", "offset"), {})


class _Spectraplex(nc._SingletonConstraint):
    """{X in R^(n x n) : X symmetric and positive definite, tr X = 1}.

    Symmetry and trace are checked up to rounding in the dtype of X, for n >= 2."""

    event_dim = 2

    def __repr__(self) -> str:
        return "spectraplex"

    def __call__(self, x: Float[Array, "*batch n n"]) -> Bool[Array, "*batch"]:
        xp = array_module(x)
        n = x.shape[-1]
        # All entries of a feasible matrix are below 1, so absolute tolerances are relative ones.
        tolerance = 10 * n * float(jnp.finfo(x.dtype).eps)
        symmetric = xp.all(xp.abs(x - xp.swapaxes(x, -2, -1)) <= tolerance, axis=(-2, -1))
        unit_trace = xp.abs(xp.trace(x, axis1=-2, axis2=-1) - 1) <= tolerance
        return symmetric & unit_trace & (xp.linalg.eigvalsh(x)[..., 0] > 0)

    def feasible_like(self, prototype: ArrayLike) -> Array:
        n = jnp.shape(prototype)[-1]
        eye = jnp.eye(n, dtype=jnp.result_type(prototype))
        return jnp.broadcast_to(eye / n, jnp.shape(prototype))


def box(low: ArrayLike, high: ArrayLike) -> nc.Constraint:
    """{x in R^d : low <= x <= high}, coordinate by coordinate.

    Args:
        low, high: shape (*batch, d), or scalars that hold for every coordinate.

    Raises:
        ValueError: low < high fails for a coordinate, or a bound is not finite."""
    low, high = as_float(low), as_float(high)
    if not_jax_tracer(low) and not_jax_tracer(high):
        finite = np.isfinite(np.asarray(low)) & np.isfinite(np.asarray(high))
        if not np.all(finite & (np.asarray(low) < np.asarray(high))):
            raise ValueError(f"box needs finite low < high in every coordinate: {low}, {high}")
    return nc.independent(nc.interval(low, high), 1)


ball = _Ball
halfspace = _Halfspace
spectraplex = _Spectraplex()
