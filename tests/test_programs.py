"""A start is traced anew and compiled once, and nothing of an earlier one is taken for its own."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.programs import compiled
from tests import small_models as models
from tests.helpers import KEY, compilations, start

X = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)


def test_a_second_start_compiles_nothing():
    """With other data of the same shapes, and a new kernel, either."""
    first, _ = start(mm.MMFLD(models.line), X, X[:, 0]), X + 1
    with compilations() as seconds:
        again = start(mm.MMFLD(models.line), X, X[:, 0])
        other = start(mm.MMFLD(models.line), X + 1, X[:, 1])
    assert not seconds
    jax.tree.map(np.testing.assert_array_equal, again.z, first.z)
    assert again.potential_energy == first.potential_energy != other.potential_energy


@pytest.mark.parametrize("chains", [1, 3])
def test_nor_one_of_particles(chains):
    key = KEY if chains == 1 else jax.random.split(KEY, chains)
    start(mm.MMFLD(models.centred_cloud), key=key)
    with compilations() as seconds:
        start(mm.MMFLD(models.centred_cloud), key=key)
    assert not seconds


def test_a_function_that_is_given_again_is_traced_again():
    held = [1.0]

    def scaled(x):
        return held[0] * x

    for held[0] in (1.0, 5.0):
        assert compiled(scaled, 2.0)(2.0) == 2 * held[0]


def test_what_the_model_reads_is_read_anew():
    """A global that has changed, and data in a function that is compiled by itself."""
    held = {"scale": 1.0, "data": X}

    def model():
        x = numpyro.sample("x", dist.Normal(0.0, held["scale"]))
        data = held["data"]
        numpyro.factor("f", jax.jit(lambda x: jnp.sum(x * data))(x))

    def energy(**change):
        held.update(change)
        state = start(mm.MMFLD(model))
        prior = dist.Normal(0.0, held["scale"]).log_prob(state.z["x"])
        np.testing.assert_allclose(
            -state.potential_energy, prior + held["data"].sum() * state.z["x"], rtol=1e-5
        )

    energy()
    energy(scale=2.0)
    energy(data=X + 1)


@pytest.mark.parametrize("within", [False, True])
def test_data_that_changed_in_place_are_read_anew(within):
    """Of a dtype that JAX converts, and keeps as it was while a program has hold of the data."""
    data = np.ones(3)

    def model():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        total = lambda x: jnp.sum(x * jnp.asarray(data))  # noqa: E731
        numpyro.factor("f", (jax.jit(total) if within else total)(x))

    for entry in (1.0, 5.0):
        data[1] = entry
        state = start(mm.MMFLD(model))
        prior = dist.Normal(0.0, 1.0).log_prob(state.z["x"])
        expected = prior + data.sum() * state.z["x"]
        np.testing.assert_allclose(-state.potential_energy, expected, rtol=1e-5)


def test_what_the_model_says_is_said_anew():
    def model(fail=False):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        warnings.warn("the data are few", stacklevel=1)
        if fail:
            raise RuntimeError("the data are gone")
        numpyro.factor("f", x)

    for _ in range(2):
        with pytest.warns(UserWarning, match="the data are few"):
            start(mm.MMFLD(model))
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="the data are gone"):
        start(mm.MMFLD(model), True)


def test_functions_of_python_are_told_apart():
    def calling(f):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return lambda x: jax.pure_callback(f, shape, x)

    results = [
        compiled(calling(lambda x, by=by: np.float32(x * by)), jnp.ones(()))(jnp.ones(()))
        for by in (2, 3, 4)
    ]
    assert [float(r) for r in results] == [2.0, 3.0, 4.0]


def test_data_on_another_device_do_not_take_the_start_there():
    here, there = jax.devices()
    data = jax.device_put(X, there)
    state = start(mm.MMFLD(models.line), data, data[:, 0])
    assert state.z["slope"].devices() == {here}
    expected = start(mm.MMFLD(models.line), X, X[:, 0])
    np.testing.assert_allclose(state.potential_energy, expected.potential_energy, rtol=1e-5)


def test_inside_of_a_trace():
    """Where the arrays that a function closes over may be traced."""
    f = jax.jit(lambda y: compiled(lambda x: x * y, 1.0)(2.0))
    g = jax.jit(lambda y: compiled(lambda x: x * 3.0, y)(y))
    assert [float(f(3.0)), float(f(4.0)), float(g(2.0))] == [6.0, 8.0, 6.0]
