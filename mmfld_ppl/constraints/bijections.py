"""Bijections from R^k onto the ball, the polytope and the half-space, for NumPyro's `biject_to`.

Ball and polytope use one radial profile: a point at gauge distance g from the centre goes to
tanh g, where 1 is the boundary. Smooth targets then have exponential tails in R^k, which
Hamiltonian samplers need; profiles such as g/(1+g) and g/sqrt(1+g^2) give polynomial ones."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from numpyro.distributions.transforms import Transform
from numpyro.distributions.util import array_equiv

from .basic import ball, halfspace
from .polytopes import matvec, polytope
from .radial import arctanh_over, arctanh_over_complement, radial_log_det, tanh_over, within

Shape = tuple[int, ...]
Vector = Float[Array, "*batch d"]


class BallTransform(Transform):
    """x = radius z tanh(|z|)/|z|, from R^d onto the open ball."""

    domain = nc.real_vector

    def __init__(self, radius) -> None:
        self.radius = radius

    @property
    def codomain(self):
        return ball(self.radius)

    def __call__(self, x: Vector) -> Vector:
        s = jnp.sum(jnp.square(x), axis=-1)
        ratio = jnp.asarray(self.radius) * (within(x.dtype) * tanh_over(s))
        return ratio[..., None] * x

    def _inverse(self, y: Vector) -> Vector:
        u = y / jnp.expand_dims(self.radius, -1)
        return arctanh_over(jnp.sum(jnp.square(u), axis=-1))[..., None] * u

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        d = jnp.shape(x)[-1]
        return d * jnp.log(self.radius) + radial_log_det(jnp.sum(jnp.square(x), axis=-1), d)

    def forward_shape(self, shape: Shape) -> Shape:
        return _with_batch(jnp.shape(self.radius), shape)

    inverse_shape = forward_shape

    def tree_flatten(self):
        return (self.radius,), (("radius",), {})

    def eq(self, other, static=False):
        return isinstance(other, BallTransform) and array_equiv(
            self.radius, other.radius, static=static
        )


class PolytopeTransform(Transform):
    """x = center + N R z tanh(g)/g, from R^k onto the interior of a polytope.

    g(z) = max_i (A N R z)_i / (b - A center)_i is the gauge of the polytope about its centre in
    the coordinates that make the Dikin ellipsoid a ball. The map has kinks where the largest
    inequality changes. The density is with respect to Lebesgue measure in the orthonormal
    coordinates N^T x."""

    domain = nc.real_vector

    def __init__(self, constraint: nc.Constraint) -> None:
        self.constraint = constraint

    @property
    def codomain(self):
        return self.constraint

    def _squared_gauge(self, direction: Vector) -> Array:
        p = self.constraint
        slack = p.b - matvec(p.A, p.center)
        return jnp.square(jnp.max(matvec(p.A, direction) / slack, axis=-1))

    def _direction(self, z: Vector) -> Vector:
        p = self.constraint
        return matvec(p.basis, matvec(p.rounding, z))

    def __call__(self, x: Vector) -> Vector:
        u = self._direction(x)
        ratio = within(x.dtype) * tanh_over(self._squared_gauge(u))
        return self.constraint.center + ratio[..., None] * u

    def _inverse(self, y: Vector) -> Vector:
        p = self.constraint
        w = matvec(jnp.swapaxes(p.basis, -1, -2), y - p.center)
        R = jnp.broadcast_to(p.rounding, w.shape[:-1] + jnp.shape(p.rounding)[-2:])
        z = solve_triangular(R, w[..., None])[..., 0]
        # One minus the gauge, from the slacks that membership is decided by: a point that passes
        # as interior has a finite inverse.
        rest = jnp.min((p.b - matvec(p.A, y)) / (p.b - matvec(p.A, p.center)), axis=-1)
        return arctanh_over_complement(rest)[..., None] * z

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        R = self.constraint.rounding
        scale = jnp.sum(jnp.log(jnp.diagonal(R, axis1=-2, axis2=-1)), axis=-1)
        return scale + radial_log_det(self._squared_gauge(self._direction(x)), x.shape[-1])

    def forward_shape(self, shape: Shape) -> Shape:
        *batch, d, _ = jnp.shape(self.constraint.basis)
        return _with_batch(tuple(batch), (*shape[:-1], d))

    def inverse_shape(self, shape: Shape) -> Shape:
        *batch, _, k = jnp.shape(self.constraint.basis)
        return _with_batch(tuple(batch), (*shape[:-1], k))

    def tree_flatten(self):
        return (self.constraint,), (("constraint",), {})

    def eq(self, other, static=False):
        return isinstance(other, PolytopeTransform) and self.constraint.eq(
            other.constraint, static=static
        )


class HalfspaceTransform(Transform):
    """x = Q (+-(offset/|n| - e^{z_1}), z_2, .., z_d), from R^d into {n . x <= offset}.

    Q is the Householder reflection of the unit normal to -+e_1, so the determinant is e^{z_1}."""

    domain = nc.real_vector

    def __init__(self, normal, offset) -> None:
        self.normal, self.offset = normal, offset

    @property
    def codomain(self):
        return halfspace(self.normal, self.offset)

    def _frame(self) -> tuple[Array, Array, Array]:
        """The Householder vector, the sign with Q n = -sign e_1, and the scaled offset."""
        normal = jnp.asarray(self.normal)
        norm = jnp.linalg.norm(normal, axis=-1)
        n = normal / norm[..., None]
        sign = jnp.where(n[..., 0] < 0, -1, 1).astype(n.dtype)
        return n.at[..., 0].add(sign), sign, self.offset / norm

    def __call__(self, x: Vector) -> Vector:
        v, sign, offset = self._frame()
        first = -sign * (offset - jnp.exp(x[..., 0]))
        rest = jnp.broadcast_to(x[..., 1:], (*first.shape, x.shape[-1] - 1))
        return _reflect(v, jnp.concatenate([first[..., None], rest], axis=-1))

    def _inverse(self, y: Vector) -> Vector:
        v, sign, offset = self._frame()
        w = _reflect(v, y)
        first = jnp.log(offset + sign * w[..., 0])
        return jnp.concatenate([first[..., None], w[..., 1:]], axis=-1)

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        batch = jnp.broadcast_shapes(jnp.shape(x)[:-1], jnp.shape(y)[:-1])
        return jnp.broadcast_to(x[..., 0], batch)

    def forward_shape(self, shape: Shape) -> Shape:
        batch = jnp.broadcast_shapes(jnp.shape(self.normal)[:-1], jnp.shape(self.offset))
        return _with_batch(batch, shape)

    inverse_shape = forward_shape

    def tree_flatten(self):
        return (self.normal, self.offset), (("normal", "offset"), {})

    def eq(self, other, static=False):
        return isinstance(other, HalfspaceTransform) and (
            array_equiv(self.normal, other.normal, static=static)
            & array_equiv(self.offset, other.offset, static=static)
        )


def _reflect(v: Vector, x: Vector) -> Vector:
    return x - (2 * jnp.sum(v * x, axis=-1, keepdims=True) / jnp.sum(v * v, -1, keepdims=True)) * v


def _with_batch(batch: Shape, shape: Shape) -> Shape:
    return (*jnp.broadcast_shapes(batch, shape[:-1]), shape[-1])


@biject_to.register(ball)
def _to_ball(constraint):
    return BallTransform(constraint.radius)


@biject_to.register(halfspace)
def _to_halfspace(constraint):
    return HalfspaceTransform(constraint.normal, constraint.offset)


@biject_to.register(polytope)
def _to_polytope(constraint):
    return PolytopeTransform(constraint)
