"""Digits: close to boundaries, in float32, and outside."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints as nc

from mmfld_ppl import constraints as convex
from mmfld_ppl.mirrors import (
    Ball,
    EntropyInterval,
    HalfLine,
    Interval,
    Polytope,
    PositiveDefinite,
    Simplex,
    Spectraplex,
    VonNeumannPSD,
    VonNeumannSpectraplex,
    mirror_map,
)
from mmfld_ppl.mirrors.half_line_arc import SoftplusHalfLine
from mmfld_ppl.mirrors.simplex import barrier_weights
from mmfld_ppl.mirrors.von_neumann import log_differences

LADDERS = {
    "normal": lambda rng, n: rng.normal(size=n) * 1e3,
    "far below one": lambda rng, n: -(10 ** rng.uniform(-3, 6, n)),
    "geometric": lambda rng, n: -(10.0 ** np.linspace(-3, 6, n)),
    "one at the top": lambda rng, n: np.r_[0, np.full(n - 1, -0.1 * n)],
    "equal": lambda rng, n: np.full(n, 1e3),
}


@pytest.mark.parametrize("weights", ["unit", "spread"])
@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("n", [2, 5, 60])
def test_simplex_conjugate_to_every_digit(n, kind, weights, x64) -> None:
    """Each entry relative to itself, in float32 against the equation solved in float64, from dual
    points that float32 holds exactly."""
    rng = np.random.default_rng(n)
    y = LADDERS[kind](rng, n).astype(np.float32)
    w = (np.ones(n) if weights == "unit" else 10 ** rng.uniform(0, 5, n)).astype(np.float32)
    exact = np.asarray(barrier_weights(jnp.asarray(y, jnp.float64), jnp.asarray(w, jnp.float64)))
    shift = w / exact + y
    np.testing.assert_allclose(shift, shift[0], rtol=1e-9, atol=1e-9 * np.max(np.abs(y)))
    np.testing.assert_allclose(np.sum(exact), 1, rtol=1e-14)
    found = barrier_weights(jnp.asarray(y), jnp.asarray(w))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-6)


def test_simplex_conjugate_of_what_is_not_finite() -> None:
    for bad in (jnp.nan, jnp.inf):
        assert jnp.all(jnp.isnan(barrier_weights(jnp.array([0.0, bad, 1.0]), jnp.ones(3))))


def test_simplex_of_one_entry() -> None:
    mirror, x = Simplex.of_size(1, jnp.float32), jnp.ones(1)
    np.testing.assert_array_equal(mirror.conjugate_grad(jnp.array([-7.0]), x), x)
    assert mirror.metric(x).log_det() == 0
    np.testing.assert_array_equal(mirror.metric(x).solve(jnp.array([3.0])), jnp.zeros(1))


def test_entries_too_small_to_square() -> None:
    """Sparse Dirichlet laws live here: 1e-25 squared is zero in float32."""
    x = jnp.array([1e-25, 1e-6, 0.3, 0.7 - 1e-6])
    mirror = Simplex.of_size(4, jnp.float32)
    y, metric = mirror.grad(x), mirror.metric(x)
    np.testing.assert_allclose(mirror.conjugate_grad(y, x), x, rtol=1e-6)
    kick = metric.sqrt(jnp.array([1.0, -0.5, 2.0, 0.3]))
    for value in (metric.log_det(), metric.inverse_norm_sq(kick), mirror.potential(x)):
        assert jnp.isfinite(value)
    q, v = np.asarray(x, np.float64) ** 2, np.asarray(kick, np.float64)
    least = np.sum(q * (v - np.sum(q * v) / np.sum(q)) ** 2)
    np.testing.assert_allclose(metric.inverse_norm_sq(kick), least, rtol=1e-5)
    u = metric.solve(kick)
    np.testing.assert_allclose(u[:2] / x[:2], [1.0, -0.5], rtol=1e-4)


@pytest.mark.parametrize("u", [1e-30, 1e-6, 1.0, 1e6, 1e10])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_half_line_to_every_digit(u, scale) -> None:
    mirror = HalfLine(jnp.zeros(()), jnp.ones(()), jnp.asarray(scale, jnp.float32))
    x = jnp.asarray(u, jnp.float32)
    np.testing.assert_allclose(mirror.conjugate_grad(mirror.grad(x), x), x, rtol=1e-4)
    assert jnp.isfinite(mirror.metric(x).log_det())


@pytest.mark.parametrize("x", [1e-30, 1e-6, 0.2, 0.5, 0.999])
def test_interval_to_every_digit(x) -> None:
    for mirror in (Interval.between(0.0, 1.0, jnp.float32), EntropyInterval(0.0, 1.0)):
        x = jnp.asarray(x, jnp.float32)
        np.testing.assert_allclose(mirror.conjugate_grad(mirror.grad(x), x), x, rtol=1e-5)


def test_interval_from_far_away() -> None:
    mirror = Interval.between(-1.0, 3.0, jnp.float32)
    for y in (1e30, -1e30):
        assert -1 <= mirror.conjugate_grad(jnp.asarray(y), jnp.zeros(())) <= 3
    unit = Interval.between(0.0, 1.0, jnp.float32)
    np.testing.assert_allclose(unit.conjugate_grad(jnp.asarray(-1e20), jnp.zeros(())), 1e-20)


def test_centre_of_a_ball() -> None:
    mirror, x = Ball(jnp.asarray(2.0)), jnp.zeros(3)
    np.testing.assert_array_equal(mirror.conjugate_grad(mirror.grad(x), x), x)
    metric, v = mirror.metric(x), jnp.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(metric.apply(v), v / 2)
    np.testing.assert_allclose(metric.solve(v), 2 * v)
    np.testing.assert_allclose(metric.inverse_norm_sq(v), 2 * jnp.sum(v**2))


@pytest.mark.parametrize("reach", [1e3, 1e5])
def test_edge_of_a_ball(reach) -> None:
    mirror = Ball(jnp.asarray(1.0))
    y = reach * jnp.array([0.6, -0.8, 0.0])
    x = mirror.conjugate_grad(y, y)
    assert mirror.slack(x) > 0
    # |v|^2 along the normal is (1-s)^2/(2(1+s)) |v|^2, with 1 - s about 2/reach.
    np.testing.assert_allclose(mirror.metric(x).inverse_norm_sq(y), 1, rtol=3e-6 * reach)


@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_matrices_as_accurate_as_their_condition_allows(condition) -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    values = condition ** -np.array([0.0, 0.3, 0.7, 1.0])
    exact = (rotation * values) @ rotation.T
    error = 20 * condition * np.finfo(np.float32).eps
    for mirror, x in (
        (PositiveDefinite.with_unit_scale(jnp.float32), exact),
        (Spectraplex(), exact / np.trace(exact)),
        (mirror_map(nc.corr_matrix, (4, 4)), _correlation(exact)),
    ):
        x = jnp.asarray(x, jnp.float32)
        back = mirror.conjugate_grad(mirror.grad(x), x)
        assert jnp.max(jnp.abs(back - x)) <= error * jnp.max(jnp.abs(x))
        np.testing.assert_array_equal(back, back.T)


def _correlation(x: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.diagonal(x))
    return x / root / root[:, None]


def test_duals_need_not_be_symmetric() -> None:
    """Automatic differentiation of x[0, 1] does not give a symmetric matrix."""
    x = jnp.array([[0.5, 0.1, 0.0], [0.1, 0.3, -0.1], [0.0, -0.1, 0.2]])
    v = jnp.zeros((3, 3)).at[0, 1].set(2.0)
    half = 0.5 * (v + v.T)
    for mirror in (
        PositiveDefinite.with_unit_scale(jnp.float32),
        Spectraplex(),
        VonNeumannPSD(),
        VonNeumannSpectraplex(),
    ):
        y = mirror.grad(x)
        a, b = (mirror.conjugate_grad(y + d, x) for d in (v, half))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(a, a.T)
        metric = mirror.metric(x)
        np.testing.assert_allclose(metric.inverse_norm_sq(v), metric.inverse_norm_sq(half))
        np.testing.assert_allclose(metric.solve(v), metric.solve(half), rtol=1e-6, atol=1e-7)


def test_equal_eigenvalues() -> None:
    x = jnp.eye(3) / 3
    for mirror in (VonNeumannPSD(), VonNeumannSpectraplex(), Spectraplex()):
        u = jnp.diag(jnp.array([1.0, -1.0, 0.0]))
        metric = mirror.metric(x)
        np.testing.assert_allclose(metric.solve(metric.apply(u)), u, atol=1e-6)
        assert jnp.isfinite(metric.log_det())


def test_divided_differences_of_close_and_distant_eigenvalues(x64) -> None:
    values = np.array([1e-30, 1e-8, 0.3, 0.3 * (1 + 1e-7), 0.3 * (1 + 1e-3), 0.9, 1e4])
    values = values.astype(np.float32)
    a, b = np.longdouble(values[:, None]), np.longdouble(values)
    with np.errstate(invalid="ignore"):
        exact = np.where(a == b, 1 / a, (np.log(a) - np.log(b)) / (a - b))
    # Of numbers that differ in their last digit the longdouble quotient still has twelve digits.
    np.testing.assert_allclose(log_differences(jnp.asarray(values)), exact, rtol=1e-6)


def test_polytope_close_to_a_facet_in_float32(x64) -> None:
    """The square of the condition number is beyond float32, that of the root is not."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(12, 4)).astype(np.float32)
    b = np.ones(12, np.float32)
    direction = A[0] / (A[0] @ A[0])
    direction = direction / np.max(A @ direction)
    x = ((1 - 1e-4) * direction).astype(np.float32)
    v = rng.normal(size=4).astype(np.float32)
    single, double = (
        Polytope.of(jnp.asarray(A, t), jnp.asarray(b, t)).metric(jnp.asarray(x, t))
        for t in (jnp.float32, jnp.float64)
    )
    np.testing.assert_allclose(
        single.inverse_norm_sq(jnp.asarray(v)), double.inverse_norm_sq(jnp.asarray(v)), rtol=1e-3
    )
    np.testing.assert_allclose(single.log_det(), double.log_det(), rtol=1e-3)


def test_polytope_in_other_units(x64) -> None:
    """Scaling rows and coordinates changes neither steps nor the number of Newton steps."""
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(12, 4)), np.ones(12)
    rows, units = 10 ** rng.uniform(-6, 6, 12), 10 ** rng.uniform(-6, 6, 4)
    plain = Polytope.of(jnp.asarray(A), jnp.asarray(b))
    scaled = Polytope.of(jnp.asarray(rows[:, None] * A / units), jnp.asarray(rows * b))
    xi = jnp.asarray(rng.normal(size=12))

    def step(mirror, x):
        return mirror.conjugate_grad(mirror.grad(x) + mirror.metric(x).sqrt(xi), x)

    found = step(scaled, jnp.zeros(4)) / units
    np.testing.assert_allclose(found, step(plain, jnp.zeros(4)), rtol=1e-6)


OUTSIDE = [
    (nc.greater_than(1.0), 0.5),
    (nc.less_than(1.0), 1.5),
    (nc.interval(0.0, 1.0), 1.5),
    (nc.simplex, [-0.1, 0.6, 0.5]),
    (convex.ball(2.0), [1.5, 1.5]),
    (nc.positive_definite, [[1.0, 2.0], [2.0, 1.0]]),
    (convex.spectraplex, [[1.5, 0.0], [0.0, -0.5]]),
    (nc.corr_matrix, [[1.0, 1.5], [1.5, 1.0]]),
    (nc.ordered_vector, [1.0, 0.0, 2.0]),
    (nc.positive_ordered_vector, [-1.0, 0.0, 2.0]),
    (nc.lower_cholesky, [[1.0, 0.0], [0.0, -1.0]]),
    (convex.halfspace(np.array([1.0, 1.0]), 1.0), [2.0, 1.0]),
    (convex.polytope(np.vstack([np.eye(2), -np.eye(2)]), np.ones(4)), [0.0, 1.5]),
]


@pytest.mark.parametrize(("constraint", "x"), OUTSIDE, ids=lambda v: str(v)[:40])
def test_outside(constraint, x) -> None:
    """Nothing is clamped: the potential is NaN, the slack says by how much."""
    x = jnp.asarray(x)
    mirror = mirror_map(constraint, x.shape)
    assert jnp.isnan(mirror.potential(x))
    assert mirror.slack(x) < 0


def test_gradients_and_steps_compile_once_for_all_values() -> None:
    """Weights are values, not constants: adapting them must not compile again."""
    traces = []

    @jax.jit
    def step(mirror, x):
        traces.append(1)
        return mirror.conjugate_grad(mirror.grad(x), x)

    x = jnp.array([0.2, 0.3, 0.5])
    for weight in (1.0, 2.0):
        step(Simplex(jnp.full(3, weight)), x)
    assert len(traces) == 1


@pytest.mark.parametrize("scale", [1e6, 1.0, 1e-6])
def test_half_line_where_its_quotient_by_the_scale_underflows(scale, x64) -> None:
    """Laws of small shape live here, under the scale that stands for none in the first warm-up: in
    float32 1e-33 / 1e6 is zero. The arc is held to its own rounding, and so is the way back."""
    u = np.geomspace(1e-37, 1e-30, 29).astype(np.float32)
    u = np.r_[u, np.geomspace(1e-29, 1e7, 73).astype(np.float32)]

    def seen(dtype):
        one = jnp.ones((), dtype)
        mirror = SoftplusHalfLine.of(0 * one, one, scale * one)
        x = jnp.asarray(u, dtype)
        arcs = jax.vmap(mirror.arc)(x)
        return {
            "potential": jax.vmap(mirror.potential)(x),
            "arc": arcs,
            "speed": jax.vmap(mirror.speed)(x),
            "bend": jax.vmap(mirror.log_det_grad)(x),
            "observed": jax.vmap(mirror.observe)(x).coordinates,
            "back": jax.vmap(mirror.point)(arcs),
        }

    found, exact = seen(jnp.float32), seen(jnp.float64)
    assert all(leaf.dtype == jnp.float32 for leaf in found.values())
    for name in ("potential", "arc", "speed", "observed"):
        np.testing.assert_allclose(found[name], exact[name], rtol=2e-6, atol=2e-6, err_msg=name)
    near = u < scale  # further out the slope of the determinant is below the least number
    np.testing.assert_allclose(found["bend"][near], exact["bend"][near], rtol=2e-6)
    # log u is known to |log u| eps, hence u to as much relative to itself.
    for side, rtol in ((found, 2e-5), (exact, 1e-13)):
        np.testing.assert_allclose(side["back"], np.asarray(u, float), rtol=rtol)
