"""Weighted empirical measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array, as_arrays
from mmfld_ppl.functionals.kernels import Gaussian
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


def test_data_frames_are_arrays():
    frame = pd.DataFrame({"a": [0.3, 0.6], "b": [1, 2]}, index=[7, 8])
    for measure in (Measure(frame, pd.Series([0.5, 0.5], index=[7, 8])), Measure.uniform(frame)):
        np.testing.assert_allclose(measure.points, [[0.3, 1.0], [0.6, 2.0]])
        np.testing.assert_allclose(measure.weights, 0.5)
    nullable = frame.astype({"b": "Int64"})
    assert np.asarray(nullable).dtype == object
    np.testing.assert_allclose(as_array("data", nullable), frame)


def test_a_tree_of_data_keeps_its_structure():
    tree = {"a": pd.Series([1, 2]), "b": (jnp.ones(2), [[3.0], [4.0]]), "c": None}
    found = as_arrays("data", tree)
    assert found["c"] is None and found["b"][0] is tree["b"][0]
    assert found["a"].shape == (2,) and found["b"][1].shape == (2, 1)
    with pytest.raises(ValueError, match=r"data\['a'\]\[0\] must be numbers, got 'x' in row 0"):
        as_arrays("data", {"a": (pd.Series(["x", "y"]),)})


def test_lists_may_hold_what_is_traced():
    np.testing.assert_allclose(jax.jit(lambda x: as_array("data", [x, 2.0]))(1.0), [1.0, 2.0])


DAYS = pd.date_range("2020-01-01", periods=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            pd.Series([1, None, "x"], dtype=object),
            "got None in row 1 and 2 such entries in all: leave",
        ),
        (pd.DataFrame({"a": [1.0, 2.0], "b": pd.array([1, None], "Int64")}), "got <NA> in row 1"),
        (pd.Series(["low", "high"], dtype="category"), "got 'low' in row 0 .*write text"),
        (["0.5", "1"], "got '0.5' in row 0 and 2"),
        (DAYS, r"got np.datetime64\('2020-01-01.* in row 0 and 3 .*np.timedelta64\(365, 'D'\)"),
        (DAYS.tz_localize("UTC"), r"got Timestamp.*np.timedelta64"),
        ((DAYS - DAYS[0]).tolist(), r"got Timedelta.*np.timedelta64"),
        ([[1.0, 2.0], [3.0]], "one array of numbers, got rows of different lengths"),
        (pd.Series(range(99)).mean, r"got <bound method \S+ of 0 0 1 1 .{,40}: pass an array"),
    ],
)
def test_what_is_not_numbers_is_named(values, message):
    with pytest.raises(ValueError, match="the ages must be (numbers, )?" + message):
        as_array("the ages", values)


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


SETTING = {"diffusivity": 1.0, "bandwidth": 1.0, "regularization": 1.0}
#: Where a measure of a user's own is taken for data.
TAKERS = {
    "target 0": lambda mu: mm.functionals.SinkhornBarycenter([mu], epsilon=0.1),
    "the target of MMD": lambda mu: mm.functionals.MMD(mu, Gaussian(1.0)),
    "snapshot 0 .time 1.": lambda mu: mm.functionals.PathSpace([mu, mu], [1, 2], **SETTING),
}


@pytest.mark.parametrize(
    ("masses", "got"), [([1.5, -0.5], "minimum -0.5"), ([0.5, np.nan], "minimum nan")]
)
@pytest.mark.parametrize("name", TAKERS)
def test_masses_of_data_are_probabilities(name, masses, got):
    """A measure may be signed, as functionals are differentiated in masses; data may not."""
    measure = Measure(jnp.array([[0.0], [1.0]]), masses)
    with pytest.raises(ValueError, match=f"the masses of {name} must be non-negative .* {got}"):
        TAKERS[name](measure)


@pytest.mark.parametrize("values", [0, jnp.ones((2, 5))])
def test_a_mean_is_of_values_at_the_atoms(values):
    """And not along an axis, as that of an array."""
    with pytest.raises(ValueError, match="at the 5 atoms, along the leading axis, got shape"):
        Measure.uniform(jnp.ones((5, 2))).mean(values)


@pytest.mark.parametrize("points", [{}, np.zeros(()), np.zeros((0, 2))])
def test_uniform_needs_atoms(points):
    with pytest.raises(ValueError, match="needs"):
        Measure.uniform(points)


def test_whole_numbers_are_masses_like_others():
    """Targets are cast to the dtype of the weights, which must not cut their coordinates off."""
    target = Measure.uniform(jnp.array([[0.4], [0.9]]))
    values = [
        mm.functionals.MMD(target, Gaussian(0.3))(Measure(jnp.array([[0.6]]), weights))
        for weights in ([1], np.array([1]), jnp.array([1.0]))
    ]
    assert values[0] == values[1] == values[2]
    assert Measure([0.0], [1]).weights.dtype == jnp.float32
