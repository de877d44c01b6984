"""Kernel Stein discrepancies and pushforwards: closed forms and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import roots_legendre

from mmfld_ppl import Measure, mirrors
from mmfld_ppl.diagnostics import stein_kernel
from mmfld_ppl.functionals import MMD
from mmfld_ppl.functionals.kernels import Gaussian, InverseMultiquadric
from mmfld_ppl.functionals.pushforward import Pushforward
from mmfld_ppl.functionals.stein import KSD

RNG = np.random.default_rng(0)


def skewed(x):
    """log p on the unit square or the simplex; it does not vanish at the boundary."""
    return 2.0 * x[0] - 1.5 * x[0] * x[1] + jnp.sin(3 * x[1])


def pairs(F, x, y):
    """h at all pairs, in one program."""

    def compute(x, y):
        lifted = [jax.vmap(F.lift)(z) for z in (x, y)]
        return jax.vmap(jax.vmap(F.pair, (None, 0)), (0, None))(*lifted)

    return np.asarray(jax.jit(compute)(x, y))


def test_a_gaussian_kernel_and_a_gaussian_law(x64):
    """k = exp(-r^2 / 2) and p = N(0, I): h = (<x, y> + d - 2 r^2) k, by hand."""
    x, y = RNG.normal(size=(2, 6, 3))
    h = pairs(KSD(lambda z: -jnp.sum(z**2) / 2, Gaussian(1.0)), x, y)
    r2 = np.sum((x[:, None] - y) ** 2, axis=-1)
    np.testing.assert_allclose(h, (x @ y.T + 3 - 2 * r2) * np.exp(-r2 / 2), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("support", ["square", "triangle"])
def test_its_mean_under_the_law_is_zero_though_the_law_ends_at_a_boundary(support, x64):
    """By quadrature. Without the geometry it is not: that would be the wrong operator."""
    t, w = roots_legendre(60)
    u, v = np.meshgrid((1 + t) / 2, (1 + t) / 2, indexing="ij")
    weights, (u, v) = np.outer(w, w).ravel(), (u.ravel(), v.ravel())
    if support == "square":
        nodes, law = np.stack([u, v], axis=-1), dist.Uniform(0.0, jnp.ones(2)).to_event(1)
    else:
        nodes, law = (
            np.stack([u, (1 - u) * v, (1 - u) * (1 - v)], axis=-1),
            dist.Dirichlet(jnp.ones(3)),
        )
        weights = weights * (1 - u)
    p = weights * np.exp(np.asarray(jax.vmap(skewed)(nodes)))
    p, some = p / p.sum(), nodes[[61, 700, 2500]]
    kernel, geometry = InverseMultiquadric(0.5), mirrors.mirror_map(law.support, law.event_shape)
    right = pairs(KSD(skewed, kernel, geometry), some, nodes)
    np.testing.assert_allclose(right @ p, 0, atol=1e-7 * np.abs(right).max())
    wrong = pairs(KSD(skewed, kernel), some, nodes)
    assert np.abs(wrong @ p).max() > 1e-2 * np.abs(wrong).max()


def test_it_is_the_kernel_of_the_diagnostics(x64):
    """Written there in NumPy, for an inverse multiquadric in standardised coordinates."""
    x = RNG.dirichlet([3.0, 2.0, 1.0], 12)
    x = x / x.std(axis=0)  # not on a simplex: only the algebra is compared
    F = KSD(skewed, InverseMultiquadric(1.0), mirrors.Ball(jnp.asarray(20.0)))
    lifted = jax.jit(jax.vmap(F.lift))(x)
    squared = np.sum((x[:, None] - x) ** 2, axis=-1)
    scale = np.sqrt(np.median(squared[np.triu_indices(12, 1)]))
    F = KSD(skewed, lambda a, b: InverseMultiquadric(scale)(a, b) / scale, F.geometry)
    expected = stein_kernel(x, np.asarray(lifted.drift), np.asarray(lifted.mobility))
    np.testing.assert_allclose(pairs(F, x, x), expected, rtol=1e-8, atol=1e-10)


class Stated(mirrors.Ball):
    """With a closed form, as most maps have."""

    def log_det_grad(self, x):
        return 10 * x


def test_a_map_is_asked_for_the_slope_of_its_log_determinant(x64):
    x, geometry = jnp.array([0.3, -0.2]), Stated(jnp.ones(()))
    lifted = KSD(skewed, Gaussian(1.0), geometry).lift(x)
    expected = geometry.metric(x).solve(jax.grad(skewed)(x) - 10 * x)
    np.testing.assert_allclose(lifted.drift, expected, rtol=1e-12)


def test_the_first_variation_is_the_derivative_along_mixtures(x64):
    F = KSD(skewed, Gaussian(0.4), mirrors.Ball(jnp.asarray(1.0)), block_size=3)
    x, y = RNG.uniform(-0.5, 0.5, (2, 5, 2))

    def linearized(x, y):
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, [jnp.mean(F.first_variation(tangent, z)) for z in (x, y)]

    def along(t):
        weights = jnp.concatenate([jnp.full(5, (1 - t) / 5), jnp.full(5, t / 5)])
        return F(Measure(jnp.concatenate([x, y]), weights))

    start, middle, end = jax.jit(lambda t: jax.lax.map(along, t))(jnp.array([0.0, 0.5, 1.0]))
    value, (at_x, at_y) = jax.jit(linearized)(x, y)
    np.testing.assert_allclose(start, value, rtol=1e-12)
    # F is quadratic along the segment.
    np.testing.assert_allclose(at_y - at_x, 4 * middle - 3 * start - end, rtol=1e-8)


def test_a_marginal_is_a_pushforward(x64):
    x, y = RNG.normal(size=(2, 7, 2))
    held = MMD(Measure.uniform(y[:, 0]), Gaussian(0.7))
    F = Pushforward(held, lambda point: point["a"])
    mu = Measure.uniform({"a": x[:, 0], "b": x[:, 1]})
    value, tangent, _ = F.linearize(mu)
    inner = held.linearize(Measure.uniform(x[:, 0]))
    np.testing.assert_allclose(value, inner.value)
    np.testing.assert_allclose(
        F.first_variation(tangent, {"a": y[:, 0], "b": y[:, 1]}),
        held.first_variation(inner.tangent, y[:, 0]),
    )
    assert not F.stochastic and F.init_carry(mu) is None


def test_misuse_is_explained():
    with pytest.raises(ValueError, match="points that are vectors"):
        KSD(lambda x: x, Gaussian(1.0))(Measure.uniform(jnp.ones(3)))
    with pytest.raises(ValueError, match="log density of KSD must give one number"):
        KSD(lambda x: x, Gaussian(1.0))(Measure.uniform(jnp.ones((3, 2))))
