"""Tomography of a qubit against quadrature on the Bloch ball."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.infer import init_to_sample
from numpyro.infer.util import log_density

import mmfld_ppl as mm
from mmfld_ppl.constraints.hermitian import to_complex
from models.tomography import PAULI, pauli_measurement, tomography, varying_states
from tests.helpers import refused, run, start, z_score

OPERATORS = np.stack([pauli_measurement(letter) for letter in "XYZ"])
COUNTS = np.array([[9, 3], [2, 10], [11, 1]])


def bloch_rule(order: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Points of the unit ball and weights of its uniform law."""
    t, w = np.polynomial.legendre.leggauss(order)
    radius, height = (1 + t) / 2, t
    angle = 2 * np.pi * np.arange(2 * order) / (2 * order)
    r, c, a = (v.reshape(-1) for v in np.meshgrid(radius, height, angle, indexing="ij"))
    weights = (w[:, None, None] * w[None, :, None] * np.ones(2 * order)).reshape(-1) * r**2
    s = np.sqrt(1 - c**2)
    return r[:, None] * np.stack([s * np.cos(a), s * np.sin(a), c], -1), weights / weights.sum()


def bloch(states: np.ndarray) -> np.ndarray:
    """r of X = (I + <r, Pauli>) / 2."""
    X = np.asarray(to_complex(jnp.asarray(states)))
    return np.stack([np.einsum("...ij,ji->...", X, PAULI[k]).real for k in "XYZ"], axis=-1)


def log_likelihood(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    p = np.stack([(1 + points) / 2, (1 - points) / 2], axis=-1)
    return np.sum(counts * np.log(p), axis=(-1, -2))


@pytest.mark.slow
def test_the_posterior_of_a_qubit():
    points, weights = bloch_rule()
    weights = weights * np.exp(log_likelihood(points, COUNTS))
    weights /= weights.sum()
    mcmc = run(mm.MMFLD(tomography), OPERATORS, COUNTS, warmup=400, draws=600, chains=16)
    r = bloch(mcmc.get_samples(group_by_chain=True)["state"])
    for k in range(3):
        assert abs(z_score(r[..., k], weights @ points[:, k])) < 4.5
        assert abs(z_score(r[..., k] ** 2, weights @ points[:, k] ** 2)) < 4.5


def test_an_operator_may_be_zero():
    """It fills up a setting of fewer outcomes than another."""
    filled = np.concatenate([OPERATORS, np.zeros((3, 1, 2, 2))], axis=1)
    more = np.concatenate([COUNTS, np.zeros((3, 1), int)], axis=1)
    state = {"state": np.array([[0.6, 0.1], [0.2, 0.4]], np.float32)}
    plain, padded = (
        log_density(tomography, arguments, {}, state)[0]
        for arguments in ((OPERATORS, COUNTS), (filled, more))
    )
    np.testing.assert_allclose(padded, plain, rtol=1e-5)
    slope = jax.grad(lambda x: log_density(tomography, (filled, more), {}, {"state": x})[0])
    assert np.all(np.isfinite(slope(state["state"])))


def test_the_density_is_that_of_the_counts():
    states = np.array([[[0.7, 0.2], [0.1, 0.3]], [[0.4, -0.3], [0.2, 0.6]]], np.float32)
    ours = [log_density(tomography, (OPERATORS, COUNTS), {}, {"state": x})[0] for x in states]
    expected = log_likelihood(bloch(states), COUNTS)
    np.testing.assert_allclose(ours[0] - ours[1], expected[0] - expected[1], rtol=1e-4)


def minimiser(blocks: np.ndarray, tau: float) -> np.ndarray:
    """Masses on a rule of the law of states: damped iteration of mu = exp(-(1/tau) dF/dmu)."""
    points, base = bloch_rule(16)
    likelihood = np.exp(log_likelihood(points[:, None], blocks[None]))
    mu = base
    for _ in range(400):
        variation = -np.mean(likelihood / (mu @ likelihood), axis=1)
        new = np.log(base) - variation / tau
        mixed = 0.95 * np.log(mu) + 0.05 * new
        mu = np.exp(mixed - mixed.max())
        mu /= mu.sum()
    return mu @ points, mu @ points**2


@pytest.mark.slow
def test_the_law_of_varying_states():
    """Two kinds of states, three shots a setting in each block. Many particles and few draws, since
    the particles' law is the minimiser up to a term of order 1/N only."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.uniform(size=(10, 1)) < 0.7, [0.9, 0.0, 0.2], [-0.5, 0.6, 0.0])
    plus = rng.binomial(3, (1 + truth) / 2)
    blocks = np.stack([plus, 3 - plus], axis=-1)
    mean, square = minimiser(blocks, 0.1)
    mcmc = run(
        mm.MMFLD(varying_states, init_strategy=init_to_sample),
        OPERATORS,
        blocks,
        warmup=100,
        draws=20,
        chains=10,
        model_kwargs={"particles": 400, "temperature": 0.1},
    )
    r = bloch(mcmc.get_samples(group_by_chain=True)["state"])
    for k in range(3):
        assert abs(z_score(r[..., k].mean(axis=2), mean[k])) < 4.5
        assert abs(z_score((r[..., k] ** 2).mean(axis=2), square[k])) < 4.5


def test_outcomes_of_two_qubits():
    operators = pauli_measurement("ZX")
    np.testing.assert_allclose(operators.sum(axis=0), np.eye(4), atol=1e-15)
    plus = np.array([1, 1]) / np.sqrt(2)
    state = np.kron([0, 1], plus)  # down, then plus: outcome -+
    probabilities = np.einsum("kij,i,j->k", operators, state, state).real
    np.testing.assert_allclose(probabilities, [0, 0, 1, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("operators", "counts", "words"),
    [
        (OPERATORS[0], COUNTS, "(settings, outcomes, n, n)"),
        (OPERATORS, COUNTS[:2], "must have shape (settings, outcomes), with 3 settings"),
        (OPERATORS, np.stack([COUNTS] * 3), "must have shape (settings, outcomes), with 3"),
        (OPERATORS, -COUNTS, "not negative"),
        (OPERATORS, np.where(COUNTS == COUNTS[1, 0], np.nan, COUNTS), "counts must be finite"),
        (np.where(OPERATORS == 1, np.nan, OPERATORS), COUNTS, "operators must be finite"),
        (OPERATORS, COUNTS.astype(str), "counts must be numbers, got '9' in row 0"),
        (OPERATORS * 0.9, COUNTS, "identity"),
        (OPERATORS + np.array([[0, 1], [0, 0]]), COUNTS, "Hermitian"),
        (OPERATORS * 3 - np.eye(2), COUNTS, "positive semidefinite"),
    ],
)
def test_misuse_is_explained(operators, counts, words):
    refused(mm.MMFLD(lambda: tomography(operators, counts)), words)


def test_data_may_be_lists_and_data_frames():
    state = {"state": np.array([[0.6, 0.1], [0.2, 0.4]], np.float32)}
    lists = OPERATORS.tolist(), pd.DataFrame(COUNTS)
    found, expected = (
        log_density(tomography, a, {}, state)[0] for a in (lists, (OPERATORS, COUNTS))
    )
    np.testing.assert_allclose(found, expected)
    blocks = OPERATORS.tolist(), [COUNTS.tolist()]
    start(mm.MMFLD(varying_states, init_strategy=init_to_sample), *blocks, particles=3)


def test_a_setting_is_made_of_letters():
    with pytest.raises(ValueError, match="X, Y or Z"):
        pauli_measurement("XW")
    assert jax.tree.all([len(pauli_measurement("X" * k)) == 2**k for k in (1, 2, 3)])
