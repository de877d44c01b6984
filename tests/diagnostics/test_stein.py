"""Mirrored Stein discrepancies: zero in the mean under the law, and against wrong laws."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints as nc

from mmfld_ppl import constraints as mc
from mmfld_ppl.diagnostics import stein_kernel, stein_test
from mmfld_ppl.diagnostics.stein import pair_mean
from mmfld_ppl.functionals.stein import Lifted
from mmfld_ppl.inference_data.angles import on_circles
from mmfld_ppl.mirrors import mirror_map

ALPHA = jnp.array([3.0, 1.5, 0.7])


def dirichlet(alpha):
    return lambda x: -jnp.sum((alpha - 1) * jnp.log(x))


def disk(rng, n: int) -> np.ndarray:
    """Uniform density matrices."""
    r, angle = 0.5 * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    a, b = r * np.cos(angle), r * np.sin(angle)
    return np.stack([0.5 + a, b, b, 0.5 - a], axis=-1).reshape(n, 2, 2)


LAWS = {
    "simplex": (nc.simplex, (3,), lambda r, n: r.dirichlet(ALPHA, n), dirichlet(ALPHA)),
    "half-line": (nc.positive, (), lambda r, n: r.gamma(2, 1, n), lambda x: x - jnp.log(x)),
    "interval": (
        nc.unit_interval,
        (),
        lambda r, n: r.beta(2, 3, n),
        lambda x: -jnp.log(x) - 2 * jnp.log1p(-x),
    ),
    "spectraplex": (mc.spectraplex, (2, 2), disk, lambda x: 0.0 * jnp.sum(x)),
    "circle": (nc.real, (), lambda r, n: r.vonmises(np.pi, 1.5, n), lambda x: 1.5 * jnp.cos(x)),
    "plane": (
        nc.real_vector,
        (2,),
        lambda r, n: r.standard_normal((n, 2)),
        lambda x: jnp.sum(x**2) / 2,
    ),
}


@functools.cache
def forces(name: str):
    """Events of a law to flattened events, drift and mobility."""
    support, shape, _, potential = LAWS[name]
    with jax.enable_x64(True):
        map = mirror_map(support, shape, jnp.float64)

    def one(x):
        metric = map.metric(x)
        slope = jax.grad(lambda x: potential(x) + map.metric(x).log_det())(x)
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        columns = jax.vmap(lambda e: metric.solve(e).ravel())(basis)
        lifted = Lifted(x.ravel(), metric.solve(-slope).ravel(), columns)
        return on_circles(lifted, np.ones(1, bool)) if name == "circle" else lifted

    compiled = jax.jit(jax.vmap(one))

    def at(x):
        with jax.enable_x64(True):
            return [np.asarray(v) for v in compiled(jnp.asarray(x, float))]

    return at


@pytest.mark.parametrize("name", LAWS)
def test_the_kernel_has_mean_zero_under_the_law(name: str) -> None:
    rng, sample, at = np.random.default_rng(3), LAWS[name][2], forces(name)
    h = stein_kernel(*at(sample(rng, 100)))
    np.testing.assert_allclose(h, h.T, atol=1e-8 * np.abs(h).max())
    assert np.linalg.eigvalsh(h)[0] > -1e-8 * np.abs(h).max()
    found = [stein_kernel(*at(sample(rng, 100))) for _ in range(100)]
    off = [(h.sum() - np.trace(h)) / 9900 for h in found]
    z = np.mean(off) / (np.std(off, ddof=1) / 10)
    assert abs(z) < 4.5, z


@pytest.mark.parametrize("name", LAWS)
def test_the_drift_has_mean_zero_under_the_law(name: str) -> None:
    # The operator on constant fields: E b = 0 is where a boundary term would show.
    rng = np.random.default_rng(4)
    _, drift, _ = forces(name)(LAWS[name][2](rng, 20_000))
    error = drift.std(axis=0) / np.sqrt(len(drift))
    assert np.all(np.abs(drift.mean(axis=0)) < 4.5 * error + 1e-12)


def p_values(alpha, repeats: int, n: int = 120) -> np.ndarray:
    """Of samples of Dirichlet(alpha), tested against Dirichlet(ALPHA)."""
    rng, at = np.random.default_rng(5), forces("simplex")
    tests = (
        stein_test(stein_kernel(*at(rng.dirichlet(alpha, n))), replicates=300, seed=i)
        for i in range(repeats)
    )
    return np.array([test.p_value for test in tests])


def test_the_test_has_its_level_and_power() -> None:
    level = p_values(ALPHA, 150)
    # 150 tests at level 0.1 have at most 28 rejections, in 999 of 1000 cases.
    assert np.mean(level < 0.1) <= 28 / 150, np.mean(level < 0.1)
    assert 0.3 < level.mean() < 0.7
    assert np.mean(p_values([2.0, 1.5, 0.7], 20) < 0.05) > 0.8  # another mean
    assert np.mean(p_values([6.0, 3.0, 1.4], 20) < 0.05) > 0.8  # the same mean, less spread


def test_repeated_points_are_found() -> None:
    x = np.repeat(np.random.default_rng(6).dirichlet(ALPHA, 20), 10, axis=0)
    test = stein_test(stein_kernel(*forces("simplex")(x)))
    assert test.p_value < 0.01
    assert test.statistic > test.threshold


def test_the_width_of_another_sample_makes_discrepancies_compare() -> None:
    rng, at = np.random.default_rng(7), forces("plane")
    x, drift, mobility = at(rng.standard_normal((80, 2)))
    own = stein_kernel(x, drift, mobility)
    np.testing.assert_allclose(stein_kernel(x, drift, mobility, like=x), own, rtol=1e-10)
    # In other units it is the same, with the width in those.
    units = np.array([10.0, 0.1])
    scaled = (units * x, units * drift, units[:, None] * mobility * units)
    np.testing.assert_allclose(stein_kernel(*scaled, like=units * x), own, rtol=1e-8)
    # By its own width a sample is the more wrong the narrower it is, without end.
    narrow, narrower = (at(s * rng.standard_normal((80, 2))) for s in (0.1, 0.05))
    by_own = [pair_mean(stein_kernel(*one)) for one in (narrow, narrower)]
    by_other = [pair_mean(stein_kernel(*one, like=x)) for one in (narrow, narrower)]
    assert by_own[1] > 3 * by_own[0]
    assert 0.7 < by_other[1] / by_other[0] < 1.5
