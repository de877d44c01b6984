"""Supports and their bijections: one table, every law over the whole table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from numpyro.infer import MCMC, NUTS, Predictive

from mmfld_ppl import constraints, distributions
from mmfld_ppl.constraints import geometry

CUBE = np.r_[np.eye(3), -np.eye(3)]
#: The simplex in R^4 cut at x_4 <= 1/2, with a redundant inequality and a redundant equality.
A4 = np.r_[-np.eye(4), [[0.0, 0.0, 0.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]]]
B4 = np.r_[np.zeros(4), 0.5, 50.0]
C4 = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
c4 = np.array([1.0, 2.0])


class Case(NamedTuple):
    make: Callable[[], nc.Constraint]
    shape: tuple[int, ...]
    dimension: int
    coordinates: Callable
    """Event -> the coordinates that its density is with respect to."""
    outside: list
    """Points of which each breaks another condition."""


def _as_is(x):
    return x


def _lower_without_last(x):
    rows, columns = np.tril_indices(x.shape[-1])
    return x[rows[:-1], columns[:-1]]


def _in_hyperplane(x):
    return jnp.asarray(constraints.polytope(A4, B4, C4, c4).basis).T @ x


CASES = {
    "ball": Case(constraints.ball, (3,), 3, _as_is, [[1.0, 0, 0], [0.8, 0.8, 0]]),
    "ball_1d": Case(lambda: constraints.ball(0.3), (1,), 1, _as_is, [[0.31], [-0.3]]),
    "box": Case(
        lambda: constraints.box([0.0, -2.0], [1.0, 5.0]), (2,), 2, _as_is, [[0.5, 6], [-1, 0]]
    ),
    "halfspace": Case(
        lambda: constraints.halfspace([1.0, -2.0, 2.0], 3.0), (3,), 3, _as_is, [[0.0, 0, 2]]
    ),
    "halfspace_reflected": Case(
        lambda: constraints.halfspace([-2.0, 1.0], -3.0), (2,), 2, _as_is, [[0.0, 0.0]]
    ),
    "spectraplex_2": Case(
        lambda: constraints.spectraplex,
        (2, 2),
        2,
        _lower_without_last,
        [[[0.5, 0.6], [0.6, 0.5]], [[0.5, 0.1], [0.2, 0.5]], [[0.6, 0.0], [0.0, 0.6]]],
    ),
    "spectraplex_4": Case(
        lambda: constraints.spectraplex, (4, 4), 9, _lower_without_last, [np.eye(4)]
    ),
    "polytope": Case(
        lambda: constraints.polytope(np.r_[CUBE, [[1, 1, 1]]], np.r_[np.ones(3), np.zeros(3), 2]),
        (3,),
        3,
        _as_is,
        [[0.9, 0.9, 0.9], [0.5, 0.5, -0.1]],
    ),
    "polytope_with_equalities": Case(
        lambda: constraints.polytope(A4, B4, C4, c4),
        (4,),
        3,
        _in_hyperplane,
        [[0.3, 0.3, 0.3, 0.3], [0.0, 0.0, 0.0, 1.0]],
    ),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def test_feasible_value_is_inside(case):
    constraint = case.make()
    for prototype in (jnp.zeros(case.shape), jnp.zeros((5, *case.shape), jnp.float16)):
        x = constraint.feasible_like(prototype)
        assert x.shape == prototype.shape
        if prototype.dtype == jnp.float32:
            assert np.all(constraint(x))


@pytest.mark.parametrize("module", [np, jnp])
def test_points_outside_are_rejected(case, module):
    constraint = case.make()
    for point in case.outside:
        assert not constraint(module.asarray(point, module.float32))


def test_pytree_round_trip_and_equality(case):
    constraint = case.make()
    leaves, structure = jax.tree.flatten(constraint)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(constraint)
    assert again.eq(constraint)
    assert constraint.eq(case.make())
    assert not constraint.eq(nc.real)
    ranks = getattr(type(constraint), "parameter_event_dims", None)
    if ranks is not None:
        assert len(ranks) == len(leaves)
        assert all(rank == np.ndim(leaf) for rank, leaf in zip(ranks, leaves, strict=True))
    x = constraint.feasible_like(jnp.zeros(case.shape))
    assert jax.jit(lambda c, x: c(x))(constraint, x)


def test_repr_is_the_public_name():
    assert repr(constraints.ball(2.0)) == "ball(radius=2.0)"
    assert repr(constraints.spectraplex) == "spectraplex"
    assert repr(constraints.halfspace([1.0], 0.0)) == "halfspace(normal=[1.], offset=0.0)"
    cut_simplex = constraints.polytope(A4, B4, C4, c4)
    assert repr(cut_simplex) == "polytope(dimension 3 in R^4, 6 inequalities, 2 equalities)"
    cut_square = constraints.polytope(np.r_[np.eye(2), -np.eye(2), [[1, 1]]], [1, 1, 0, 0, 1.5])
    corners = np.array(json.loads(repr(cut_square)[len("polytope(corners=") : -1]))
    first = np.argmin(corners.sum(axis=1))
    expected = [[0, 0], [1, 0], [1, 0.5], [0.5, 1], [0, 1]]
    np.testing.assert_allclose(np.roll(corners, -first, axis=0), expected, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_bijection_inverse_and_determinant(case):
    constraint = case.make()
    transform = biject_to(constraint)
    scales = jnp.array([0.0, 0.01, 1.0, 2.5])[:, None]
    z = scales * jax.random.normal(jax.random.key(1), (4, case.dimension))
    assert transform.forward_shape(z.shape) == (4, *case.shape)
    assert transform.inverse_shape((4, *case.shape)) == z.shape

    @jax.jit
    @jax.vmap
    def at(z):
        x = transform(z)
        back = transform.inv(x)
        jacobian = jax.jacobian(lambda z: case.coordinates(transform(z)))(z)
        log_det, slope = jax.value_and_grad(transform.log_abs_det_jacobian)(z, x)
        return x, back, transform(back), log_det, jnp.linalg.slogdet(jacobian)[1], slope

    x, back, again, log_det, expected, slope = at(z)
    assert x.shape == (4, *case.shape)
    assert np.all(constraint(x))
    # Near the boundary the inverse is as ill-conditioned as the support; the image is not.
    np.testing.assert_allclose(back[:3], z[:3], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again, x, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_det, expected, rtol=1e-8, atol=1e-9)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_bijection_keeps_dtype_and_interior(case, dtype, x64):
    constraint = case.make()
    constraint = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), constraint)
    transform = biject_to(constraint)
    z = jax.random.normal(jax.random.key(2), (200, case.dimension), dtype)
    scales = jnp.array([[1.0], [3.0], [8.0]], dtype).repeat(200, 0)
    z = jnp.tile(z, (3, 1)) * scales
    x, log_det, inside = jax.jit(
        lambda z: (x := transform(z), transform.log_abs_det_jacobian(z, x), constraint(x))
    )(z)
    assert x.dtype == dtype and log_det.dtype == dtype
    assert log_det.shape == (600,)
    assert np.all(np.isfinite(log_det))
    # Far points of an unbounded support, and small eigenvalues, are known to rounding only.
    resolved = not isinstance(constraint, (constraints.halfspace, type(constraints.spectraplex)))
    assert np.all(inside if resolved else inside[:200])


@pytest.mark.usefixtures("x64")
def test_default_parameters_do_not_promote_single_precision():
    z = jnp.ones(3, jnp.float32)
    transform = biject_to(constraints.ball())
    assert transform(z).dtype == jnp.float32
    assert transform.inv(transform(z)).dtype == jnp.float32
    assert transform.log_abs_det_jacobian(z, z).dtype == jnp.float32


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "make, parameters, dimension",
    [
        (constraints.ball, (np.array([[1.0], [2.5]]),), 3),
        (
            constraints.halfspace,
            (np.array([[1.0, 2.0], [-3.0, 0.1]])[:, None], np.array([0.5, -2.0])[:, None]),
            2,
        ),
        (constraints.polytope, (CUBE, np.r_[np.ones(3), np.ones(3)] * [[[1.0]], [[4.0]]]), 3),
    ],
)
def test_batched_parameters_agree_with_a_loop(make, parameters, dimension):
    batched = make(*parameters)
    transform = biject_to(batched)
    assert transform.forward_shape((7, dimension)) == (2, 7, dimension)
    assert transform.inverse_shape((7, dimension)) == (2, 7, dimension)
    z = jax.random.normal(jax.random.key(3), (2, 7, dimension))
    evaluate = jax.jit(lambda t, z: (t(z), t.log_abs_det_jacobian(z, t(z)), t.inv(t(z))))
    x, log_det, back = evaluate(transform, z)
    assert np.all(batched(x)) and batched(x).shape == (2, 7)
    np.testing.assert_allclose(back, z, rtol=1e-9)
    for i in range(2):
        one = make(*(p[i, 0] if p.shape[0] == 2 and p.ndim > 1 else p for p in parameters))
        expected = evaluate(biject_to(one), z[i])
        np.testing.assert_allclose(x[i], expected[0], rtol=1e-12)
        np.testing.assert_allclose(log_det[i], expected[1], rtol=1e-12)


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="positive, finite radius"):
        constraints.ball(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="low < high"):
        constraints.box([0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="non-zero normal"):
        constraints.halfspace([0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="scalar"):
        constraints.halfspace(1.0, 1.0)
    with pytest.raises(ValueError, match="1 x 1"):
        biject_to(constraints.spectraplex).inverse_shape((1, 1))
    with pytest.raises(ValueError, match="coordinates"):
        biject_to(constraints.spectraplex)(jnp.ones(3))


# Polytopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arrays, message",
    [
        ((CUBE, [1, 1, 1, 1, 1, -2]), "empty"),
        ((CUBE, np.ones(6), [[1, 1, 1]], [4]), "empty"),
        ((CUBE, np.ones(6), [[1, 1, 1], [2, 2, 2]], [1, 1]), "contradict"),
        ((CUBE, np.ones(6), [[1, 0, 0]], [1.5]), r"contradicts the inequalities 0"),
        ((CUBE, [1, 1, 1, 1, 1, -1]), r"inequalities 2, 5 hold with equality"),
        ((CUBE, np.ones(6), [[1, 1, 1]], [3]), r"inequalities 0, 1, 2 hold with equality"),
        ((CUBE, np.ones(6), [[1, 0, 0]], [1]), r"inequalities 0 hold with equality"),
        ((CUBE[:5], np.ones(5)), r"unbounded in direction \[\S* ?0?\.? +\S*0\. +-1\.\]"),
        (([[1, 0], [-1, 0]], [1, 1]), r"unbounded in direction"),
        ((CUBE, np.ones(6), np.eye(3), np.zeros(3)), "at most a point"),
        ((CUBE, np.ones(5)), "as many rows"),
        ((CUBE, np.ones(6), [[1, 1]], [1]), "3 columns"),
        ((CUBE, np.ones(6), [[1, 1, 1]]), "together"),
        ((np.ones(3), np.ones(3)), "matrix A"),
        ((CUBE, [1, 1, 1, 1, 1, np.inf]), "finite b"),
    ],
)
def test_unusable_polytopes_say_why(arrays, message):
    with pytest.raises(ValueError, match=message):
        constraints.polytope(*arrays)


def test_batch_errors_name_the_index():
    with pytest.raises(ValueError, match=r"batch index \(1,\): polytope is empty"):
        constraints.polytope(CUBE, np.array([np.ones(6), -np.ones(6)]))


def test_polytope_too_thin_for_the_dtype():
    b = np.array([1e3 + 1e-5, 1, 1, -1e3, 1, 1])
    with pytest.raises(ValueError, match="too thin for float32"):
        constraints.polytope(CUBE, b)


@pytest.mark.usefixtures("x64")
def test_thin_polytope_in_double_precision():
    p = constraints.polytope(CUBE, np.array([1e3 + 1e-5, 1, 1, -1e3, 1, 1]))
    assert 1e3 < p.center[0] < 1e3 + 1e-5


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_center_basis_and_rounding(scale):
    """The centre is stationary for the barrier along the hull; rounding whitens the Hessian."""
    p = constraints.polytope(A4, scale * B4, C4, scale * c4)
    np.testing.assert_allclose(p.basis.T @ p.basis, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(C4 @ p.basis, 0, atol=1e-12)
    np.testing.assert_allclose(C4 @ p.center, scale * c4, rtol=1e-12)
    slack = p.b - p.A @ p.center
    assert np.all(slack > 0)
    rows = p.A @ p.basis @ p.rounding / slack[:, None]
    np.testing.assert_allclose(rows.sum(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.T @ rows, np.eye(3), atol=1e-8)
    assert np.all(np.diag(p.rounding) > 0) and np.all(np.tril(p.rounding, -1) == 0)


def test_construction_is_paid_once(monkeypatch):
    calls = []
    solver = geometry.linprog
    monkeypatch.setattr(geometry, "linprog", lambda *a, **k: calls.append(1) or solver(*a, **k))
    b = np.array([1.0, 1, 1, 1, 1, 1.2345])
    first = constraints.polytope(CUBE, b)
    assert calls
    calls.clear()
    jax.tree.unflatten(jax.tree.structure(first), jax.tree.leaves(first))
    jax.vmap(lambda x: constraints.polytope(CUBE, b)(x))(jnp.zeros((2, 3)))
    constraints.polytope(CUBE, b)
    assert not calls


def test_traced_arrays_are_refused_and_closed_over_arrays_accepted():
    with pytest.raises(TypeError, match="b is traced"):
        jax.jit(lambda b: constraints.polytope(CUBE, b).center)(jnp.ones(6))
    A, b = jnp.asarray(CUBE, int), jnp.ones(6, int)
    assert jax.jit(lambda x: constraints.polytope(A, b)(x))(jnp.zeros(3))


def test_random_polytopes_against_their_construction():
    """A polytope around a known point passes; cut by a contradictory row it is empty."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        d, m = int(rng.integers(2, 6)), 30
        normals = np.r_[rng.normal(size=(m, d)), np.eye(d), -np.eye(d)]
        inside = rng.normal(size=d) * 10
        b = normals @ inside + rng.uniform(0.1, 2, m + 2 * d)
        p = constraints.polytope(normals, b)
        assert p(p.center)
        row = -normals[0]
        least = row @ inside - 20 * np.linalg.norm(row)
        with pytest.raises(ValueError, match="empty"):
            constraints.polytope(np.r_[normals, [row]], np.r_[b, least])


# With NumPyro's own machinery ----------------------------------------------------------------


def _prior_only():
    with numpyro.plate("copies", 2):
        numpyro.sample("ball", distributions.UniformBall(2, jnp.array([1.0, 3.0])))
    numpyro.sample("matrix", distributions.UniformSpectraplex(3))
    numpyro.sample("polytope", distributions.UniformPolytope(A4, B4, C4, c4, num_steps=50))


def _model():
    _prior_only()
    numpyro.sample("box", distributions.UniformBox([0.0, -2.0], [1.0, 5.0]))
    cut = dist.ImproperUniform(constraints.halfspace([3.0, -4.0], 0.0), (), (2,))
    x = numpyro.sample("halfspace", cut)
    numpyro.factor("normal", dist.Normal(0, 1).log_prob(x).sum())


@pytest.mark.slow
def test_nuts_samples_the_uniform_laws():
    """Every bijection with its determinant, through NUTS, against the exact first moments."""
    kernel = NUTS(_model, target_accept_prob=0.9)
    mcmc = MCMC(
        kernel,
        num_warmup=500,
        num_samples=1500,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0))
    draws = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    radius = np.array([1.0, 3.0])[:, None]
    half_normal = np.sqrt(2 / np.pi)
    exact = {
        "ball": (draws["ball"] ** 2, radius**2 / 4 * np.ones(2)),
        "matrix": (draws["matrix"], np.eye(3) / 3),
        "matrix_2": (
            draws["matrix"] ** 2,
            distributions.UniformSpectraplex(3).variance + np.eye(3) / 9,
        ),
        # The simplex less its corner beyond x_4 = 1/2, an eighth of it.
        "polytope": (draws["polytope"], np.array([15, 15, 15, 11]) / 56),
        "box": (draws["box"], [0.5, 1.5]),
        "halfspace": (draws["halfspace"], -half_normal * np.array([0.6, -0.8])),
    }
    for name, (values, mean) in exact.items():
        error = values.std(axis=(0, 1)) / np.sqrt(effective_sample_size(values))
        z = (values.mean(axis=(0, 1)) - np.asarray(mean)) / error
        assert np.all(np.abs(z) < 4.5), (name, z)


def test_predictive_draws_are_inside():
    samples = Predictive(_prior_only, num_samples=20)(jax.random.key(1))
    assert samples["ball"].shape == (20, 2, 2)
    assert np.all(constraints.spectraplex(samples["matrix"]))
    assert np.all(constraints.polytope(A4, B4, C4, c4)(samples["polytope"]))
