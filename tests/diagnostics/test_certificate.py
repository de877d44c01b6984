"""The bound on what a mixing measure leaves to gain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import logsumexp
from numpyro import distributions as dist
from numpyro.distributions import constraints
from scipy.stats import norm, poisson

from mmfld_ppl.diagnostics.certificate import likelihood_certificate
from models.npmle import maximum_likelihood

DATA = np.array([-2.0, -1.7, 0.1, 0.4, 0.6, 3.0])
GRID = np.linspace(-3, 4, 701)


def log_normal(theta, z):
    return dist.Normal(theta, 1.0).log_prob(z)


def log_p_of(log_k, theta, w, data):
    logs = jax.vmap(jax.vmap(log_k, (None, 0)), (0, None))(theta, data)
    return logsumexp(logs, axis=0, b=jnp.asarray(w)[:, None])


def test_it_vanishes_at_the_optimum_and_bounds_the_gap_elsewhere(x64):
    best = maximum_likelihood(norm.logpdf(DATA, GRID[:, None]))
    candidates = jnp.linspace(-3, 4, 15)

    def bound(theta, w):
        log_p = log_p_of(log_normal, theta, w, DATA)
        found = likelihood_certificate(log_normal, DATA, log_p, candidates, constraints.real)
        return found.gap, -jnp.mean(log_p) - best.loss

    atoms = best.weights > 1e-6
    w = best.weights[atoms]
    gap, missing = bound(jnp.asarray(GRID[atoms]), w / w.sum())
    assert -1e-9 < gap < 1e-4  # of the grid's own coarseness
    assert abs(missing) < 1e-6
    rng = np.random.default_rng(1)
    for _ in range(5):
        gap, missing = bound(jnp.asarray(rng.normal(size=3)), rng.dirichlet(np.ones(3)))
        assert 0 < missing <= gap


def test_the_ascent_finds_what_the_candidates_miss(x64):
    """All mass at the mean: D(theta) = mean exp(z theta - theta^2 / 2) - 1 about it."""
    data = DATA - DATA.mean()
    log_p = jax.vmap(log_normal, (None, 0))(0.0, data)
    fine = np.linspace(-3, 4, 70001)
    exact = np.exp(np.outer(fine, data) - fine[:, None] ** 2 / 2).mean(axis=1).max()
    coarse = jnp.array([-2.5, 0.0, 1.0, 2.2])
    found = likelihood_certificate(log_normal, data, log_p, coarse, constraints.real)
    np.testing.assert_allclose(found.gap, np.log(exact), rtol=1e-8)
    assert np.log1p(found.at_candidates.max()) < found.gap - 0.01
    best = fine[np.exp(np.outer(fine, data) - fine[:, None] ** 2 / 2).mean(axis=1).argmax()]
    np.testing.assert_allclose(found.location, best, atol=1e-4)


@pytest.mark.parametrize("counts", [None, np.array([3.0, 1.0, 2.0])])
def test_counts_and_the_boundary_of_a_support(counts):
    """A maximum at the boundary is approached from inside."""
    data, log_k = np.array([0.0, 1.0, 4.0]), lambda rate, z: dist.Poisson(rate).log_prob(z)
    log_p = poisson.logpmf(data, 6.0).astype(np.float32)
    shares = np.ones(3) / 3 if counts is None else counts / counts.sum()
    rates = np.r_[1e-8, np.linspace(0.01, 8, 800)]
    exact = np.log(np.exp(poisson.logpmf(data, rates[:, None]) - log_p) @ shares)
    found = likelihood_certificate(
        log_k, data, jnp.asarray(log_p), jnp.array([0.5, 3.0]), constraints.positive, counts=counts
    )
    np.testing.assert_allclose(found.gap, exact.max(), rtol=1e-3)
    assert 0 < found.location < 0.01
    np.testing.assert_allclose(
        found.at_candidates,
        np.exp(poisson.logpmf(data, np.array([[0.5], [3.0]])) - log_p) @ shares - 1,
        rtol=1e-4,
    )


def test_theta_of_several_parts():
    data = np.array([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    supports = {"shape": constraints.simplex, "size": constraints.positive}
    candidates = {
        "shape": jnp.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]]),
        "size": jnp.array([5.0, 20.0]),
    }

    def log_k(theta, z):
        return dist.Dirichlet(theta["size"] * theta["shape"]).log_prob(z)

    log_p = log_p_of(log_k, candidates, [0.5, 0.5], data)
    found = jax.jit(lambda log_p: likelihood_certificate(log_k, data, log_p, candidates, supports))(
        log_p
    )
    at = jnp.exp(jax.vmap(log_k, (None, 0))(found.location, data) - log_p).mean()
    np.testing.assert_allclose(found.gap, np.log(at), rtol=1e-4)
    assert found.gap > np.log1p(found.at_candidates.max())
    assert bool(constraints.simplex(found.location["shape"])) and found.location["size"] > 0
    pairs = likelihood_certificate(
        lambda theta, z: log_k({"shape": theta[0], "size": theta[1]}, z),
        data,
        log_p,
        (candidates["shape"], candidates["size"]),
        (supports["shape"], supports["size"]),
    )
    np.testing.assert_allclose(pairs.gap, found.gap, rtol=1e-4)
