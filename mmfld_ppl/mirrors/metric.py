"""The Hessian of a mirror map at one point, factored once and then applied many ways."""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..linalg import inner, log_det_from, matmul, sum_entries


class Metric(eqx.Module):
    """A positive definite form G on the tangent space of one point.

    Tangent vectors `u` move primal points, dual vectors `v` move dual points; on an affine set
    dual vectors are classes modulo the normal directions."""

    @abc.abstractmethod
    def apply(self, u: PyTree) -> PyTree:
        """G u, a dual vector."""

    @abc.abstractmethod
    def solve(self, v: PyTree) -> PyTree:
        """G^-1 v, a tangent vector; the same for every member of a class."""

    @abc.abstractmethod
    def sqrt(self, noise: PyTree) -> PyTree:
        """S xi with S S^T = G, a dual vector."""

    @abc.abstractmethod
    def log_det(self) -> Float[Array, ""]:
        """log det G on the tangent space, up to a constant that is the same at every point."""

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        """|v|^2 in G^-1, the minimum over the class of v."""
        return inner(v, self.solve(v))

    def shortest(self, v: PyTree) -> PyTree:
        """The member of the class of v that has the least norm in G^-1."""
        return v


class DenseMetric(Metric):
    """G = L L^T of a flattened event of n entries.

    cholesky: L of shape (n, n), the lower Cholesky factor `jnp.linalg.cholesky(hessian)`, not the
      Hessian itself, which would state another metric and raise nothing; `check_map` tells.
    unravel: from a vector of n entries to an event."""

    cholesky: Float[Array, "n n"]
    unravel: Callable = eqx.field(static=True)

    def _flat(self, v: PyTree) -> Float[Array, " n"]:
        return ravel_pytree(v)[0]

    def apply(self, u: PyTree) -> PyTree:
        return self.unravel(matmul(self.cholesky, matmul(self.cholesky.T, self._flat(u))))

    def solve(self, v: PyTree) -> PyTree:
        return self.unravel(jsl.cho_solve((self.cholesky, True), self._flat(v)))

    def sqrt(self, noise: PyTree) -> PyTree:
        return self.unravel(matmul(self.cholesky, self._flat(noise)))

    def log_det(self) -> Float[Array, ""]:
        return log_det_from(self.cholesky)

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        whitened = jsl.solve_triangular(self.cholesky, self._flat(v), lower=True)
        return sum_entries(jnp.square(whitened))


class DiagonalMetric(Metric):
    """G = diag(root^2), for events of any shape.

    Kept as its root, because the square of 1/x overflows long before 1/x does."""

    root: Float[Array, "..."]

    def apply(self, u: PyTree) -> PyTree:
        return self.root * (self.root * u)

    def solve(self, v: PyTree) -> PyTree:
        return v / self.root / self.root

    def sqrt(self, noise: PyTree) -> PyTree:
        return self.root * noise

    def log_det(self) -> Float[Array, ""]:
        return 2 * sum_entries(jnp.log(self.root))

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        return sum_entries(jnp.square(v / self.root))


class ScaledMetric(Metric):
    """weight * G for a scalar weight; its logarithm, a constant, is left out of `log_det`."""

    base: Metric
    weight: Float[Array, ""]

    def apply(self, u: PyTree) -> PyTree:
        return jax.tree.map(lambda v: self.weight * v, self.base.apply(u))

    def solve(self, v: PyTree) -> PyTree:
        return jax.tree.map(lambda u: u / self.weight, self.base.solve(v))

    def sqrt(self, noise: PyTree) -> PyTree:
        return jax.tree.map(lambda v: jnp.sqrt(self.weight) * v, self.base.sqrt(noise))

    def log_det(self) -> Float[Array, ""]:
        return self.base.log_det()

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        # Weights are as large as slopes, where the squares of both overflow.
        root = jnp.sqrt(self.weight)
        return self.base.inverse_norm_sq(jax.tree.map(lambda u: u / root, v))

    def shortest(self, v: PyTree) -> PyTree:
        return self.base.shortest(v)


class OnSubspace(Metric):
    """G of an ambient space, restricted to a subspace: dual vectors are classes modulo its normals,
    and G^-1 takes the shortest of a class into the subspace."""

    ambient: eqx.AbstractVar[Metric]

    @abc.abstractmethod
    def shortest(self, v: PyTree) -> PyTree: ...

    def apply(self, u: PyTree) -> PyTree:
        return self.ambient.apply(u)

    def solve(self, v: PyTree) -> PyTree:
        return self.ambient.solve(self.shortest(v))

    def sqrt(self, noise: PyTree) -> PyTree:
        return self.ambient.sqrt(noise)

    def inverse_norm_sq(self, v: PyTree) -> Float[Array, ""]:
        return self.ambient.inverse_norm_sq(self.shortest(v))


class RestrictedMetric(OnSubspace):
    r"""G of an ambient space, restricted to the tangent space normal^perp.

    With c(v) = <normal, G^-1 v> / <normal, G^-1 normal>, the representative v - c(v) normal of a
    dual class has the least norm, and G^-1 takes it into the tangent space. The determinant is
    det(G | T) = det(G) <normal, G^-1 normal> / |normal|^2.

    lifted: G^-1 normal, which the maps know in closed form."""

    ambient: Metric
    normal: Float[Array, "..."]
    lifted: Float[Array, "..."]

    def shortest(self, v: PyTree) -> PyTree:
        return v - inner(self.lifted, v) / inner(self.lifted, self.normal) * self.normal

    def log_det(self) -> Float[Array, ""]:
        return self.ambient.log_det() + jnp.log(inner(self.lifted, self.normal))
