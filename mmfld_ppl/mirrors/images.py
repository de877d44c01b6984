"""Ordered vectors, Cholesky factors, half-spaces, affine subspaces and concatenations."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, DTypeLike, Float

from ..linalg import matmul
from .base import Event, MirrorMap
from .euclidean import Euclidean
from .half_line import HalfLine
from .linear import LinearImage
from .polytope import Polytope
from .product import Independent, Product


class OrderedVector(LinearImage):
    """x_1 < x_2 < ... : the first entry on the line, the gaps on half-lines."""

    base: MirrorMap

    def forward(self, u: Event) -> Event:
        return jnp.cumsum(jnp.concatenate([u["first"], u["gaps"]]))

    def inverse(self, x: Event) -> Event:
        return {"first": x[:1], "gaps": jnp.diff(x)}

    @classmethod
    def of_size(cls, size: int, dtype: DTypeLike) -> OrderedVector:
        """Gaps of unit scale."""
        first = Independent.of(Euclidean(), (1,))
        gaps = Independent.of(HalfLine.above(0.0, dtype), (size - 1,))
        return cls(Product({"first": first, "gaps": gaps}))


class PositiveOrderedVector(LinearImage):
    """0 < x_1 < x_2 < ... : all gaps on half-lines."""

    base: MirrorMap

    def forward(self, u: Event) -> Event:
        return jnp.cumsum(u)

    def inverse(self, x: Event) -> Event:
        return jnp.diff(x, prepend=0)

    @classmethod
    def of_size(cls, size: int, dtype: DTypeLike) -> PositiveOrderedVector:
        """Gaps of unit scale."""
        return cls(Independent.of(HalfLine.above(0.0, dtype), (size,)))


class LowerCholesky(LinearImage):
    """Lower triangular matrices of positive diagonal: half-lines on the diagonal, the line below
    it. What a dual vector has above the diagonal is ignored."""

    base: MirrorMap

    def forward(self, u: Event) -> Event:
        diagonal = jnp.diag(u["diagonal"])
        return diagonal.at[jnp.tril_indices_from(diagonal, -1)].set(u["below"])

    def inverse(self, x: Event) -> Event:
        return {"diagonal": jnp.diagonal(x), "below": x[jnp.tril_indices_from(x, -1)]}

    @classmethod
    def of_size(cls, size: int, dtype: DTypeLike) -> LowerCholesky:
        """A diagonal of unit scale."""
        diagonal = Independent.of(HalfLine.above(0.0, dtype), (size,))
        below = Independent.of(Euclidean(), (size * (size - 1) // 2,))
        return cls(Product({"diagonal": diagonal, "below": below}))


class HalfSpace(LinearImage):
    """{x : <normal, x> <= offset}: a half-line across the boundary, lines along it.

    mirror: the unit vector w of the reflection I - 2 w w^T between the normal and the first axis.
    direction: the sign with which the normal lands on that axis."""

    base: MirrorMap
    mirror: Float[Array, " d"]
    direction: Float[Array, ""]
    reach: Float[Array, ""]

    def _reflect(self, x: Event) -> Event:
        return x - 2 * jnp.sum(self.mirror * x) * self.mirror

    def forward(self, u: Event) -> Event:
        across = self.direction * (self.reach - u["distance"])
        return self._reflect(jnp.concatenate([across, u["along"]]))

    def inverse(self, x: Event) -> Event:
        reflected = self._reflect(x)
        distance = self.reach - self.direction * reflected[:1]
        return {"distance": distance, "along": reflected[1:]}

    @classmethod
    def of(cls, normal: Float[Array, " d"], offset: Array | float, dtype: DTypeLike) -> HalfSpace:
        """Of a normal of any length; the distance from the boundary has unit scale."""
        normal = jnp.asarray(normal, dtype)
        length = jnp.linalg.norm(normal)
        normal = normal / length
        # Reflecting onto the far side of the axis keeps the difference from cancelling.
        direction = jnp.where(normal[0] < 0, 1, -1).astype(normal.dtype)
        mirror = normal.at[0].add(-direction)
        distance = Independent.of(HalfLine.above(0.0, dtype), (1,))
        along = Independent.of(Euclidean(), (normal.size - 1,))
        return cls(
            Product({"distance": distance, "along": along}),
            mirror / jnp.linalg.norm(mirror),
            direction,
            jnp.asarray(offset, dtype) / length,
        )


class AffineImage(LinearImage):
    """x = center + basis u, in an affine subspace or the whole space.

    left_inverse: a matrix P with P basis = I."""

    base: MirrorMap
    center: Float[Array, " d"]
    basis: Float[Array, "d k"]
    left_inverse: Float[Array, "k d"]

    def forward(self, u: Event) -> Event:
        return self.center + matmul(self.basis, u)

    def inverse(self, x: Event) -> Event:
        return matmul(self.left_inverse, x - self.center)

    def describe(self) -> str:
        return self.base.describe()


class Concatenation(LinearImage):
    """Consecutive slices along one axis, each with a map of its own.

    base: a product whose parts are named "0", "1", ... in order."""

    base: MirrorMap
    axis: int = eqx.field(static=True)
    lengths: tuple[int, ...] = eqx.field(static=True)

    def forward(self, u: Event) -> Event:
        return jnp.concatenate([u[str(i)] for i in range(len(self.lengths))], self.axis)

    def inverse(self, x: Event) -> Event:
        slices, start = {}, 0
        for i, length in enumerate(self.lengths):
            slices[str(i)] = jax.lax.slice_in_dim(x, start, start + length, axis=self.axis)
            start += length
        return slices


def polytope_image(
    matrix: Float[Array, "m d"],
    bound: Float[Array, " m"],
    center: Float[Array, " d"],
    basis: Float[Array, "d k"],
    rounding: Float[Array, "k k"],
) -> AffineImage:
    """{x : matrix x <= bound} within center + span(basis), in the coordinates u of
    x = center + basis rounding u.

    center: an interior point. basis: orthonormal columns. rounding: upper triangular, such that
    the polytope in u is neither long nor thin; then float32 has digits to spare for it."""
    rows = matmul(matrix, basis)
    base = Polytope(
        matmul(rows, rounding),
        bound - matmul(matrix, center),
        jnp.linalg.norm(rows, axis=1),
    )
    left_inverse = jsl.solve_triangular(rounding, basis.T)
    return AffineImage(base, center, matmul(basis, rounding), left_inverse)
