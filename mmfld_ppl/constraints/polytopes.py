"""Bounded polytopes, with or without equalities."""

from __future__ import annotations

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, ArrayLike, Bool, Float
from numpyro.distributions import constraints as nc
from numpyro.distributions.util import array_equiv
from numpyro.util import not_jax_tracer

from . import geometry
from .basic import array_module, as_float


def matvec(A: Float[ArrayLike, "*batch m d"], x: Float[ArrayLike, "*batch d"]) -> Array:
    """A x over leading axes. Accelerators round products of float32 to fewer digits by default,
    which would put points outside."""
    if array_module(x) is np and array_module(A) is np:
        return np.einsum("...md,...d->...m", A, x)
    return jnp.einsum("...md,...d->...m", A, x, precision=Precision.HIGHEST)


class _Polytope(nc.Constraint):
    """{x in R^d : A x <= b, C x = c}, bounded, with an interior relative to C x = c.

    The inequalities are checked exactly as computed, the equalities up to rounding. Redundant
    rows and equalities of deficient rank are fine. Construction solves small linear programmes
    in float64 and remembers the result for the same numbers, so a polytope may be written inside
    a model. Leading axes of A, b, C, c are batch axes.

    The polytope with the corners V, shape (n, d), is {A x <= b} with A, b = hull[:, :-1],
    -hull[:, -1], where hull = scipy.spatial.ConvexHull(V).equations.

    Args:
        A: shape (*batch, m, d).
        b: shape (*batch, m), finite.
        C: shape (*batch, p, d), or None.
        c: shape (*batch, p), or None.

    Attributes:
        center: (*batch, d) analytic centre of the inequalities, a point of the relative interior.
        basis: (*batch, d, k) orthonormal basis of the null space of C; the identity without C.
        rounding: (*batch, k, k) upper triangular R with the Dikin ellipsoid at the centre equal
            to {center + basis R z : |z| <= 1}.

    Raises:
        ValueError: shapes disagree; an entry is not finite; the polytope is empty, a single
            point, without interior or unbounded, or too thin for the dtype.
        TypeError: an argument is traced. Its centre is needed before tracing: build the polytope
            from concrete arrays, which traced code may then use."""

    event_dim = 1
    parameter_event_dims: ClassVar[tuple[int, ...]] = (2, 1, 2, 1, 1, 2, 2)
    _fields: ClassVar[tuple[str, ...]] = ("A", "b", "C", "c", "center", "basis", "rounding")

    def __init__(
        self,
        A: ArrayLike,
        b: ArrayLike,
        C: ArrayLike | None = None,
        c: ArrayLike | None = None,
    ) -> None:
        given = _checked(A, b, C, c)
        dtype = jax.dtypes.canonicalize_dtype(np.result_type(*given))
        eps = max(float(np.finfo(x.dtype).eps) for x in given)
        exact = tuple(np.asarray(x, np.float64) for x in given)
        self.A, self.b, self.C, self.c = (x.astype(dtype) for x in exact)
        self.center, self.basis, self.rounding = (x.astype(dtype) for x in _interiors(exact, eps))
        slack = self.b - matvec(self.A, self.center)
        if not np.all(slack > self.resolution()):
            raise ValueError(
                f"polytope is too thin for {dtype}: rounding may put its centre outside "
                f"(least slack {slack.min():.2g}); use float64 or rescale"
            )

    def __call__(self, x: Float[Array, "*batch d"]) -> Bool[Array, "*batch"]:
        xp = array_module(x)
        inside = xp.all(matvec(self.A, x) <= self.b, axis=-1)
        eps = max(float(jnp.finfo(y.dtype).eps) for y in (x, self.C))
        size = xp.max(xp.abs(x), axis=-1, keepdims=True)
        scale = xp.max(xp.abs(self.C), axis=-1, initial=0.0) * size + xp.abs(self.c)
        error = xp.abs(matvec(self.C, x) - self.c)
        return inside & xp.all(error <= 10 * x.shape[-1] * eps * scale, axis=-1)

    def resolution(self) -> Float[Array, "*batch m"]:
        """Size of the rounding errors of the slacks b - A x, for x of the size of the centre."""
        size = matvec(abs(self.A), abs(self.center)) + abs(self.b)
        return 4 * float(jnp.finfo(size.dtype).eps) * size

    def __repr__(self) -> str:
        named = (self.A, self.b, self.center, self.basis, self.rounding)
        if jnp.shape(self.basis) == (2, 2) and all(map(not_jax_tracer, named)):
            A, b, *interior = (np.asarray(x, np.float64) for x in named)
            found = geometry.corners(A, b, geometry.Interior(*interior))
            # To a millionth of its sides. Zero has no sign.
            digits = math.ceil(6 - math.log10(np.min(np.ptp(found, axis=0))))
            return f"polytope(corners={(np.round(found, digits) + 0.0).tolist()})"
        d, k = jnp.shape(self.basis)[-2:]
        sizes = f"{jnp.shape(self.b)[-1]} inequalities, {jnp.shape(self.c)[-1]} equalities"
        batch = jnp.shape(self.center)[:-1]
        return f"polytope(dimension {k} in R^{d}, {sizes}{f', batch {batch}' if batch else ''})"

    def feasible_like(self, prototype: ArrayLike) -> Array:
        center = jnp.broadcast_to(self.center, jnp.shape(prototype))
        return center.astype(jnp.result_type(prototype))

    def eq(self, other: object, static: bool = False) -> ArrayLike:
        if not isinstance(other, _Polytope):
            return False
        same = True
        for name in ("A", "b", "C", "c"):
            same = same & array_equiv(getattr(self, name), getattr(other, name), static=static)
        return same

    def tree_flatten(self):
        return tuple(getattr(self, name) for name in self._fields), (self._fields, {})


def _checked(A, b, C, c) -> tuple[np.ndarray, ...]:
    """The four arrays as NumPy arrays of matching shapes; absent equalities have no rows."""
    if (C is None) != (c is None):
        raise ValueError("polytope needs C and c together, or neither")
    named = {"A": A, "b": b} if C is None else {"A": A, "b": b, "C": C, "c": c}
    for name, value in named.items():
        if not not_jax_tracer(value):
            raise TypeError(
                f"polytope needs concrete arrays, {name} is traced: its centre is found by "
                "linear programming before tracing; build the polytope outside jit, vmap and grad"
            )
        value = named[name] = as_float(np.asarray(value))
        if not np.all(np.isfinite(value)):
            raise ValueError(f"polytope needs finite {name}; leave out rows without a bound")
    if named["A"].ndim < 2:
        raise ValueError(f"polytope needs a matrix A, got shape {named['A'].shape}")
    d = named["A"].shape[-1]
    if C is None:
        named |= {"C": np.zeros((0, d), named["A"].dtype), "c": np.zeros(0, named["A"].dtype)}
    A, b, C, c = named.values()
    if C.ndim < 2 or C.shape[-1] != d:
        raise ValueError(f"polytope needs C with {d} columns like A, got shape {C.shape}")
    for matrix, vector, names in ((A, b, "A, b"), (C, c, "C, c")):
        if vector.ndim < 1 or vector.shape[-1] != matrix.shape[-2]:
            raise ValueError(
                f"polytope needs as many rows in each of {names}, "
                f"got shapes {matrix.shape}, {vector.shape}"
            )
    return A, b, C, c


def _interiors(exact: tuple[np.ndarray, ...], eps: float) -> geometry.Interior:
    """`geometry.interior` over the batch axes."""
    ranks = (2, 1, 2, 1)
    batch = np.broadcast_shapes(*(x.shape[: x.ndim - r] for x, r in zip(exact, ranks, strict=True)))
    if not batch:
        A, b, C, c = exact
        return geometry.interior(A, b, C, c, eps)
    full = [
        np.broadcast_to(x, batch + x.shape[x.ndim - r :]) for x, r in zip(exact, ranks, strict=True)
    ]
    found = []
    for index in np.ndindex(batch):
        A, b, C, c = (x[index] for x in full)
        try:
            found.append(geometry.interior(A, b, C, c, eps))
        except ValueError as error:
            raise ValueError(f"at batch index {index}: {error}") from error
    dimensions = {x.basis.shape[1] for x in found}
    if len(dimensions) > 1:
        raise ValueError(
            f"polytopes of one batch differ in dimension: {sorted(dimensions)}; make a site of each"
        )
    stacked = (np.stack(arrays) for arrays in zip(*found, strict=True))
    return geometry.Interior(*(x.reshape(batch + x.shape[1:]) for x in stacked))


polytope = _Polytope
