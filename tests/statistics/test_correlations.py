"""A dense metric, where parameters are so correlated that weights by coordinate are of no use."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size

import mmfld_ppl as mm
from tests.helpers import run

SIZE, ROWS = 10, 100


def test_a_dense_metric_draws_from_a_regression_on_predictors_that_are_almost_one() -> None:
    """Conjugate: the exact posterior is Gaussian, with correlations of -.1 and variances that are a
    thousand times those of a sum. Far from the origin, in single precision."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 1)) + np.sqrt(1e-3) * rng.normal(size=(ROWS, SIZE))
    y = X @ np.linspace(200, 201, SIZE) + rng.normal(size=ROWS)

    def model():
        b = numpyro.sample("b", dist.Normal(jnp.full(SIZE, 200.0), 5.0))
        mean = jnp.asarray(X, jnp.float32) @ (b - 200.0)
        numpyro.sample(
            "y", dist.Normal(mean, 1.0), obs=jnp.asarray(y - 200 * X.sum(1), jnp.float32)
        )

    def draws(dense_mass: bool) -> tuple[np.ndarray, np.ndarray]:
        kernel = mm.MMFLD(model, dense_mass=dense_mass)
        key, fields = jax.random.key(0), ("step_size",)
        mcmc = run(kernel, key=key, warmup=300, draws=1000, chains=8, fields=fields)
        steps = mcmc.get_extra_fields(group_by_chain=True)["step_size"][:, -1]
        return np.asarray(mcmc.get_samples(group_by_chain=True)["b"], float), np.asarray(steps)

    (found, steps), (diagonal, short) = draws(True), draws(False)
    # In coordinates in which the law is round the warm-up takes long steps, in every chain.
    assert steps.min() > 10 * short.max()
    size, before = map(effective_sample_size, (found, diagonal))
    assert size.min() > 10 * before.min()
    precision = X.T @ X + np.eye(SIZE) / 25
    covariance = np.linalg.inv(precision)
    mean = 200 + covariance @ (X.T @ (y - 200 * X.sum(1)))
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(found.mean((0, 1)) - mean) < 5 * sd / np.sqrt(size))
    whitened = (found - mean) @ np.linalg.cholesky(precision)
    for chain in whitened:
        assert effective_sample_size(chain[None]).min() > 400
    np.testing.assert_allclose(whitened.std((0, 1)), 1, atol=0.05)


def test_what_a_dense_metric_is_not_for() -> None:
    def shares():
        numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))

    def particles():
        with mm.particles("atom", 4):
            x = numpyro.sample("x", dist.Normal())
        mm.objective("F", mm.functionals.OfMean(jnp.square), x, temperature=1.0)

    for model in (shares, particles):
        with pytest.raises(ValueError, match="dense_mass=True is for sites on lines"):
            mm.MMFLD(model, dense_mass=True).init(jax.random.key(0), 10, None, (), {})
    with pytest.raises(TypeError, match="it knows no blocks of sites"):
        mm.MMFLD(shares, dense_mass=[("x",)])
    with pytest.raises(ValueError, match="comes from the warm-up"):
        mm.MMFLD(shares, dense_mass=True, adapt_metric=False)
    with pytest.raises(ValueError, match="dense_mass=True takes symmetric steps, got"):
        mm.MMFLD(shares, dense_mass=True, diffusion="one-step")
    entropy = {"x": mm.mirrors.EntropyOrthant(jnp.zeros(()))}
    with pytest.raises(ValueError, match="the map of site 'x' has none"):
        kernel = mm.MMFLD(
            lambda: numpyro.sample("x", dist.HalfNormal()), dense_mass=True, mirror_maps=entropy
        )
        kernel.init(jax.random.key(0), 10, None, (), {})
