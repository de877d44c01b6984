"""Maps rescaled for a law, from the moments of that law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.special import polygamma

from mmfld_ppl.dynamics.welford import welford_init, welford_moments, welford_update
from mmfld_ppl.mirrors import (
    Ball,
    Euclidean,
    HalfLine,
    Interval,
    Moments,
    Observation,
    PositiveDefinite,
    Simplex,
    Weighted,
)
from tests.mirrors.cases import CASES, Case

ONE = jnp.ones(())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapting_changes_values_only(case: Case) -> None:
    """Same tree, shapes and dtypes, so that a loop may carry the map and nothing recompiles."""
    mirror = case.build(jnp.float32).adaptable(jnp.float32)
    points = case.points(np.random.default_rng(0))
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], jnp.float32), points)

    def adapt(mirror, x):
        seen = mirror.observe(x)
        return mirror.adapted(Moments(seen.coordinates, *(2 * [seen.local_variance])), ONE)

    adapted = jax.eval_shape(adapt, mirror, x)
    assert jax.tree.structure(adapted) == jax.tree.structure(mirror)
    for old, new in zip(jax.tree.leaves(mirror), jax.tree.leaves(adapted), strict=True):
        if isinstance(old, jax.Array):
            assert (new.shape, new.dtype) == (old.shape, old.dtype)


def moments(mirror, points) -> Moments:
    """Of a sample of a law."""
    seen = jax.vmap(mirror.observe)(points)
    return Moments(
        jnp.mean(seen.coordinates, 0),
        jnp.var(seen.coordinates, 0),
        jnp.mean(seen.local_variance, 0),
    )


def test_sums_over_coordinates_are_additions() -> None:
    """Nothing is stacked in order to be summed."""
    parts = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(4.0)}
    seen = Moments(parts, None, parts, parts, parts)
    assert seen.total().local_variance == 7
    np.testing.assert_allclose(seen.total().score_size, np.sqrt(21), rtol=1e-6)
    program = str(jax.make_jaxpr(lambda m: m.total())(seen))
    assert "stack" not in program and "concatenate" not in program


def test_simplex_weights_count_the_relative_steps_in_a_law() -> None:
    law = np.random.default_rng(0).dirichlet([2.0, 8.0, 30.0], 4000)
    mirror = Simplex.of_size(3, jnp.float32)
    adapted = mirror.adapted(moments(mirror, jnp.asarray(law, jnp.float32)), ONE)
    expected = np.mean(law**2, axis=0) / np.var(law, axis=0)
    np.testing.assert_allclose(adapted.weights, expected, rtol=1e-3)
    assert adapted.self_concordance < 1


def moments_in_steps(mirror, points, slope) -> Moments:
    """Of a sample and of the slopes of its potential, as the warm-up collects them."""
    observations = jax.vmap(mirror.observe)(points)
    slopes = jax.vmap(mirror.pull_slope)(points, jax.vmap(slope)(points))
    return welford_moments(
        welford_update(welford_init(mirror.observe(points[0])), observations, slopes)
    )


def test_a_variance_that_rounding_made_negative_has_a_score() -> None:
    """As that of an entry next to the boundary, X_11 of a nearly pure state: it vanishes, to
    rounding of either sign."""
    seen = Observation(jnp.ones((2, 1)), jnp.array([[-1e-7], [0.25]]))
    state = welford_init(Observation(jnp.ones(1), jnp.ones(1)))
    np.testing.assert_allclose(welford_update(state, seen, 4 * jnp.ones((2, 1))).score_mean, 1)


def test_log_simplex_weights_are_those_of_the_logarithms() -> None:
    """Between 1 / Var(log x_i) and the variance of the score; the latter for small ones."""
    a = np.array([0.2, 0.5, 3.0, 20.0])
    law = jnp.asarray(np.random.default_rng(0).dirichlet(a, 20000), jnp.float32)
    mirror = Simplex.of_size(4, jnp.float32).stepping()
    seen = moments_in_steps(mirror, law, lambda x: (1 - jnp.asarray(a, jnp.float32)) / x)
    score = a * (a.sum() - a) / (a.sum() + 1)
    spread = polygamma(1, a) - polygamma(1, a.sum())
    np.testing.assert_allclose(seen.score_variance, score, rtol=0.1)
    expected = np.maximum(np.sqrt(score / spread), np.minimum(score, np.sqrt(score)))
    np.testing.assert_allclose(mirror.adapted(seen, ONE).weights, expected, rtol=0.1)


@pytest.mark.parametrize("reflected", [False, True])
@pytest.mark.parametrize(
    ("law", "slope", "heavy"),
    [
        (stats.expon(scale=3.0), lambda u: jnp.ones_like(u) / 3, False),
        (stats.gamma(0.1), lambda u: 1 + 0.9 / u, False),
        (stats.halfnorm(), lambda u: u, False),
        (stats.lognorm(3.0), lambda u: (1 + jnp.log(u) / 9) / u, True),
        (stats.halfcauchy(), lambda u: 2 * u / (1 + u**2), True),
        (stats.invgamma(1.0), lambda u: 2 / u - 1 / u**2, True),
    ],
    ids=["exponential", "gamma", "half-normal", "log-normal", "half-Cauchy", "inverse gamma"],
)
def test_half_lines_are_logarithmic_under_heavy_tails_only(law, slope, heavy, reflected) -> None:
    """The linear part begins within the law where that falls off fast, and beyond it where not;
    steps of unit length then fit the law's width in t."""
    u = law.rvs(4000, random_state=np.random.default_rng(0))
    sign = -1.0 if reflected else 1.0
    with jax.enable_x64(True):
        build = HalfLine.below if reflected else HalfLine.above
        mirror = build(0.0, jnp.float64).stepping().adaptable(jnp.float64)
        points, gradient = sign * jnp.asarray(u), lambda x: sign * slope(sign * x)
        # The candidates are multiples of what the window before has seen.
        for _ in range(2):
            mirror = mirror.adapted(moments_in_steps(mirror, points, gradient), ONE)
        assert (mirror.scale > 1e3 * np.median(u)) == heavy
        assert heavy or 0.1 * u.std() < mirror.scale < 10 * u.std()
        t = jax.vmap(mirror.arc)(points)
        scores = jax.vmap(mirror.pull_slope)(points, jax.vmap(gradient)(points))[:, 0]
        np.testing.assert_allclose(mirror.weight, jnp.std(scores) / jnp.std(t), rtol=0.02)


def test_interval_weight_is_that_of_the_logit() -> None:
    z = np.random.default_rng(0).normal(size=4000) * 2.0
    mirror = Interval.between(-1.0, 3.0, jnp.float32).stepping().adaptable(jnp.float32)
    points = jnp.asarray(4 / (1 + np.exp(-z)) - 1, jnp.float32)

    def slope(x):
        u, v = x + 1, 3 - x
        t = jnp.log(u / v)
        return (t / 4) * (1 / u + 1 / v) + 1 / u - 1 / v

    adapted = mirror.adapted(moments_in_steps(mirror, points, slope), ONE)
    np.testing.assert_allclose(adapted.weight, 1 / 4, rtol=0.05)


def test_half_line_tail_starts_at_the_root_mean_square() -> None:
    law = np.random.default_rng(0).gamma(3.0, 2.0, 4000)
    mirror = HalfLine.above(1.0, jnp.float32)
    adapted = mirror.adapted(moments(mirror, jnp.asarray(1 + law, jnp.float32)), ONE)
    np.testing.assert_allclose(adapted.scale, np.sqrt(np.mean(law**2)), rtol=1e-3)


def test_matrix_tail_starts_at_the_root_mean_square_eigenvalue() -> None:
    a = np.random.default_rng(0).normal(size=(4000, 2, 3)) * np.array([[1.0], [3.0]])
    law = a @ np.swapaxes(a, 1, 2)
    mirror = PositiveDefinite.with_unit_scale(jnp.float32)
    adapted = mirror.adapted(moments(mirror, jnp.asarray(law, jnp.float32)), ONE)
    expected = np.sqrt(np.mean(np.linalg.eigvalsh(law) ** 2))
    np.testing.assert_allclose(adapted.scale, expected, rtol=1e-3)


def test_a_weight_turns_local_steps_into_the_spread_of_a_law() -> None:
    law = jnp.asarray(np.random.default_rng(0).normal(size=(4000, 3)) * 5 + 1, jnp.float32)
    mirror = Weighted(Euclidean(), ONE)
    adapted = mirror.adapted(moments(mirror, law), ONE)
    np.testing.assert_allclose(adapted.weight, 1 / 25, rtol=0.05)


def test_a_barrier_is_not_made_wider_than_its_set() -> None:
    """Few points may look more spread than a law in the set can be."""
    mirror = Weighted(Ball(ONE), ONE)
    seen = mirror.observe(jnp.array([0.1, 0.2]))
    wide = Moments(seen.coordinates, 100 * seen.local_variance, seen.local_variance)
    assert mirror.adapted(wide, ONE).weight >= 1


@pytest.mark.parametrize("mirror", [Weighted(Ball(ONE), ONE), Simplex(jnp.ones(2))])
def test_scores_that_overflow_leave_the_weights(mirror) -> None:
    seen = mirror.observe(jnp.array([0.4, 0.6]))
    infinite = jnp.full(2, jnp.inf)
    moments = Moments(*seen[:1], None, seen.local_variance, None, infinite)
    same = jax.tree.leaves(mirror), jax.tree.leaves(mirror.adapted(moments, ONE))
    for old, new in zip(*same, strict=True):
        np.testing.assert_array_equal(old, new)


def test_trust_interpolates_and_useless_moments_are_left_out() -> None:
    mirror = Simplex(jnp.array([4.0, 4.0, 4.0]))
    seen = Moments(jnp.ones(3), jnp.array([1.0, 1.0, 0.0]), jnp.array([16.0, 64.0, 1.0]))
    for trust, expected in {0.0: [4, 4, 4], 0.5: [8, 16, 4], 1.0: [16, 64, 4]}.items():
        adapted = mirror.adapted(seen, jnp.asarray(trust))
        np.testing.assert_allclose(adapted.weights, expected, rtol=1e-6)


def test_weights_rescale_time_and_concordance() -> None:
    """A step of size h under w phi is one of size h/w under phi."""
    base = Ball(ONE)
    mirror = Weighted(base, jnp.asarray(4.0))
    x, v, h = jnp.array([0.3, -0.5]), jnp.array([1.0, 2.0]), 0.1
    a = mirror.conjugate_grad(mirror.grad(x) - h * v, x)
    b = base.conjugate_grad(base.grad(x) - h / 4 * v, x)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(mirror.self_concordance, 0.5)
    assert ravel_pytree(mirror.noise_like(x))[0].shape == (2,)
