"""The paper's experiments as models."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density

import mmfld_ppl as mm
from examples.paper.exact import Rule, match_mean, simplex_mean_matching, spectraplex_matching
from models import mean_matching
from models.two_layer import activation, output, two_layer
from tests.helpers import refused, run, z_score
from tests.models.test_tomography import bloch_rule

Q = np.array([0.6, 0.3, 0.1])
S = np.array([[0.8, 0.2], [0.2, 0.2]])
X = jnp.array([[0.5, 0.5], [-0.5, 0.4], [0.3, -0.6], [-0.2, -0.3]])
Z = jnp.array([1.0, -1.0, -1.0, 1.0])


def averages(model, target, *, warmup=300, draws=300, chains=16, **setting) -> np.ndarray:
    """Of the particles, by chain and draw."""
    mcmc = run(
        mm.MMFLD(model),
        jnp.asarray(target, jnp.complex64 if jnp.iscomplexobj(target) else jnp.float32),
        warmup=warmup,
        draws=draws,
        chains=chains,
        model_kwargs={"particles": 500} | setting,
    )
    return np.asarray(mcmc.get_samples(group_by_chain=True)["x"]).mean(axis=2)


@pytest.mark.slow
def test_a_mean_on_the_simplex():
    x = averages(mean_matching.simplex_matching, Q, temperature=0.1, beta=0.1)
    exact = simplex_mean_matching(Q, 0.1, 0.1)
    for i, mean in enumerate(exact.mean):
        assert abs(z_score(x[..., i], mean)) < 4


@pytest.mark.slow
def test_a_mean_on_the_spectraplex():
    x = averages(
        mean_matching.spectraplex_matching,
        S,
        warmup=150,
        draws=100,
        chains=10,
        particles=300,
        temperature=0.1,
        gamma=2.0,
    )
    difference, off_diagonal = spectraplex_matching(S, 0.1, 2.0).mean
    assert abs(z_score((x[..., 0, 0] - x[..., 1, 1]) / 2, difference)) < 4
    assert abs(z_score(x[..., 0, 1], off_diagonal)) < 4


@pytest.mark.slow
def test_a_mean_of_complex_matrices():
    """Of size two: X = (I + <r, Pauli>) / 2, F = |E r - s|^2 / 4 + E|r|^2 / (4 gamma) and more."""
    target = jnp.array([[0.7, 0.15 - 0.2j], [0.15 + 0.2j, 0.3]])
    s = np.array([0.3, 0.4, 0.4])
    points, weights = bloch_rule()
    exact = match_mean(Rule(points, weights), s, 4 * 0.1, lambda r: np.sum(r**2, axis=-1) / 2.0)
    x = averages(
        mean_matching.spectraplex_matching,
        target,
        warmup=100,
        draws=40,
        chains=10,
        particles=200,
        temperature=0.1,
        gamma=2.0,
    )
    # Particles are held as Re X + Im X.
    real, imaginary = x[..., 0, 1] + x[..., 1, 0], x[..., 1, 0] - x[..., 0, 1]
    assert abs(z_score(real, exact.mean[0])) < 4
    assert abs(z_score(imaginary, exact.mean[1])) < 4
    assert abs(z_score(x[..., 0, 0] - x[..., 1, 1], exact.mean[2])) < 4


def test_a_network_is_the_mean_of_its_neurons():
    neurons = mm.distributions.UniformBall(4).sample(jax.random.key(0), (7,))
    each = jax.vmap(jax.vmap(activation, (None, 0)), (0, None))(neurons, X)
    np.testing.assert_allclose(output(neurons, X, 3.0), 3 * each.mean(axis=0), rtol=1e-5)


def test_the_objective_is_the_risk_of_the_network():
    neurons = mm.distributions.UniformBall(4).sample(jax.random.key(0), (7,))

    def density(temperature):
        setting = {"neurons": 7, "scale": 3.0, "temperature": temperature}
        return log_density(two_layer, (X, Z), setting, {"neuron": neurons})[0]

    risk = jnp.mean(jax.nn.softplus(-Z * output(neurons, X, 3.0)))
    np.testing.assert_allclose(density(0.5) - density(1.0), -7 * risk, rtol=1e-4)


def test_misuse_is_explained():
    refused(mm.MMFLD(lambda: two_layer(X, jnp.arange(4.0))), "-1 or 1")
    refused(mm.MMFLD(lambda: two_layer(X, Z[:2])), "inputs of shape (n, d)")
    refused(mm.MMFLD(lambda: two_layer(X * jnp.nan, Z)), "finite")
