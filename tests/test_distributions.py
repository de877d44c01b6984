"""Uniform laws: volumes, moments, shapes, NumPyro's conventions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.distributions.batch_util import promote_batch_shape

from mmfld_ppl.distributions import (
    UniformBall,
    UniformBox,
    UniformHermitianSpectraplex,
    UniformPolytope,
    UniformSpectraplex,
    hit_and_run,
)

TRIANGLE = (np.array([[-1.0, 0.0], [0.0, -1.0], [3.0, 1.0]]), np.array([0.0, 0.0, 3.0]))
TABLE = {
    "ball": lambda: UniformBall(3, 2.0, validate_args=True),
    "ball_batch": lambda: UniformBall(3, jnp.array([1.0, 2.0]), validate_args=True),
    "spectraplex": lambda: UniformSpectraplex(3, validate_args=True),
    "hermitian": lambda: UniformHermitianSpectraplex(3, validate_args=True),
    "polytope": lambda: UniformPolytope(*TRIANGLE, num_steps=20, validate_args=True),
    "polytope_batch": lambda: UniformPolytope(
        TRIANGLE[0], TRIANGLE[1] * [[1.0], [2.0]], num_steps=20, validate_args=True
    ),
    "box": lambda: UniformBox([0.0, -1.0], 2.0, validate_args=True),
}


def z_scores(draws, mean):
    """Of independent draws along the first axis against an exact mean."""
    draws = np.asarray(draws, np.float64)
    return (draws.mean(0) - mean) / (draws.std(0) / np.sqrt(len(draws)))


@pytest.fixture(params=TABLE)
def law(request) -> dist.Distribution:
    return TABLE[request.param]()


draw = jax.jit(lambda law, key, shape: law.sample(key, shape), static_argnums=2)


def test_shapes_support_and_density(law):
    """The law goes through jit as a pytree."""
    x = draw(law, random.key(0), (50, 4))
    assert x.shape == (50, 4, *law.batch_shape, *law.event_shape) == law.shape((50, 4))
    assert np.all(law.support(x))
    assert law.support.event_dim == law.event_dim
    log_prob = law.log_prob(x)
    assert log_prob.shape == (50, 4, *law.batch_shape)
    assert log_prob.dtype == x.dtype
    assert np.all(np.ptp(log_prob, axis=(0, 1)) == 0)
    leaves, structure = jax.tree.flatten(law)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(draw(again, random.key(0), (50, 4)), x)


@pytest.mark.parametrize("name", ["ball", "polytope"])
def test_keys_of_both_kinds(name):
    law = TABLE[name]()
    typed, legacy = draw(law, random.key(3), (2,)), draw(law, random.PRNGKey(3), (2,))
    np.testing.assert_array_equal(typed, legacy)


@pytest.mark.parametrize("name", ["ball_batch", "spectraplex", "polytope_batch", "box"])
def test_expand_and_plate(name):
    law = TABLE[name]()
    wide = law.expand((5, *law.batch_shape))
    x = draw(wide, random.key(1), ())
    assert x.shape == wide.shape()
    assert wide.log_prob(x).shape == wide.batch_shape
    assert len(np.unique(np.asarray(x).reshape(5, -1)[:, 0])) == 5

    @jax.jit
    def model(key):
        with numpyro.handlers.seed(rng_seed=key):
            with numpyro.plate("outer", 5, dim=-2), numpyro.plate("inner", 2, dim=-1):
                return numpyro.sample("x", law)

    assert model(random.key(0)).shape == (5, 2, *law.event_shape)


def test_validation_rejects_values_outside(law):
    far = jnp.full(law.shape(), 100.0)
    inside = law.support.feasible_like(far)
    assert np.all(np.isfinite(law.log_prob(inside)))
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert np.all(law.log_prob(far) == -jnp.inf)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_follows_the_parameters(dtype, x64):
    radius = jnp.ones(2, dtype)
    assert UniformBall(2, radius).sample(random.key(0)).dtype == dtype
    assert UniformBall(2, radius).log_prob(jnp.zeros(2, dtype)).dtype == dtype
    polytope = UniformPolytope(*(jnp.asarray(x, dtype) for x in TRIANGLE))
    assert polytope.sample(random.key(0)).dtype == dtype


# Ball ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d, volume", [(1, 2.0), (2, np.pi), (3, 4 / 3 * np.pi), (4, np.pi**2 / 2)])
def test_ball_volume(d, volume):
    density = UniformBall(d, 1.5).log_prob(jnp.zeros(d))
    np.testing.assert_allclose(density, -np.log(volume * 1.5**d), rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_ball_radial_law_and_moments(d):
    law = UniformBall(d, 2.0)
    x = np.asarray(draw(law, random.key(0), (20_000,)), np.float64)
    level = (np.linalg.norm(x, axis=-1) / 2) ** d
    # (|x|/r)^d is uniform: its first three moments.
    powers = np.stack([level, level**2, level**3], axis=-1)
    assert np.all(np.abs(z_scores(powers, [1 / 2, 1 / 3, 1 / 4])) < 4.5)
    outer = np.einsum("ni,nj->nij", x, x)
    assert np.all(np.abs(z_scores(outer, np.diag(law.variance))) < 4.5)
    assert np.all(np.abs(z_scores(x, law.mean)) < 4.5)


@pytest.mark.parametrize("d", [1, 2, 100])
def test_ball_draws_are_interior_in_single_precision(d):
    law = UniformBall(d, 0.7)
    assert np.all(law.support(law.sample(random.key(1), (200_000 // d,))))


def test_ball_is_reparametrised():
    slope = jax.grad(lambda r: UniformBall(3, r).rsample(random.key(0)).sum())(2.0)
    np.testing.assert_allclose(slope, UniformBall(3).sample(random.key(0)).sum(), rtol=1e-5)


def test_ball_vmapped_over_the_radius():
    radii = jnp.array([0.5, 1.0, 4.0])
    x = jnp.full((3, 2), 0.1)
    inside = jax.vmap(lambda r, x: UniformBall(2, r).log_prob(x))(radii, x)
    np.testing.assert_allclose(inside, UniformBall(2, radii).log_prob(x), rtol=1e-6)
    law = promote_batch_shape(jax.vmap(lambda r: UniformBall(2, r))(radii))
    assert law.batch_shape == (3,)
    np.testing.assert_allclose(law.log_prob(x), inside, rtol=1e-6)
    assert law.sample(random.key(0), (5,)).shape == (5, 3, 2)


# Spectraplex ---------------------------------------------------------------------------------


def test_spectraplex_volume_2_is_the_disk():
    x = UniformSpectraplex(2).mean
    np.testing.assert_allclose(UniformSpectraplex(2).log_prob(x), -np.log(np.pi / 4), rtol=1e-6)


def test_spectraplex_volume_3_by_rejection():
    """In the box x_11, x_22 in (0, 1), off-diagonal entries in (-1/2, 1/2), of volume 1."""
    rng = np.random.default_rng(0)
    n = 200_000
    x = np.zeros((n, 3, 3))
    x[:, 0, 0], x[:, 1, 1] = rng.uniform(size=(2, n))
    x[:, 2, 2] = 1 - x[:, 0, 0] - x[:, 1, 1]
    for i, j in ((1, 0), (2, 0), (2, 1)):
        x[:, i, j] = x[:, j, i] = rng.uniform(-0.5, 0.5, n)
    inside = np.linalg.eigvalsh(x)[:, 0] > 0
    volume = np.exp(-float(UniformSpectraplex(3).log_prob(jnp.eye(3) / 3)))
    error = np.sqrt(volume * (1 - volume) / n)
    assert abs(inside.mean() - volume) < 4.5 * error
    # The draws have the same moments as those points.
    draws = np.asarray(UniformSpectraplex(3).sample(random.key(0), (20_000,)))
    for power in (2, 4):
        a, b = x[inside] ** power, draws**power
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        assert np.all(np.abs(a.mean(0) - b.mean(0)) < 4.5 * error)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("of_size", [UniformSpectraplex, UniformHermitianSpectraplex])
def test_spectraplex_moments(of_size, n):
    law = of_size(n)
    x = np.asarray(draw(law, random.key(0), (20_000,)), np.float64)
    assert np.all(np.abs(z_scores(x, law.mean)) < 4.5)
    second = np.asarray(law.variance + jnp.square(law.mean))
    assert np.all(np.abs(z_scores(x**2, second)) < 4.5)


# Polytope ------------------------------------------------------------------------------------


def simplex_from_vertices(vertices):
    """A, b, C, c of the hull of k + 1 points in R^d, from barycentric coordinates."""
    V = np.asarray(vertices, np.float64).T
    d, count = V.shape
    lifted = np.vstack([V, np.ones(count)])
    barycentric = np.linalg.pinv(lifted)
    null = np.linalg.svd(lifted)[0][:, count:].T
    return -barycentric[:, :d], barycentric[:, d], null[:, :d], -null[:, d]


VERTICES = np.array([[0.0, 0, 0, 0], [5, 0, 1, 0], [0, 1, 0, 2], [-1, 3, 0.5, 1]])


@pytest.mark.parametrize("num_steps", [None, 3])
def test_polytope_draws_are_uniform_on_a_slanted_simplex(num_steps):
    """Mean and covariance of a simplex from its vertices. Three steps from the centre are too
    few, and the same test must see that."""
    k = len(VERTICES) - 1
    law = UniformPolytope(*simplex_from_vertices(VERTICES), num_steps=num_steps)
    assert law.support.basis.shape == (4, k)
    x = np.asarray(draw(law, random.key(0), (20_000,)), np.float64)
    mean = VERTICES.mean(axis=0)
    centred = VERTICES - mean
    covariance = centred.T @ centred / ((k + 1) * (k + 2))
    outer = np.einsum("ni,nj->nij", x - mean, x - mean)
    worst = max(
        np.abs(z_scores(x, mean)).max(),
        np.abs(z_scores(outer, covariance)).max(),
    )
    assert worst < 4.5 if num_steps is None else worst > 20


def test_hit_and_run_is_exact_in_one_step_on_an_interval():
    rows, limits = jnp.array([[1.0], [-1.0]]), jnp.array([3.0, 1.0])
    draws = jax.vmap(lambda key: hit_and_run(key, rows, limits, 1))(
        random.split(random.key(0), 20_000)
    )
    assert np.all((draws > -1) & (draws < 3))
    assert np.all(np.abs(z_scores(draws, 1.0)) < 4.5)
    assert np.all(np.abs(z_scores((draws - 1) ** 2, 16 / 12)) < 4.5)


def test_polytope_batch_draws_from_its_own_polytope():
    law = UniformPolytope(TRIANGLE[0], TRIANGLE[1] * np.array([[1.0], [10.0]]))
    x = np.asarray(law.sample(random.key(0), (4000,)), np.float64)
    centroid = np.array([1 / 3, 1.0])
    assert np.all(np.abs(z_scores(x, centroid * [[1.0], [10.0]])) < 4.5)


def test_polytope_built_in_a_traced_model():
    A, b = (jnp.asarray(x) for x in TRIANGLE)
    x = jax.jit(lambda key: UniformPolytope(A, b).sample(key))(random.key(0))
    assert UniformPolytope(A, b).support(x)


# Arguments -----------------------------------------------------------------------------------


def test_bad_arguments():
    with pytest.raises(ValueError, match="integer dimension"):
        UniformBall(0)
    with pytest.raises(ValueError, match="integer dimension"):
        UniformBall(2.0)
    with pytest.raises(ValueError, match="invalid radius"):
        UniformBall(2, -1.0, validate_args=True)
    for law in (UniformSpectraplex, UniformHermitianSpectraplex):
        with pytest.raises(ValueError, match=f"{law.__name__} needs an integer n of at least 2"):
            law(1)
        assert law(np.int64(3)).event_shape == (3, 3)
    with pytest.raises(ValueError, match="num_steps"):
        UniformPolytope(*TRIANGLE, num_steps=0)
    with pytest.raises(ValueError, match="two scalars"):
        UniformBox(0.0, 1.0)
    with pytest.raises(ValueError, match="low < high"):
        UniformBox([0.0, 2.0], 1.0)
