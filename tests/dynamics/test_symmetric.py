"""The symmetric step in the samplers: its order, and the law of moves of several steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.dynamics import Langevin, Mirror, symmetric
from mmfld_ppl.dynamics.langevin import spread_out
from mmfld_ppl.dynamics.symmetric import Symmetric
from mmfld_ppl.mirrors import Simplex
from tests.dynamics import pair


def log_ratio(transition, potential, x, noise, h):
    slope = jax.grad(potential)
    move = transition.advance(x, slope(x), noise, h)
    backward = transition.log_backward(move, slope(move.position), h)
    return potential(x) - potential(move.position) + backward - move.log_forward


def test_log_ratio_is_of_order_three_halves(x64):
    """That of the one-step diffusion is of order one half: its noise has the metric of one end."""
    weights = jnp.array([2.0, 5.0, 0.7])
    x, noise = jnp.array([0.3, 0.6, 0.1]), jnp.array([0.5, -1.0, 0.8])

    def potential(x):
        return -jnp.sum(weights * jnp.log(x))

    for make, order in ((Symmetric, 1.5), (Mirror, 0.5)):
        transition = make(Simplex(jnp.array([1.0, 2.0, 1.5])))
        steps = 1e-4 * 4.0 ** -jnp.arange(4)
        ratios = [abs(float(log_ratio(transition, potential, x, noise, h))) for h in steps]
        np.testing.assert_allclose(-np.diff(np.log(ratios)) / np.log(4), order, atol=0.05)


def test_lengths_are_even_over_any_stretch():
    """Of n in a row, the share below any bound is right to 2 log(n) / n; by chance it would be to
    1 / sqrt(n)."""
    points = np.asarray(jax.vmap(lambda i: spread_out(i, jnp.float32))(jnp.arange(100_000)))
    assert 0 <= points.min() and points.max() < 1
    for start in (0, 777, 90_000):
        stretch = np.sort(points[start : start + 1000])
        assert np.abs(stretch - (np.arange(1000) + 0.5) / 1000).max() < 0.004


@pytest.mark.parametrize("reach", [None, 0.05])
@pytest.mark.parametrize("path_length", [None, 3.0])
def test_moves_keep_the_law(path_length, reach, monkeypatch):
    """Of one step and of several, with all of the slope and with one that is truncated at nearly
    all points."""
    monkeypatch.setattr(symmetric, "REACH", reach)
    transition = Symmetric(pair.MIRROR, truncated=reach is not None)
    sampler = Langevin(
        lambda x, key: (pair.potential(x), None), transition, 0.3, path_length=path_length
    )

    draws, accepted = pair.draws(sampler)
    assert (0.5 if reach is None else 0.2) < float(accepted.mean()) < 0.99
    pair.assert_law(draws["a"], draws["b"])
