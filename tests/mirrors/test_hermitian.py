"""The Hermitian spectraplex against complex algebra and, at n = 2, the Bloch ball."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to

from mmfld_ppl.constraints.hermitian import hermitian_spectraplex, to_complex, to_real
from mmfld_ppl.distributions import UniformHermitianSpectraplex
from mmfld_ppl.mirrors import mirror_map
from mmfld_ppl.mirrors.hermitian import HermitianSpectraplex

MAP = HermitianSpectraplex()


def matrices(n: int, count: int = 6) -> np.ndarray:
    """Complex density matrices, some of them nearly singular."""
    rng = np.random.default_rng(n)
    G = rng.normal(size=(count, n, n)) + 1j * rng.normal(size=(count, n, n))
    W = G * np.arange(1.0, n + 1) ** 2 @ np.conj(np.swapaxes(G, 1, 2))
    return W / np.trace(W, axis1=1, axis2=2).real[:, None, None]


def tangents(n: int) -> np.ndarray:
    """An orthonormal basis of the matrices M of trace zero, as rows."""
    flat = np.eye(n).reshape(1, -1) / np.sqrt(n)
    return np.linalg.svd(flat)[2][1:]


@pytest.mark.parametrize("n", [2, 3])
def test_packing_is_an_isometry(x64, n):
    X = matrices(n)
    M = to_real(jnp.asarray(X))
    np.testing.assert_allclose(to_complex(M), X, rtol=1e-14, atol=1e-16)
    expected = np.einsum("aij,bji->ab", X, X).real
    np.testing.assert_allclose(np.einsum("aij,bij->ab", M, M), expected, rtol=1e-12)


def test_the_map_of_the_support_is_the_log_determinant(x64):
    assert isinstance(mirror_map(hermitian_spectraplex, (3, 3)), HermitianSpectraplex)
    X = matrices(3)
    values = jax.vmap(MAP.potential)(to_real(jnp.asarray(X)))
    np.testing.assert_allclose(values, -np.log(np.linalg.det(X).real), rtol=1e-10)


def laws(n: int):
    """At each point: closed forms, and what automatic differentiation of the potential gives."""
    T = jnp.asarray(tangents(n))

    def at(x, v):
        flat, unravel = ravel_pytree(x)
        potential = lambda t: MAP.potential(unravel(flat + t @ T))  # noqa: E731
        zero = jnp.zeros(len(T))
        hessian = jax.hessian(potential)(zero)
        metric = MAP.metric(x)
        y = MAP.grad(x)
        root = jax.vmap(lambda e: T @ metric.sqrt(unravel(e)).reshape(-1))(jnp.eye(flat.size))
        return {
            "slope": (T @ y.reshape(-1), jax.grad(potential)(zero)),
            "inverse": (MAP.conjugate_grad(y + v[0, 0] * jnp.eye(n), x), x),
            "hessian": (
                jax.vmap(lambda u: T @ metric.apply(unravel(u)).reshape(-1))(T),
                hessian,
            ),
            "root": (root.T @ root, hessian),
            "solve": (
                T @ metric.solve(v).reshape(-1),
                jnp.linalg.solve(hessian, T @ v.reshape(-1)),
            ),
            "norm": (
                metric.inverse_norm_sq(v),
                (T @ v.reshape(-1)) @ jnp.linalg.solve(hessian, T @ v.reshape(-1)),
            ),
            "determinant": (metric.log_det(), jnp.linalg.slogdet(hessian)[1]),
        }

    return jax.jit(jax.vmap(at))


def test_closed_forms_are_derivatives_of_the_potential(x64):
    n = 3
    X = to_real(jnp.asarray(matrices(n)))
    v = jax.random.normal(jax.random.key(0), X.shape)
    for name, (ours, expected) in laws(n)(X, v).items():
        if name == "determinant":  # up to a constant
            ours, expected = ours - ours[0], expected - expected[0]
        scale = np.max(np.abs(expected), axis=tuple(range(1, expected.ndim)), keepdims=True)
        np.testing.assert_allclose(ours / scale, expected / scale, atol=2e-8, err_msg=name)


def test_the_bijection_and_its_jacobian(x64):
    n = 3
    transform = biject_to(hermitian_spectraplex)
    z = jax.random.normal(jax.random.key(1), (5, n * n - 1))
    M = transform(z)
    assert np.all(hermitian_spectraplex(M))
    np.testing.assert_allclose(transform._inverse(M), z, rtol=1e-8, atol=1e-9)
    rows, columns = np.tril_indices(n, -1)

    def coordinates(z):
        X = to_complex(transform(z))
        low = X[rows, columns]
        return jnp.concatenate([jnp.real(jnp.diagonal(X))[:-1], jnp.real(low), jnp.imag(low)])

    jacobian = jax.jit(jax.vmap(jax.jacfwd(coordinates)))(z)
    expected = jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(transform.log_abs_det_jacobian(z, M), expected, rtol=1e-9)


def test_two_by_two_is_the_bloch_ball():
    """X = (I + <r, Pauli>) / 2 with r uniform in the unit ball of R^3."""
    law = UniformHermitianSpectraplex(2)
    X = np.asarray(to_complex(law.sample(jax.random.key(2), (20_000,))))
    r = np.stack([2 * X[:, 1, 0].real, 2 * X[:, 1, 0].imag, (X[:, 0, 0] - X[:, 1, 1]).real], -1)
    cubes = np.sort(np.linalg.norm(r, axis=1) ** 3)  # uniform on [0, 1]
    steps = np.arange(1, len(cubes) + 1) / len(cubes)
    assert np.max(np.abs(cubes - steps)) * np.sqrt(len(cubes)) < 1.95  # Kolmogorov, 1 in 1000
    z = r.mean(axis=0) / (r.std(axis=0) / np.sqrt(len(r)))
    assert np.all(np.abs(z) < 4.5)
    # Volume: coordinates X_11, Re X_21, Im X_21 are r / 2, so that it is (4 pi / 3) / 8.
    value = law.log_prob(law.mean)
    np.testing.assert_allclose(value, -np.log(np.pi / 6), rtol=1e-5)


def test_misuse_is_explained():
    with pytest.raises(ValueError, match="integer n of at least 2"):
        UniformHermitianSpectraplex(1)
    with pytest.raises(ValueError, match="n\\^2 - 1 coordinates"):
        biject_to(hermitian_spectraplex)(jnp.zeros(4))
