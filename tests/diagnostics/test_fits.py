"""Fits in 1/N, in h and in time; changes of weights; mixing of many short chains."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest

from mmfld_ppl.diagnostics import (
    fit_decay,
    fit_particle_number,
    nested_r_hat,
    slope_ratio,
    step_bias,
    stuck_particles,
)


def test_the_particle_law_is_recovered_with_its_errors() -> None:
    rng = np.random.default_rng(0)
    sizes, sigma = np.array([25, 50, 100, 400]), np.array([4e-3, 2e-3, 1e-3, 1e-3])
    fits = [
        fit_particle_number(sizes, 2 - 3 / sizes + sigma * rng.standard_normal(4), sigma)
        for _ in range(400)
    ]
    for of, exact in ((lambda f: f.limit, 2.0), (lambda f: f.slope, -3.0)):
        z = np.array([(of(f).value - exact) / of(f).error for f in fits])
        assert abs(z.mean()) < 0.25 and 0.85 < z.std() < 1.15
    assert np.mean([f.chi_squared for f in fits]) == pytest.approx(2, abs=0.5)
    fit = fits[0]
    assert fit.bias(50).value == pytest.approx(fit.slope.value / 50)
    assert abs(fit.slope.value) / fit.recommend(0.01) <= 0.01


@pytest.mark.parametrize(
    ("sizes", "errors", "words"),
    [([100, 100], [1, 1], "two different"), ([50, 100], [0, 1], "positive and finite")],
)
def test_what_cannot_be_fitted(sizes, errors, words) -> None:
    with pytest.raises(ValueError, match=words):
        fit_particle_number(sizes, [1.0, 2.0], errors)


def test_a_recommendation_needs_a_tolerance() -> None:
    fit = fit_particle_number([50, 100], [1.02, 1.01], [1e-3, 1e-3])
    with pytest.raises(ValueError, match="tolerance must be positive"):
        fit.recommend(0.0)


@pytest.mark.parametrize("order", [1, 2])
def test_extrapolation_in_the_step(order: int) -> None:
    h, rng = 0.2, np.random.default_rng(1)
    found = []
    for _ in range(400):
        whole, half = (1 + 0.5 * s**order + 1e-3 * rng.standard_normal() for s in (h, h / 2))
        found.append(step_bias((whole, 1e-3), (half, 1e-3), order=order))
    for values, exact in (
        ([f.bias for f in found], 0.5 * h**order),
        ([f.limit for f in found], 1.0),
    ):
        z = np.array([(v.value - exact) / v.error for v in values])
        assert abs(z.mean()) < 0.25 and 0.85 < z.std() < 1.15
    assert np.mean([f.z for f in found]) > 5


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.4])
def test_the_rate_of_a_decay(rate: float) -> None:
    t = np.arange(1500.0)
    rng = np.random.default_rng(2)
    z = []
    for _ in range(40):
        y = 0.7 + 5 * np.exp(-rate * t) + 0.02 * rng.standard_normal(len(t))
        found = fit_decay(t, y)
        assert found.visible
        z.append((found.rate.value - rate) / found.rate.error)
        assert found.limit == pytest.approx(0.7, abs=0.02)
        assert found.half_time * found.rate.value == pytest.approx(np.log(2))
    assert abs(np.mean(z)) < 0.8 and 0.6 < np.std(z) < 1.5


def test_a_run_at_its_limit_has_no_decay() -> None:
    flat = fit_decay(np.arange(200), np.random.default_rng(3).standard_normal(200))
    assert not flat.visible and np.isnan(flat.rate.value)
    with pytest.raises(ValueError, match="8 values"):
        fit_decay(np.arange(4), np.ones(4))


@pytest.mark.parametrize("factor", [1.0, 0.5, -1.0])
def test_the_slope_of_a_functional_of_weights(factor: float) -> None:
    x = np.random.default_rng(4).gamma(2, 1, 200)

    def value(w) -> float:
        return np.log(np.sum(w * x)) + np.sum(w * x) ** 3

    m = x.mean()
    ratio, rounding = slope_ratio(value, factor * (1 / m + 3 * m**2) * x)
    assert ratio == pytest.approx(1 / factor, rel=1e-3)
    assert rounding < 1e-9
    single = slope_ratio(value, (factor * (1 / m + 3 * m**2) * x).astype(np.float32))
    assert single[1] == pytest.approx(rounding * 2**29, rel=1e-3)


def test_a_constant_first_variation_predicts_nothing() -> None:
    assert np.isnan(slope_ratio(lambda w: 1.0, np.ones(10))[0])


@pytest.mark.parametrize("dimension", [2, 30])
def test_a_first_variation_that_lacks_a_term(dimension: int) -> None:
    """F = |E x - q|^2, and the variation forgets all coordinates but the first."""
    x = np.random.default_rng(6).random((500, dimension))
    q = np.full(dimension, 0.7)
    q[0] = 0.9

    def value(w) -> float:
        return np.sum((w @ x - q) ** 2)

    forgetful = 2 * (x.mean(0) - q)[0] * x[:, 0]
    assert abs(slope_ratio(value, forgetful)[0] - 1) < 0.1
    assert abs(slope_ratio(value, forgetful, x)[0] - 1) > 0.2
    nothing = np.zeros(len(x))
    ratio, rounding = slope_ratio(value, nothing, x)
    assert np.isinf(ratio) and rounding < 1e-9
    right = x @ (2 * (x.mean(0) - q))
    assert slope_ratio(value, right, x)[0] == pytest.approx(1, abs=1e-9)


def test_a_forgotten_correlation_shows_along_no_coordinate() -> None:
    x = np.random.default_rng(7).standard_normal((2000, 2))
    product = x[:, 0] * x[:, 1]

    def value(w) -> float:
        return w @ x[:, 0] + (w @ product - 1) ** 2

    assert abs(slope_ratio(value, x[:, 0], x)[0] - 1) > 0.5
    right = x[:, 0] + 2 * (product.mean() - 1) * product
    assert slope_ratio(value, right, x)[0] == pytest.approx(1, abs=1e-9)


def test_nested_r_hat_is_its_formula() -> None:
    x = np.random.default_rng(5).standard_normal((3, 4, 5))
    means = x.mean(2)
    between = np.var([means[k].mean() for k in range(3)], ddof=1)
    within = np.mean(
        [np.var(means[k], ddof=1) + np.mean([np.var(x[k, m], ddof=1) for m in range(4)])
         for k in range(3)]
    )  # fmt: skip
    assert nested_r_hat(x) == pytest.approx(np.sqrt(1 + between / within))


def test_nested_r_hat_of_chains_that_have_or_have_not_forgotten() -> None:
    rng = np.random.default_rng(6)
    apart = rng.standard_normal((16, 1, 1))
    one_draw = rng.standard_normal((16, 64, 1))
    assert nested_r_hat(one_draw) == pytest.approx(np.sqrt(1 + 1 / 64), abs=0.01)
    assert nested_r_hat(one_draw + apart) > 1.3
    long = rng.standard_normal((16, 8, 100))
    assert nested_r_hat(long) < 1.01


@pytest.mark.skipif(not hasattr(az, "rhat_nested"), reason="ArviZ has it from version 1 on")
def test_nested_r_hat_is_that_of_arviz() -> None:
    x = np.random.default_rng(8).standard_normal((4, 3, 10)) + np.arange(4)[:, None, None]
    found = az.rhat_nested(
        x.reshape(12, 10), superchain_ids=np.repeat(np.arange(4), 3), method="identity"
    )
    assert nested_r_hat(x) == pytest.approx(float(found))


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 1, 1), (4, 4)])
def test_nested_r_hat_needs_superchains(shape) -> None:
    with pytest.raises(ValueError, match="superchain"):
        nested_r_hat(np.ones(shape))


def test_particles_that_stay() -> None:
    draws = np.zeros((3, 3, 2))
    draws[1, 0, 1] = 1.0
    draws[2, 1] = 1e-30
    assert stuck_particles(draws).tolist() == [False, False, True]
