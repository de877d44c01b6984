"""Potentials at new points: values, derivatives that have rules of their own, blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from ott.geometry.costs import PNormP

from mmfld_ppl.functionals import soft_transform as blocks
from mmfld_ppl.functionals.distances import pairwise, squared_distance
from mmfld_ppl.functionals.soft_transform import extend, soft_transform, transform

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 2)), RNG.normal(size=(5, 2))
B = np.array([0.3, 0.0, 0.2, 0.4, 0.1])
G, EPS = RNG.normal(size=5), 0.3


def plain(x, y, b, g, eps):
    return transform(pairwise(squared_distance, x, y) / 2, b, g, eps)


def test_values_and_derivatives_are_those_of_the_transform(x64):
    """In the points alone, as a first variation has them, and in everything."""
    given = tuple(map(jnp.asarray, (X, Y, B, G, EPS)))
    np.testing.assert_allclose(extend(*given), plain(*given), rtol=1e-12)
    for places in (0, (0, 1, 2, 3, 4), (1, 3)):
        found, expected = (jax.jacobian(f, places)(*given) for f in (extend, plain))
        for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_second_derivatives(x64):
    given = tuple(map(jnp.asarray, (X, Y, B[B > 0], G[B > 0], EPS)))
    given = given[0], given[1][B > 0], *given[2:]
    check_grads(extend, given, order=2, modes=["fwd", "rev"])


def test_far_from_the_origin_in_single_precision():
    shift = 1024.0
    x, y = (np.round(z * 2**12).astype(np.float32) / 2**12 for z in (X, Y))
    b, g = B.astype(np.float32), G.astype(np.float32)

    def slopes(shift):
        return jax.grad(lambda x: extend(x, y + shift, b, g, jnp.float32(EPS)).sum())(x + shift)

    np.testing.assert_allclose(slopes(shift), slopes(0), atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("cost", [squared_distance, PNormP(3.0)], ids=["square", "cubic"])
def test_blocks_change_nothing(x64, monkeypatch, cost, size):
    """Values, and derivatives in the points and in everything; the last block may be smaller."""
    given = tuple(map(jnp.asarray, (X, Y, B, G, EPS)))
    monkeypatch.setattr(blocks, "PAIRS", (size * len(Y),) * 2)

    def whole(x, y, *rest):
        return transform(pairwise(cost, x, y), *rest)

    def cut(x, *rest):
        return soft_transform(cost, x, *rest)

    loops = "scan" in str(jax.make_jaxpr(cut)(*given))
    assert loops == (size < len(X))
    np.testing.assert_allclose(cut(*given), whole(*given), rtol=1e-12)
    for places in (0, (0, 1, 2, 3, 4)):
        found, expected = (jax.jacrev(f, places)(*given) for f in (cut, whole))
        for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
