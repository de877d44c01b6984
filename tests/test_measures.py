"""Weighted empirical measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.measures import Measure


def test_mean_is_the_integral_whatever_the_mass():
    mu = Measure(jnp.arange(6.0).reshape(3, 2), jnp.array([0.5, 0.0, 1.5]))
    np.testing.assert_allclose(mu.mean(mu.points), [6.0, 8.0])
    np.testing.assert_allclose(mu.mean(jnp.ones(3)), 2.0)
    np.testing.assert_allclose(mu.mean(jnp.ones((3, 2, 4))), np.full((2, 4), 2.0))


def test_uniform_weights_follow_the_points():
    mu = Measure.uniform({"a": np.zeros((4, 2), np.float32), "b": np.zeros(4, np.float32)})
    assert mu.size == 4 and mu.weights.dtype == jnp.float32
    np.testing.assert_allclose(mu.weights, 0.25)
    np.testing.assert_allclose(Measure.uniform(np.arange(4)).weights, 0.25)


def test_uniform_keeps_single_precision_under_x64(x64):
    assert Measure.uniform(jnp.zeros(3, jnp.float32)).weights.dtype == jnp.float32


def test_lists_of_numbers_are_an_array():
    for points in ([0.3, 0.6], [[0.3], [0.6]]):
        for measure in (Measure(points, [0.5, 0.5]), Measure.uniform(points)):
            np.testing.assert_allclose(measure.points, np.asarray(points, np.float32))


def test_a_measure_is_a_pytree():
    stacked = jax.vmap(lambda x: Measure.uniform(x))(jnp.arange(6.0).reshape(2, 3))
    assert stacked.points.shape == stacked.weights.shape == (2, 3)
    np.testing.assert_allclose(jax.vmap(lambda mu: mu.mean(mu.points))(stacked), [1.0, 4.0])


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        (
            np.zeros((3, 2)),
            np.ones(2),
            r"points of shapes \[\(3, 2\)\] and weights of shape \(2,\)",
        ),
        ({"a": np.zeros(3), "b": np.zeros(2)}, np.ones(3), "share their leading axis"),
        (np.zeros(3), np.ones(()), "share their leading axis"),
        ({}, np.ones(2), "needs points"),
        (np.zeros((0, 2)), np.ones(0), "at least one atom"),
    ],
)
def test_misuse_is_explained(points, weights, message):
    with pytest.raises(ValueError, match=message):
        Measure(points, weights)


@pytest.mark.parametrize("points", [{}, np.zeros(()), np.zeros((0, 2))])
def test_uniform_needs_atoms(points):
    with pytest.raises(ValueError, match="needs"):
        Measure.uniform(points)
