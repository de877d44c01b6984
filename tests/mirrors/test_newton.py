"""The iterative conjugate: where it ends, and what it says when it does not arrive."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.mirrors import CorrelationMatrix, MirrorMap, Weighted
from tests.mirrors.cases import Lens, UnstatedLens


class Tailless(MirrorMap):
    """-log x, whose dual space is y < 0, without the closed form that would say so."""

    def potential(self, x):
        return -jnp.log(x)

    def slack(self, x):
        return x


def test_no_primal_point_is_nan() -> None:
    conjugate = jax.jit(Tailless().conjugate_grad)
    np.testing.assert_allclose(conjugate(jnp.asarray(-4.0), jnp.asarray(1.0)), 0.25, rtol=1e-5)
    assert jnp.isnan(conjugate(jnp.asarray(4.0), jnp.asarray(1.0)))
    assert jnp.isnan(conjugate(jnp.asarray(jnp.nan), jnp.asarray(1.0)))


def test_a_failure_stays_its_own() -> None:
    """In a batch, the elements that arrive are not disturbed by those that do not."""
    y = jnp.array([-4.0, 4.0, jnp.nan, -0.25, -1e6])
    x = jax.vmap(Tailless().conjugate_grad, (0, None))(y, jnp.asarray(1.0))
    np.testing.assert_array_equal(jnp.isnan(x), [False, True, True, False, False])
    np.testing.assert_allclose(x[jnp.array([0, 3, 4])], [0.25, 4.0, 1e-6], rtol=1e-4)


@pytest.mark.parametrize("mirror", [Lens(), UnstatedLens()], ids=lambda m: type(m).__name__)
def test_large_batches_end(mirror) -> None:
    """Points arrive after different numbers of steps, and rounding moves those that wait."""
    keys = jax.random.split(jax.random.key(0), 2)
    radius = jax.random.uniform(keys[0], (3000, 1))
    angle = jax.random.uniform(keys[1], (3000,), minval=-1.5, maxval=1.5)
    x = 0.99 * radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    noise = jax.random.normal(keys[0], x.shape)

    @jax.jit
    def step(x, noise):
        def one(x, noise):
            y = mirror.grad(x) + mirror.metric(x).sqrt(noise)
            moved = mirror.conjugate_grad(y, x)
            return moved, mirror.metric(moved).inverse_norm_sq(mirror.grad(moved) - y)

        return jax.vmap(one)(x, noise)

    moved, error = step(x, noise)
    assert jnp.mean(jnp.isnan(moved)) < 0.01
    assert jnp.nanquantile(jnp.sqrt(error), 0.99) < 1e-3


def test_correlations_in_a_large_batch() -> None:
    x = jnp.full((1000, 3, 3), 0.3).at[:, jnp.arange(3), jnp.arange(3)].set(1.0)
    noise = jax.random.normal(jax.random.key(1), x.shape)
    mirror = CorrelationMatrix()

    @jax.jit
    def step(x, noise):
        return jax.vmap(
            lambda x, n: mirror.conjugate_grad(mirror.grad(x) + mirror.metric(x).sqrt(n), x)
        )(x, noise)

    moved = step(x, noise)
    np.testing.assert_array_equal(moved[:, jnp.arange(3), jnp.arange(3)], 1)
    assert jnp.all(jax.vmap(mirror.slack)(moved) > 0)


def test_correlations_that_are_nearly_singular_in_single_precision() -> None:
    """Least eigenvalues down to 1e-4, where what a dual point's diagonal says, nothing, must not
    drown in rounding what its other entries say."""
    y = 1e3 * np.sign(np.random.default_rng(0).normal(size=(50, 4, 4)))
    conjugate = jax.jit(jax.vmap(CorrelationMatrix().conjugate_grad, (0, None)))
    with jax.enable_x64(True):
        exact = np.asarray(conjugate(y + y.swapaxes(1, 2), np.eye(4)))
    y = y.astype(np.float32)
    found = np.asarray(conjugate(y + y.swapaxes(1, 2), np.eye(4, dtype=np.float32)))
    assert found.dtype == np.float32
    assert np.linalg.eigvalsh(exact).min() < 3e-4
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)


def test_a_weight_does_not_slow_it_down() -> None:
    """The weighted map divides the dual point, so that its Newton steps are those of the base."""
    x, y = jnp.array([0.2, 0.1]), jnp.array([3.0, -2.0])
    for weight in (1e-4, 1e4):
        mirror = Weighted(Lens(), jnp.asarray(weight))
        np.testing.assert_allclose(
            mirror.conjugate_grad(weight * y, x), Lens().conjugate_grad(y, x), rtol=1e-5
        )
