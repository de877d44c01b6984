"""The radial profile g -> tanh g that the bijections share, as smooth functions of s = g^2."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

#: Below this g^2 a power series of five terms is exact in float64, and smooth at 0.
SERIES = 1e-3


def _by_series(
    s: Array, coefficients: tuple[float, ...], closed_form: Callable[[Array], Array]
) -> Array:
    """A function of g = sqrt(s): its power series in s near 0, where sqrt has no derivative."""
    small = s < SERIES
    series = jnp.polyval(jnp.asarray(coefficients[::-1], s.dtype), jnp.where(small, s, 0))
    return jnp.where(small, series, closed_form(jnp.sqrt(jnp.where(small, 0.25, s))))


def tanh_over(s: Array) -> Array:
    """tanh(g)/g."""
    return _by_series(s, (1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835), lambda g: jnp.tanh(g) / g)


def arctanh_over(s: Array) -> Array:
    """arctanh(g)/g."""
    return _by_series(s, (1, 1 / 3, 1 / 5, 1 / 7, 1 / 9), lambda g: jnp.arctanh(g) / g)


def arctanh_over_complement(rest: Array) -> Array:
    """arctanh(g)/g at g = 1 - rest, exact as rest goes to 0."""
    g = 1 - rest
    small = jnp.square(g) < SERIES
    rest = jnp.where(small, 0.5, rest)
    away = 0.5 * jnp.log((2 - rest) / rest) / (1 - rest)
    return jnp.where(small, arctanh_over(jnp.square(jnp.where(small, g, 0))), away)


def log_cosh(s: Array) -> Array:
    """log cosh(g)."""
    return _by_series(
        s,
        (0, 1 / 2, -1 / 12, 1 / 45, -17 / 2520),
        lambda g: g + jnp.log1p(jnp.exp(-2 * g)) - math.log(2),
    )


def radial_log_det(s: Array, dimension: int) -> Array:
    """log det of z -> z tanh(g)/g, where g(z) is homogeneous of degree one and s = g^2."""
    return -2 * log_cosh(s) + (dimension - 1) * jnp.log(tanh_over(s))


def within(dtype: DTypeLike) -> float:
    """A factor that keeps the image off the boundary by a few units of rounding."""
    # tanh rounds to 1 from g = 9 (float32) or 19 (float64) on.
    return 1 - 4 * float(jnp.finfo(dtype).eps)
