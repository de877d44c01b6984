"""Constants at a point, against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl import mirrors
from mmfld_ppl.constraints import polytope
from mmfld_ppl.mirrors import constants
from mmfld_ppl.mirrors.constants import self_concordance_ratio

map_constants = jax.jit(constants.map_constants, static_argnames="directions")

KEY = jax.random.key(0)

MAPS = {
    "interval": (lambda: mirrors.Interval.between(-1.0, 2.0, jnp.float64), jnp.array(1.3)),
    "ball": (lambda: mirrors.Ball(jnp.array(2.0)), jnp.array([0.3, -0.9, 1.1])),
    "simplex": (
        lambda: mirrors.Simplex(jnp.array([1.0, 2.0, 4.0])),
        jnp.array([0.1, 0.7, 0.2]),
    ),
    "entropy": (lambda: mirrors.EntropySimplex(), jnp.array([0.1, 0.7, 0.2])),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_of_curvature_one_beside_itself(name):
    build, x = MAPS[name]
    mirror, x = build(), jnp.asarray(np.asarray(x), jnp.float64)
    found = jax.jit(
        lambda x: constants.relative_constants(mirror, lambda z: 3 * mirror.potential(z), x)
    )(x)
    np.testing.assert_allclose(found.curvature, 3, rtol=1e-9)
    length = jnp.sqrt(mirror.metric(x).inverse_norm_sq(mirror.grad(x)))
    np.testing.assert_allclose(found.slope, 3 * length, rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_constants_of_an_ellipse_are_on_its_tangent_space():
    """-sum log x_i on the simplex: D^2 phi = diag(1/x^2), on vectors of zero sum."""
    x = np.array([0.15, 0.6, 0.25])
    basis = np.linalg.svd(np.ones((1, 3)))[2][1:]
    exact = np.linalg.eigvalsh(basis @ np.diag(1 / x**2) @ basis.T)[0]
    mirror = mirrors.Simplex.of_size(3, jnp.float64)
    found = map_constants(mirror, jnp.asarray(x), KEY, directions=2000)
    np.testing.assert_allclose(found.convexity, exact, rtol=1e-9)
    # The greatest of sum v_i^3 over unit vectors v with sum x_i v_i = 0, from a fine circle.
    turn = np.linspace(0, 2 * np.pi, 20_001)
    frame = np.linalg.svd(x[None])[2][1:]
    v = np.stack([np.cos(turn), np.sin(turn)], axis=1) @ frame
    np.testing.assert_allclose(found.concordance, np.abs((v**3).sum(axis=1)).max(), rtol=1e-3)


@pytest.mark.usefixtures("x64")
def test_the_ratio_does_not_depend_on_the_length():
    mirror, x = mirrors.HalfLine.above(0.0, jnp.float64), jnp.array(0.4)
    u = 1 / 0.4
    exact = (2 * u**3) / (2 * (u**2 + 1) ** 1.5)
    for length in (1e-3, -7.0):
        found = self_concordance_ratio(mirror, x, jnp.array(length))
        np.testing.assert_allclose(found, exact, rtol=1e-10)


def test_a_weight_divides():
    """M / sqrt(w), and w times the convexity; in single precision too."""
    ball, x = mirrors.Ball(jnp.ones(())), jnp.array([0.2, 0.5])
    one, four = (map_constants(m, x, KEY) for m in (ball, mirrors.Weighted(ball, jnp.array(4.0))))
    np.testing.assert_allclose(four.concordance, one.concordance / 2, rtol=1e-4)
    np.testing.assert_allclose(four.convexity, 4 * one.convexity, rtol=1e-4)
    assert four.convexity.dtype == jnp.float32


@pytest.mark.usefixtures("x64")
def test_no_boundary_no_way_to_it():
    found = map_constants(mirrors.Euclidean(), jnp.array(3.0), KEY)
    assert found.concordance == 0 and found.convexity == 1


@pytest.mark.usefixtures("x64")
def test_equal_eigenvalues_are_matrices_like_others():
    """Those of matrices nearby, all of whose eigenvalues differ."""
    mirror = mirrors.PositiveDefinite.with_unit_scale(jnp.float64)
    at, near = (
        map_constants(mirror, jnp.diag(jnp.array(d)), KEY)
        for d in ([1.0, 1.0, 2.0], [1.0, 1.0 + 1e-5, 2.0])
    )
    np.testing.assert_allclose(at.concordance, near.concordance, rtol=1e-3)
    np.testing.assert_allclose(at.convexity, near.convexity, rtol=1e-3)


def test_the_centre_of_a_ball():
    """Every direction is as good as another there, and phi is even."""
    mirror, centre = mirrors.Ball(jnp.array(2.0)), jnp.zeros(3)
    found = map_constants(mirror, centre, KEY)
    np.testing.assert_allclose((found.concordance, found.convexity), (0, 0.5), atol=1e-6)
    np.testing.assert_array_equal(jax.grad(mirror.slack)(centre), 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_middle_of_a_simplex(dtype):
    """All of the boundary is as near, also where rounding leaves a direction to it."""
    for d in range(2, 12):
        mirror = mirrors.Simplex.of_size(d, dtype)
        middle = jnp.full((1, d), 1 / d, dtype)
        found = jax.jit(jax.vmap(lambda x, m=mirror: constants.map_constants(m, x, KEY)))(middle)
        # The greatest of sum v_i^3 over unit vectors of zero sum has one entry apart.
        greatest = (d - 2) / np.sqrt(d * (d - 1))
        assert found.concordance[0] <= greatest + 1e-4
        np.testing.assert_allclose(found.convexity, d**2, rtol=1e-4)


def test_a_facet_that_lies_along_no_axis():
    """Close to it the way there is seen in single precision, too: -log of the distance has the
    constant one."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    cube = np.concatenate([turn, -turn]).astype(np.float32)
    mirror = mirrors.mirror_map(polytope(cube, np.ones(16, np.float32)), (8,), jnp.float32)
    for distance in (1e-2, 1e-3, 1e-4):
        x = jnp.asarray((1 - distance) * turn[0], jnp.float32)
        np.testing.assert_allclose(map_constants(mirror, x, KEY).concordance, 1, rtol=0.01)


class Blunt(mirrors.Ball):
    """With the norm as it is written most often."""

    def slack(self, x):
        return self.radius - jnp.linalg.norm(x)


def test_what_is_not_known_is_no_number():
    assert jnp.isnan(map_constants(Blunt(jnp.array(2.0)), jnp.zeros(3), KEY).concordance)
    assert jnp.isnan(map_constants(mirrors.VonNeumannPSD(), jnp.eye(3), KEY).concordance)
