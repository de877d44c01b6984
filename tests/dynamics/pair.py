"""A law of two coordinates that transitions are tested on: b of Gamma(3, 2), and a of N(b, 1)
given b."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mmfld_ppl.mirrors import Euclidean, HalfLine, Product
from tests.helpers import z_score

#: Two leaves: the noise that moves them has no common length.
MIRROR = Product({"a": Euclidean(), "b": HalfLine.above(0.0, jnp.float32)})


def potential(x):
    return 2 * x["b"] - 2 * jnp.log(x["b"]) + 0.5 * (x["a"] - x["b"]) ** 2


def sample(key, shape=()):
    """Of the law itself."""
    key_a, key_b = jax.random.split(key)
    b = jax.random.gamma(key_b, 3.0, shape) / 2
    return {"a": b + jax.random.normal(key_a, shape), "b": b}


def draws(sampler):
    """Positions and acceptances of 500 chains of 300 moves, by chain and draw; they start at the
    law."""

    def chain(key):
        key_start, key = jax.random.split(key)
        state = sampler.init(sample(key_start), key)

        def step(state, key):
            state, info = sampler.step(key, state)
            return state, (state.position, info.accept_prob)

        return jax.lax.scan(step, state, jax.random.split(key, 300))[1]

    return jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), 500))


def assert_law(a, b):
    """a, b: by independent chain and draw."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    expected = {"a": (a, 1.5), "b": (b, 1.5), "ab": (a * b, 3.0), "b^2": (b**2, 3.0)}
    expected |= {"a^2": (a**2, 4.0), "log b": (np.log(b), 0.2296372)}
    for name, (values, exact) in expected.items():
        z = z_score(values, exact)
        assert abs(z) < 4.5, (name, z)
