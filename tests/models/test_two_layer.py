"""Networks of neurons in a ball: what the models state, and where their neurons start."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.infer import init_to_sample, init_to_uniform
from numpyro.infer.util import log_density

import mmfld_ppl as mm
from examples.paper.xor import xor
from examples.paper.xor_methods import risk
from models.two_layer import activations, output, outputs, two_layer, two_layer_classes
from tests.helpers import refused, run, start

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
C = jnp.array([0, 2, 1, 2, 0, 1])
NEURONS = mm.distributions.UniformBall(7).sample(jax.random.key(0), (9,))


def test_a_network_of_classes_is_the_mean_of_its_neurons():
    each = jax.vmap(jax.vmap(activations, (None, 0, None)), (0, None, None))(NEURONS, X, 3)
    np.testing.assert_allclose(outputs(NEURONS, X, 3, 5.0), 5 * each.mean(axis=0), rtol=1e-4)


def test_the_objective_is_the_cross_entropy_of_the_network():
    def density(temperature):
        setting = {"classes": 3, "neurons": 9, "scale": 5.0, "temperature": temperature}
        return log_density(two_layer_classes, (X, C), setting, {"neuron": NEURONS})[0]

    log_p = jax.nn.log_softmax(outputs(NEURONS, X, 3, 5.0))
    cross_entropy = -jnp.mean(log_p[jnp.arange(6), C])
    np.testing.assert_allclose(density(0.5) - density(1.0), -9 * cross_entropy, rtol=1e-4)


def test_the_risk_of_the_comparison_is_that_of_the_model():
    neurons = mm.distributions.UniformBall(4).sample(jax.random.key(1), (8,))
    x, z = xor(RNG, 20, 0.1)
    expected = np.mean(np.log1p(np.exp(-z * np.asarray(output(neurons, jnp.asarray(x), 30.0)))))
    found = risk(x, z, 30.0)(mm.Measure.uniform(neurons))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_draws_of_the_base_start_far_from_the_rim():
    """As uniform points of the unbounded chart do not, in 32 dimensions."""
    x, z = jnp.ones((4, 30)), jnp.array([1.0, -1.0, 1.0, -1.0])

    def slack(strategy):
        kernel = mm.MMFLD(lambda: two_layer(x, z, neurons=64), init_strategy=strategy)
        return 1 - np.linalg.norm(np.asarray(start(kernel).z["neuron"]), axis=-1)

    assert np.mean(slack(init_to_sample)) > 0.01
    assert np.mean(slack(init_to_uniform)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_network_learns_xor(batch_size):
    x, z = xor(np.random.default_rng(1), 200, 0.0)
    adjusted = batch_size is None
    kernel = mm.MMFLD(
        two_layer_classes,
        init_strategy=init_to_sample,
        metropolize=adjusted,
        step_size=0.1 if adjusted else 0.005,
    )
    setting = {"classes": 2, "neurons": 128, "scale": 60.0, "temperature": 3e-3}
    mcmc = run(
        kernel,
        jnp.asarray(x, jnp.float32),
        jnp.asarray(z > 0, jnp.int32),
        warmup=400,
        draws=100,
        thinning=5,
        model_kwargs={**setting, "batch_size": batch_size},
    )
    x_test, z_test = xor(np.random.default_rng(2), 2000, 0.0)
    for neurons in np.asarray(mcmc.get_samples(group_by_chain=True)["neuron"]):
        f = np.mean([outputs(n, jnp.asarray(x_test), 2, 60.0) for n in neurons], axis=0)
        assert np.mean((f[:, 1] > f[:, 0]) == (z_test > 0)) > 0.9


def test_misuse_is_explained():
    def classes(labels):
        return mm.MMFLD(lambda: two_layer_classes(X, labels, classes=3))

    refused(classes(C + 1), "whole numbers from 0 to 2")
    refused(classes(C[:2]), "inputs of shape (n, d)")
    refused(classes(["a"] * 6), "labels must be numbers, got 'a' in row 0")


@pytest.mark.parametrize("form", [pd.DataFrame, lambda a: np.asarray(a).tolist()])
def test_data_may_be_data_frames_and_lists(form):
    def density(model, x, z, **setting):
        return log_density(model, (x, z), {"neurons": 9, **setting}, {"neuron": NEURONS})[0]

    x, z = form(X), form(C)
    z = z[0] if isinstance(z, pd.DataFrame) else z
    found, expected = (density(two_layer_classes, *data, classes=3) for data in ((x, z), (X, C)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
