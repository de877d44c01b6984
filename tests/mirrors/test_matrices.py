"""Closed forms of matrices on affine sets against the default ways, in sizes beyond the table's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.constraints.hermitian import to_complex, to_real
from mmfld_ppl.mirrors import (
    CorrelationMatrix,
    HermitianSpectraplex,
    MirrorMap,
    PositiveDefinite,
    Spectraplex,
)
from mmfld_ppl.mirrors.log_det_step import slice_step
from mmfld_ppl.mirrors.spectral import from_eigen

SIZE = 6
MAPS = {
    "correlations": CorrelationMatrix(),
    "trace one": Spectraplex(),
    "Hermitian, trace one": HermitianSpectraplex(),
}


def complex_matrix(seed: int) -> np.ndarray:
    """Positive definite, with unequal scales."""
    normal = np.random.default_rng(seed).normal(size=(2, SIZE, SIZE + 3))
    a = np.geomspace(0.2, 2, SIZE)[:, None] * (normal[0] + 1j * normal[1])
    return a @ a.conj().T


def point_of(mirror: MirrorMap, seed: int = 0) -> jax.Array:
    X = complex_matrix(seed)
    x = to_real(jnp.asarray(X)) if isinstance(mirror, HermitianSpectraplex) else jnp.asarray(X.real)
    return mirror.restore(x)


@pytest.fixture(params=MAPS)
def mirror(request) -> MirrorMap:
    return MAPS[request.param]


def test_local_variances_are_those_of_a_solve_for_each_entry(mirror, x64) -> None:
    for seed in range(3):
        x = point_of(mirror, seed)
        seen, default = mirror.observe(x), MirrorMap.observe(mirror, x)
        np.testing.assert_array_equal(seen.coordinates, default.coordinates)
        size = jnp.max(default.local_variance)
        np.testing.assert_allclose(seen.local_variance, default.local_variance, atol=1e-11 * size)


def test_entries_that_cannot_move_have_no_variance() -> None:
    mirror = CorrelationMatrix()
    x = point_of(mirror).astype(jnp.float32)
    np.testing.assert_array_equal(jnp.diagonal(mirror.observe(x).local_variance), 0)


@pytest.mark.parametrize("length", [0.1, 1.0])
def test_steps_are_those_of_newton_in_all_entries(mirror, length, x64) -> None:
    x = point_of(mirror)
    noise = jnp.asarray(np.random.default_rng(1).normal(size=x.shape))
    p = length * mirror.metric(x).sqrt(noise)
    moved, pushed = mirror.symmetric_step(x, p)
    expected, expected_push = MirrorMap.symmetric_step(mirror, x, p)
    np.testing.assert_allclose(moved, expected, atol=1e-9 * jnp.max(jnp.abs(expected)))
    # The momenta are members of one class.
    metric = mirror.metric(moved)
    along, expected_along = metric.solve(pushed), metric.solve(expected_push)
    np.testing.assert_allclose(along, expected_along, atol=1e-7 * jnp.max(jnp.abs(along)))


@pytest.mark.parametrize("blocks", [1, 2, 3, SIZE])
def test_traces_of_blocks_are_kept_and_steps_undone(blocks, x64) -> None:
    X = jnp.asarray(complex_matrix(0))
    noise = to_complex(jnp.asarray(np.random.default_rng(1).normal(size=X.shape)))
    inverse = jnp.linalg.inv(jnp.linalg.cholesky(X))
    p = inverse.conj().T @ noise @ inverse

    def traces(x):
        return jnp.sum(jnp.real(jnp.diagonal(x)).reshape(blocks, -1), 1)

    moved, pushed = slice_step(jnp.linalg.cholesky(X), p, blocks)
    assert jnp.max(jnp.abs(moved - X)) > 0.1
    np.testing.assert_allclose(traces(moved), traces(X), rtol=1e-9)
    back, _ = slice_step(jnp.linalg.cholesky(moved), -pushed, blocks)
    np.testing.assert_allclose(back, X, atol=1e-8 * jnp.max(jnp.abs(X)))


def test_the_slack_is_the_least_eigenvalue_under_every_map(x64) -> None:
    x = jnp.array([[1.0, 0.99, 0.5], [0.99, 1.0, 0.5], [0.5, 0.5, 1.0]])
    default = PositiveDefinite.with_unit_scale(float)
    for mirror in (default, default.stepping()):
        np.testing.assert_allclose(mirror.slack(x), np.linalg.eigvalsh(x)[0], rtol=1e-9)


def test_matrices_of_eigenvalues() -> None:
    """Batches, real and complex; symmetric to the last digit."""
    X = np.stack([complex_matrix(seed) for seed in range(4)])
    for x in (X, X.real):
        values, vectors = np.linalg.eigh(x)
        dtype = jnp.complex64 if np.iscomplexobj(x) else jnp.float32
        found = from_eigen(jnp.asarray(values, jnp.float32), jnp.asarray(vectors, dtype))
        np.testing.assert_allclose(found, x, atol=1e-5 * np.max(np.abs(x)))
        np.testing.assert_array_equal(found, found.mT.conj())
