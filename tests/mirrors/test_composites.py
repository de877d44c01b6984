"""What maps made of maps pass on: the shortest of a class, and the way back to an affine set."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.mirrors import Independent, MirrorMap, Product, Weighted
from mmfld_ppl.mirrors.linear import LinearImage
from tests.mirrors.cases import CASES, Case
from tests.mirrors.measure import cast, compiled, flat

every_map = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Doubled(LinearImage):
    """x = 2 u, entry by entry."""

    base: MirrorMap

    def forward(self, u):
        return jax.tree.map(lambda v: 2 * v, u)

    def inverse(self, x):
        return jax.tree.map(lambda v: v / 2, x)


def _moved(case: Case, x, rng, size: float):
    """x with a random part normal to the tangent space."""
    shape, noise = np.shape(x), size * rng.normal(size=case.tangent.shape[1])
    normal = noise - noise @ case.tangent.T @ case.tangent
    if len(shape) == 2 and shape[0] == shape[1]:
        rows, square = case.tangent.reshape(-1, *shape), normal.reshape(shape)
        if np.allclose(rows, np.swapaxes(rows, 1, 2)):
            # The rest is nothing to symmetric matrices.
            normal = (0.5 * (square + square.T)).ravel()
    leaves, tree = jax.tree.flatten(x)
    parts = np.split(normal, np.cumsum([np.size(leaf) for leaf in leaves])[:-1])
    moved = [leaf + part.reshape(np.shape(leaf)) for leaf, part in zip(leaves, parts, strict=True)]
    return jax.tree.unflatten(tree, moved)


@every_map
def test_they_do_as_their_parts_do(case: Case, x64) -> None:
    mirror, rng = case.build(jnp.float64), np.random.default_rng(3)
    x = jax.tree.map(lambda leaf: leaf[0], case.points(rng))
    v = jax.tree.map(lambda leaf: rng.normal(size=np.shape(leaf)), x)
    others = _moved(case, x, rng, 1e-3), _moved(case, v, rng, 1.0)

    def both(mirror, x, v, x_off, v_off):
        metric = mirror.metric(x)
        return metric.shortest(v), metric.shortest(v_off), mirror.restore(x_off)

    def compare(mirror, *arguments):
        one = both(mirror, *arguments)
        twice = both(Independent.of(mirror, (2,)), *stacked(*arguments))
        named = both(Product({"a": mirror}), *({"a": a} for a in arguments))
        x, v, x_off, v_off = arguments
        pair = (v, v_off)
        x, x_off = (jax.tree.map(lambda leaf: 2 * leaf, z) for z in (x, x_off))
        doubled = both(Doubled(mirror), x, *pair[:1], x_off, *pair[1:])
        doubled = (*doubled[:2], jax.tree.map(lambda leaf: leaf / 2, doubled[2]))
        return (
            one,
            both(Weighted(mirror, jnp.array(3.0)), *arguments),
            tuple(part["a"] for part in named),
            *(jax.tree.map(lambda leaf, i=i: leaf[i], twice) for i in (0, 1)),
            doubled,
        )

    def stacked(*arguments):
        return [jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), a) for a in arguments]

    arguments = cast((x, v, *others), jnp.float64)
    one, *made = compiled(compare)(mirror, *arguments)
    for found in made:
        np.testing.assert_allclose(flat(found), flat(one), rtol=1e-9, atol=1e-11)
    # Of all members of a class there is one that is shortest, and it is in the class.
    shortest, same, _ = map(flat, one)
    np.testing.assert_allclose(same, shortest, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(case.tangent @ (shortest - flat(v)), 0, atol=1e-9)
