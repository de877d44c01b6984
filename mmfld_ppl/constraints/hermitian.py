"""Complex Hermitian density matrices as real arrays: the support, and a bijection onto it.

A Hermitian X is held as the real matrix M = Re X + Im X. Re X is the symmetric and Im X the
antisymmetric part of M, so that nothing is held twice, and <M, M'> = Re tr(X X'): lengths, angles
and standard normal noise are the same in either form. Latents of NumPyro must be real.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Complex, Float
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from numpyro.distributions.transforms import ParameterFreeTransform

from .basic import array_module
from .matrix_bijection import log_diagonal, log_sech_products
from .radial import log_cosh

Shape = tuple[int, ...]
Packed = Float[Array, "*batch n n"]


def to_complex(x: Packed) -> Complex[Array, "*batch n n"]:
    """X of M: its real part is the symmetric, its imaginary part the antisymmetric part of M.

    >>> print(to_complex(jnp.array([[0.5, 0.25], [0.75, 0.5]]))[0, 1])
    (0.5-0.25j)
    """
    transposed = jnp.swapaxes(x, -1, -2)
    return lax.complex(0.5 * (x + transposed), 0.5 * (x - transposed))


def to_real(x: Complex[Array, "*batch n n"]) -> Packed:
    """M of the Hermitian part of X."""
    x = 0.5 * (x + jnp.conj(jnp.swapaxes(x, -1, -2)))
    return jnp.real(x) + jnp.imag(x)


class _HermitianSpectraplex(nc._SingletonConstraint):
    """{M = Re X + Im X : X complex Hermitian and positive definite, tr X = 1}, n >= 2.

    The trace is checked up to rounding in the dtype of M."""

    event_dim = 2

    def __repr__(self) -> str:
        return "hermitian_spectraplex"

    def __call__(self, x: Packed) -> Bool[Array, "*batch"]:
        xp = array_module(x)
        tolerance = 10 * x.shape[-1] * float(jnp.finfo(x.dtype).eps)
        unit_trace = xp.abs(xp.trace(x, axis1=-2, axis2=-1) - 1) <= tolerance
        return unit_trace & (xp.linalg.eigvalsh(xp.asarray(to_complex(x)))[..., 0] > 0)

    def feasible_like(self, prototype: ArrayLike) -> Array:
        n = jnp.shape(prototype)[-1]
        eye = jnp.eye(n, dtype=jnp.result_type(prototype))
        return jnp.broadcast_to(eye / n, jnp.shape(prototype))


hermitian_spectraplex = _HermitianSpectraplex()


class HermitianSpectraplexTransform(ParameterFreeTransform):
    """X = F F^H with |F|_F = 1, from R^(n^2 - 1) onto the Hermitian spectraplex.

    F is lower triangular with a positive diagonal. The squared lengths of its rows are p =
    softmax(z_1, .., z_{n-1}, 0), the diagonal of X. Row i is sqrt(p_i) times a unit vector of
    2 i + 1 coordinates w_k = tanh(u_k) prod_{l<k} sech(u_l), real and imaginary parts in turn,
    closed by the product of all sech on the diagonal. The density is with respect to Lebesgue
    measure on the real and imaginary parts of the lower triangle of X without its last diagonal
    entry."""

    domain = nc.real_vector
    codomain = hermitian_spectraplex

    def __call__(self, x: Float[Array, "*batch d"]) -> Packed:
        n = _matrix_size(x.shape[-1])
        log_p, u = log_diagonal(x[..., : n - 1]), x[..., n - 1 :]
        rows = []
        for i in range(n):
            own = u[..., i * (i - 1) : i * (i + 1)]
            before, full = log_sech_products(own)
            w = jnp.tanh(own) * jnp.exp(before)
            entries = lax.complex(w[..., 0::2], w[..., 1::2])
            diagonal = jnp.exp(full)[..., None].astype(entries.dtype)
            blank = jnp.zeros((*u.shape[:-1], n - 1 - i), entries.dtype)
            row = jnp.concatenate([entries, diagonal, blank], axis=-1)
            rows.append(jnp.exp(0.5 * log_p[..., i, None]) * row)
        F = jnp.stack(rows, axis=-2)
        gram = jnp.matmul(F, jnp.conj(jnp.swapaxes(F, -1, -2)), precision="highest")
        return to_real(gram)

    def _inverse(self, y: Packed) -> Float[Array, "*batch d"]:
        n = y.shape[-1]
        p = jnp.diagonal(y, axis1=-2, axis2=-1)
        F = jnp.linalg.cholesky(to_complex(y))
        parts = [jnp.log(p[..., :-1] / p[..., -1:])]
        for i in range(1, n):
            row = F[..., i, :i]
            w = jnp.stack([jnp.real(row), jnp.imag(row)], axis=-1)
            w = w.reshape(*w.shape[:-2], 2 * i)
            # Sums from the diagonal leftwards, free of cancellation: what is left of the row
            # after coordinate k, and sinh(u_k) is w_k over its root.
            closing = jnp.square(jnp.real(F[..., i, i, None]))
            tail = jnp.concatenate([jnp.square(w[..., 1:]), closing], axis=-1)
            left = jnp.cumsum(tail[..., ::-1], axis=-1)[..., ::-1]
            parts.append(jnp.arcsinh(w / jnp.sqrt(left)))
        return jnp.concatenate(parts, axis=-1)

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        n = _matrix_size(x.shape[-1])
        u = x[..., n - 1 :]
        total = n * jnp.sum(log_diagonal(x[..., : n - 1]), axis=-1)
        for i in range(1, n):
            own = u[..., i * (i - 1) : i * (i + 1)]
            before, full = log_sech_products(own)
            # u -> row of the factor of the correlation matrix -> that matrix -> X.
            total += jnp.sum(before - 2 * log_cosh(jnp.square(own)), axis=-1)
            total += 2 * (n - 1 - i) * full
        return total

    def forward_shape(self, shape: Shape) -> Shape:
        n = _matrix_size(shape[-1])
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Shape) -> Shape:
        n = shape[-1]
        if shape[-2] != n or n < 2:
            raise ValueError(
                f"hermitian_spectraplex holds square matrices of size 2 or more, got shape {shape}"
            )
        return (*shape[:-2], n * n - 1)


def _matrix_size(length: int) -> int:
    n = math.isqrt(length + 1)
    if n < 2 or n * n - 1 != length:
        raise ValueError(
            f"a Hermitian spectraplex needs n^2 - 1 coordinates with n >= 2, got {length}"
        )
    return n


@biject_to.register(hermitian_spectraplex)
def _to_hermitian_spectraplex(constraint):
    return HermitianSpectraplexTransform()
