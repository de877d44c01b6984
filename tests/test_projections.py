"""Euclidean projections: the laws that define them, and an independent solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints as nc
from scipy.optimize import minimize

from mmfld_ppl import constraints, projections
from mmfld_ppl.constraints.by_type import ByType
from mmfld_ppl.projections import projection, register_projection


class Case(NamedTuple):
    constraint: nc.Constraint
    shape: tuple[int, ...]
    feasible: Callable
    """(NumPy generator, count) -> points of the closure of the support."""


def _psd(rng, count, n=3):
    G = rng.normal(size=(count, n, rng.integers(1, n + 1)))
    return G @ G.swapaxes(-1, -2)


def _unit_trace(rng, count):
    x = _psd(rng, count)
    return x / np.trace(x, axis1=-2, axis2=-1)[:, None, None]


def _in_ball(rng, count):
    g = rng.normal(size=(count, 4))
    radii = 1.5 * rng.choice([0.3, 1.0], size=(count, 1))
    return radii * g / np.linalg.norm(g, axis=-1, keepdims=True)


NORMAL = np.array([1.0, -2.0, 0.5])


def _below_plane(rng, count):
    x = 3 * rng.normal(size=(count, 3))
    excess = np.maximum(x @ NORMAL - 0.7, 0)
    return x - (excess * rng.choice([1.0, 2.0], size=count) / (NORMAL @ NORMAL))[:, None] * NORMAL


LOW = np.array([-1.0, 0.0, 2.0])
CASES = {
    "real": Case(nc.real, (), lambda rng, n: rng.normal(size=n)),
    "real_vector": Case(nc.real_vector, (3,), lambda rng, n: rng.normal(size=(n, 3))),
    "positive": Case(nc.positive, (), lambda rng, n: np.maximum(rng.normal(size=n), 0)),
    "greater_than": Case(
        nc.greater_than(1.5), (), lambda rng, n: 1.5 + np.maximum(rng.normal(size=n), 0)
    ),
    "less_than_eq": Case(
        nc.less_than_eq(-0.5), (), lambda rng, n: -0.5 - np.maximum(rng.normal(size=n), 0)
    ),
    "unit_interval": Case(nc.unit_interval, (), lambda rng, n: rng.uniform(size=n)),
    "box": Case(
        constraints.box(LOW, LOW + 1.0), (3,), lambda rng, n: LOW + rng.uniform(size=(n, 3))
    ),
    "zero_sum": Case(
        nc.zero_sum(1),
        (4,),
        lambda rng, n: (lambda x: x - x.mean(-1, keepdims=True))(rng.normal(size=(n, 4))),
    ),
    "simplex": Case(nc.simplex, (4,), lambda rng, n: rng.dirichlet(np.full(4, 0.3), n)),
    "ball": Case(constraints.ball(1.5), (4,), _in_ball),
    "halfspace": Case(constraints.halfspace(NORMAL, 0.7), (3,), _below_plane),
    "positive_definite": Case(nc.positive_definite, (3, 3), _psd),
    "positive_semidefinite": Case(nc.positive_semidefinite, (3, 3), _psd),
    "spectraplex": Case(constraints.spectraplex, (3, 3), _unit_trace),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def _points(case, rng, count, dtype):
    """Inside, nearby and far away."""
    scale = rng.choice([0.1, 1.0, 30.0], size=(count, *(1,) * len(case.shape)))
    return jnp.asarray(scale * rng.normal(size=(count, *case.shape)), dtype)


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 2e-5), (jnp.float64, 1e-13)])
def test_laws_of_a_projection(case, dtype, tolerance, x64):
    """Idempotent, the identity on the support, and <x - Px, z - Px> <= 0 for z in the support.

    The last one characterises the projection onto a closed convex set."""
    rng = np.random.default_rng(0)
    constraint = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), case.constraint)
    project = jax.jit(jax.vmap(projection(constraint, case.shape)))
    x = _points(case, rng, 60, dtype)
    p = project(x)
    assert p.shape == x.shape and p.dtype == dtype
    size = 1 + float(jnp.abs(x).max())
    np.testing.assert_allclose(project(p), p, atol=tolerance * size)
    z = jnp.asarray(case.feasible(rng, 80), dtype)
    np.testing.assert_allclose(project(z), z, atol=tolerance * (1 + float(jnp.abs(z).max())))
    residual = np.asarray(x - p, np.float64).reshape(60, -1)
    towards = np.asarray(z)[None].astype(np.float64) - np.asarray(p, np.float64)[:, None]
    products = np.einsum("ni,nmi->nm", residual, towards.reshape(60, 80, -1))
    if constraint.event_dim == 2:
        # Only the symmetric part of x is projected; the rest is orthogonal to the set.
        assert np.allclose(p, np.swapaxes(p, -1, -2), atol=tolerance * size)
    assert products.max() <= tolerance * size**2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_images_are_in_the_closure(dtype, x64):
    x = jnp.asarray(10 * np.random.default_rng(1).normal(size=(100, 5)), dtype)
    p = projection(nc.simplex, (5,))(x)
    eps = float(jnp.finfo(dtype).eps)
    assert np.all(p >= 0) and np.allclose(p.sum(-1), 1, atol=8 * eps)
    assert np.all(jnp.linalg.norm(projection(constraints.ball(), (5,))(x), axis=-1) <= 1 + 4 * eps)
    plane = constraints.halfspace(jnp.ones(5, dtype), jnp.asarray(0.3, dtype))
    assert np.all(projection(plane, (5,))(x).sum(-1) <= 0.3 + 200 * eps)


def _solve(x, constraint, start, bounds=None):
    result = minimize(
        lambda z: 0.5 * np.sum((z - x) ** 2),
        start,
        jac=lambda z: z - x,
        method="SLSQP",
        bounds=bounds,
        constraints=constraint,
        options={"ftol": 1e-12, "maxiter": 500},
    )
    # 8: no descent left along the search direction, that is, converged as far as rounding allows.
    assert result.status in (0, 8), result.message
    return result.x


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(3))
def test_against_a_convex_solver(seed):
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=4)
    total = {"type": "eq", "fun": lambda z: z.sum() - 1, "jac": lambda z: np.ones(4)}
    expected = _solve(x, total, np.full(4, 0.25), bounds=[(0, None)] * 4)
    np.testing.assert_allclose(projection(nc.simplex, (4,))(x), expected, atol=1e-6)

    inside = {"type": "ineq", "fun": lambda z: 1 - z @ z, "jac": lambda z: -2 * z}
    expected = _solve(x, inside, np.full(4, 0.1))
    np.testing.assert_allclose(projection(constraints.ball(), (4,))(x), expected, atol=1e-6)

    half = {"type": "ineq", "fun": lambda z: -1 - z.sum(), "jac": lambda z: -np.ones(4)}
    plane = constraints.halfspace(np.ones(4), -1.0)
    np.testing.assert_allclose(projection(plane, (4,))(x), _solve(x, half, -np.ones(4)), atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", range(3))
def test_spectraplex_against_a_convex_solver(seed):
    """Over X = F F^T with |F| = 1: for square F, local minima are global."""
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(3, 3))
    M = G + G.T

    def cost(f):
        F = f.reshape(3, 3)
        R = F @ F.T - M
        return 0.5 * np.sum(R**2), (2 * R @ F).ravel()

    unit = {"type": "eq", "fun": lambda f: f @ f - 1, "jac": lambda f: 2 * f}
    best = minimize(
        cost,
        rng.normal(size=9),
        jac=True,
        method="SLSQP",
        constraints=unit,
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    F = best.x.reshape(3, 3)
    np.testing.assert_allclose(projection(constraints.spectraplex, (3, 3))(M), F @ F.T, atol=1e-5)


def test_batched_parameters_broadcast():
    x = 5 * np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    radii = np.array([0.5, 2.0], np.float32)
    p = projection(constraints.ball(radii), (3,))(x)
    for i, r in enumerate(radii):
        np.testing.assert_allclose(p[:, i], projection(constraints.ball(r), (3,))(x[:, i]))
    normals = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    p = projection(constraints.halfspace(normals, radii), (3,))(x)
    for i, r in enumerate(radii):
        single = projection(constraints.halfspace(normals[i], r), (3,))
        np.testing.assert_allclose(p[:, i], single(x[:, i]), rtol=1e-5, atol=1e-6)
    p = projection(nc.interval(LOW, 5.0), (3,))(x)
    np.testing.assert_array_equal(p, np.clip(x, LOW.astype(np.float32), 5.0))


def test_ball_at_its_centre_and_points_of_ties():
    assert np.all(projection(constraints.ball(), (3,))(jnp.zeros(3)) == 0)
    slope = jax.jacobian(projection(constraints.ball(), (3,)))(jnp.full(3, 0.1))
    np.testing.assert_allclose(slope, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(
        projection(nc.simplex, (3,))(jnp.full(3, 1e6)), np.full(3, 1 / 3), rtol=1e-6
    )


def test_unsupported_constraints_say_what_is_supported():
    with pytest.raises(ValueError, match="supported: .*Simplex.*register_projection"):
        projection(nc.corr_cholesky, (3, 3))
    with pytest.raises(ValueError, match="not a convex set"):
        projection(nc.circular)
    with pytest.raises(ValueError, match="events of 1 axes"):
        projection(nc.simplex, ())
    with pytest.raises(TypeError, match="type\\(constraints.simplex\\)"):
        register_projection(nc.simplex)


def test_registration_by_the_most_specific_class(monkeypatch):
    monkeypatch.setattr(projections, "_factories", ByType(projections._factories))

    class _Slab(type(nc.unit_interval)):
        pass

    assert projection(_Slab())(2.0) == 1.0

    @register_projection(_Slab)
    def _slab(constraint, shape):
        return lambda x: 0.5

    assert projection(_Slab())(2.0) == 0.5
    assert projection(nc.unit_interval)(2.0) == 1.0
