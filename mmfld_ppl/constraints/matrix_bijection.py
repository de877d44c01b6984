"""The bijection onto the spectraplex."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.nn import log_softmax
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from numpyro.distributions.transforms import ParameterFreeTransform

from .basic import spectraplex
from .radial import log_cosh

Shape = tuple[int, ...]
Vector = Float[Array, "*batch d"]


class SpectraplexTransform(ParameterFreeTransform):
    """X = F F^T with |F|_F = 1, from R^{n(n+1)/2 - 1} onto the spectraplex.

    F is lower triangular. The squared lengths of its rows are p = softmax(z_1, .., z_{n-1}, 0),
    the diagonal of X. In row i, F_ij = sqrt(p_i) tanh(u_ij) prod_{l<j} sech(u_il), closed by the
    product of all sech on the diagonal, where u are the other coordinates, row by row. The
    density is with respect to Lebesgue measure on the lower triangle of X without its last
    diagonal entry."""

    domain = nc.real_vector
    codomain = spectraplex

    def __call__(self, x: Vector) -> Float[Array, "*batch n n"]:
        n = _matrix_size(x.shape[-1])
        root = jnp.exp(0.5 * log_diagonal(x[..., : n - 1]))
        u = _strict_lower(x[..., n - 1 :], n)
        before, full = log_sech_products(u)
        diagonal = jnp.exp(full)[..., None] * jnp.eye(n, dtype=u.dtype)
        F = root[..., None] * (jnp.tanh(u) * jnp.exp(before) + diagonal)
        return jnp.matmul(F, jnp.swapaxes(F, -1, -2), precision="highest")

    def _inverse(self, y: Float[Array, "*batch n n"]) -> Vector:
        n = y.shape[-1]
        p = jnp.diagonal(y, axis1=-2, axis2=-1)
        F = jnp.linalg.cholesky(y)
        # Sums from the diagonal leftwards: what is left of a row after column j, free of
        # cancellation, and sinh(u_ij) is F_ij over its root.
        left = jnp.cumsum(jnp.square(F)[..., ::-1], axis=-1)[..., ::-1]
        rows, columns = jnp.tril_indices(n, -1)
        u = jnp.arcsinh(F[..., rows, columns] / jnp.sqrt(left[..., rows, columns + 1]))
        return jnp.concatenate([jnp.log(p[..., :-1] / p[..., -1:]), u], axis=-1)

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        n = _matrix_size(x.shape[-1])
        log_p = log_diagonal(x[..., : n - 1])
        u = _strict_lower(x[..., n - 1 :], n)
        before, full = log_sech_products(u)
        # u -> rows of the Cholesky factor of the correlation matrix -> that matrix -> X.
        log_sech = -log_cosh(jnp.square(u))
        inner = jnp.sum(jnp.tril(2 * log_sech + before, -1), axis=(-2, -1))
        correlation = jnp.sum(jnp.arange(n - 1, -1, -1) * full, axis=-1)
        return (n + 1) / 2 * jnp.sum(log_p, axis=-1) + inner + correlation

    def forward_shape(self, shape: Shape) -> Shape:
        n = _matrix_size(shape[-1])
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Shape) -> Shape:
        n = shape[-1]
        if shape[-2] != n or n < 2:
            raise ValueError(
                f"spectraplex holds square matrices of size 2 or more, got shape {shape}; "
                "a 1 x 1 matrix of trace 1 is the constant 1"
            )
        return (*shape[:-2], n * (n + 1) // 2 - 1)


def _matrix_size(length: int) -> int:
    n = (math.isqrt(9 + 8 * length) - 1) // 2
    if n < 2 or n * (n + 1) // 2 - 1 != length:
        raise ValueError(f"a spectraplex needs n(n+1)/2 - 1 coordinates with n >= 2, got {length}")
    return n


def log_diagonal(z: Vector) -> Float[Array, "*batch n"]:
    return log_softmax(jnp.concatenate([z, jnp.zeros_like(z[..., :1])], axis=-1))


def _strict_lower(values: Vector, n: int) -> Float[Array, "*batch n n"]:
    rows, columns = jnp.tril_indices(n, -1)
    return jnp.zeros((*values.shape[:-1], n, n), values.dtype).at[..., rows, columns].set(values)


def log_sech_products(u: Float[Array, "*batch m"]) -> tuple[Array, Array]:
    """sum_{l<k} log sech(u_l) for every k; and over all."""
    log_sech = -log_cosh(jnp.square(u))
    return jnp.cumsum(log_sech, axis=-1) - log_sech, jnp.sum(log_sech, axis=-1)


@biject_to.register(spectraplex)
def _to_spectraplex(constraint):
    return SpectraplexTransform()
