"""Sums over atoms on devices other than CPUs, whose way is taken here on one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import logsumexp
from jax.test_util import check_grads

from mmfld_ppl import devices
from mmfld_ppl.functionals import one_pass, radial
from mmfld_ppl.functionals.distances import half_squared_distance
from mmfld_ppl.functionals.kernels import Gaussian, Laplace
from mmfld_ppl.functionals.one_pass import soft_maximum, weighted_sums
from mmfld_ppl.functionals.radial import smooth_radial
from mmfld_ppl.functionals.soft_transform import soft_transform

RNG = np.random.default_rng(0)
E, A, B = RNG.normal(size=(3, 7))


def on(platform, monkeypatch):
    monkeypatch.setattr(devices, "default_device", lambda: SimpleNamespace(platform=platform))


def same(found, expected, tolerance=1e-10):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), found, expected
    )


@pytest.mark.parametrize("columns", [[], [A], [A, B]])
def test_sums_and_means(columns, x64):
    given = jnp.asarray(E), [jnp.asarray(column) for column in columns]
    if columns:
        same(weighted_sums(*given), [E @ column for column in columns])
        check_grads(weighted_sums, given, order=2)
    top, means = soft_maximum(*given)
    same(top, logsumexp(E))
    same(means, np.array([np.exp(E - top) @ column for column in columns]))
    check_grads(soft_maximum, given, order=2)


def test_atoms_without_mass():
    nothing = jnp.full(7, -jnp.inf)
    (top, means), slope = jax.jvp(lambda e: soft_maximum(e, [A]), (nothing,), (jnp.ones(7),))
    assert top == -jnp.inf and means == 0 and slope[1] == 0
    one = nothing.at[3].set(1e4)
    same(soft_maximum(one, [A, B]), (1e4, np.array([A[3], B[3]])), 1e-6)
    assert jnp.isnan(soft_maximum(one.at[0].set(jnp.nan), [A])[0])


@pytest.mark.parametrize("row", [1, 3, 4, 11, 100])
def test_rows(row, monkeypatch, x64):
    """Of any number of atoms, each of which is there once."""
    monkeypatch.setattr(one_pass, "ROW", row)
    y, w = RNG.normal(size=(11, 2)), RNG.uniform(size=11)
    ys, ws = one_pass.in_rows(jnp.asarray(y), jnp.asarray(w), 0.0)
    assert ys.shape[2] <= row
    found = np.asarray(ys).swapaxes(1, 2).reshape(-1, 2)[np.asarray(ws).ravel() > 0]
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(ws[ws > 0], w)


def first_and_second(function, *arrays):
    """Values, gradients in all arguments, and a derivative of that in the first."""

    def total(*arrays):
        return jnp.sum(function(*arrays) ** 2)

    def slopes(*arrays):
        return jnp.sum(jax.grad(total)(*arrays) ** 2)

    every = tuple(range(len(arrays)))
    return function(*arrays), jax.grad(total, every)(*arrays), jax.grad(slopes, every)(*arrays)


@pytest.mark.parametrize("d", [1, 3, 16, 35])
def test_both_ways_agree(d, monkeypatch, x64):
    """Of radial kernels and of soft transforms, in several rows and blocks."""
    x, y = (jnp.asarray(RNG.normal(size=(n, d))) for n in (9, 11))
    w, g = jnp.asarray(RNG.dirichlet(np.ones(11))), jnp.asarray(RNG.normal(size=11))

    def everything(x, y, w, g):
        def sums(kernel):
            return first_and_second(
                lambda x, y, w: smooth_radial(kernel, x, y, w, block_size=None), x, y, w
            )

        potentials = first_and_second(
            lambda x, y, b, g: soft_transform(
                half_squared_distance, x, y, b, g, jnp.asarray(d / 2.0)
            ),
            *(x, y, w, g),
        )
        return sums(Gaussian(1.0 * d)), sums(Laplace(1.0 * d)), potentials

    on("cpu", monkeypatch)
    expected = jax.jit(lambda *given: everything(*given))(x, y, w, g)
    on("gpu", monkeypatch)
    monkeypatch.setattr(one_pass, "ROW", 4)
    monkeypatch.setattr(radial, "PAIRS", (0, 4 * 11))
    same(jax.jit(lambda *given: everything(*given))(x, y, w, g), expected, 1e-8)


def test_far_from_the_origin_in_single_precision(monkeypatch):
    on("gpu", monkeypatch)
    x, y = (np.round(RNG.normal(size=(5, 2)) * 2**12).astype(np.float32) / 2**12 for _ in range(2))
    w = np.full(5, 0.2, np.float32)

    def slopes(far):
        def total(x):
            force = smooth_radial(Gaussian(1.0), x, y + far, w, block_size=None)
            eps = jnp.float32(0.3)
            return jnp.sum(force + soft_transform(half_squared_distance, x, y + far, w, w, eps))

        return jax.grad(total)(x + far)

    same(slopes(np.float32(1024)), slopes(np.float32(0)), 1e-5)
