"""Step-size search, running moments, and the weights that warm-up gives to maps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mmfld_ppl.dynamics.step_size import DualAveraging
from mmfld_ppl.dynamics.welford import welford_init, welford_moments, welford_update
from mmfld_ppl.mirrors import Observation


def test_dual_averaging_finds_the_step_of_the_target():
    """For a statistic exp(-h), whose target .6 is met at h = -log .6, from afar and with noise."""
    search = DualAveraging(0.6)
    for first in (1e-4, 1e3):
        state = search.init(jnp.asarray(first))
        noise = jax.random.uniform(jax.random.key(0), (3000,), minval=-0.2, maxval=0.2)

        def update(state, z):
            return search.update(state, jnp.exp(-jnp.exp(state.log_step)) + z), None

        state, _ = jax.lax.scan(update, state, noise)  # noqa: B023
        np.testing.assert_allclose(jnp.exp(state.log_average), -np.log(0.6), rtol=0.1)


def test_running_moments_are_those_of_all_observations():
    rng = np.random.default_rng(0)
    batches = [rng.normal(1000.0, 2.0, (n, 3)).astype(np.float32) for n in (5, 1, 40)]
    state = welford_init(Observation(jnp.zeros(3), jnp.zeros(3)))
    for batch in batches:
        state = welford_update(state, Observation(jnp.asarray(batch), jnp.square(batch)))
    together = np.concatenate(batches).astype(np.float64)
    moments = welford_moments(state)
    np.testing.assert_allclose(moments.mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, together.var(0, ddof=1), rtol=1e-3)
    np.testing.assert_allclose(moments.local_variance, (together**2).mean(0), rtol=1e-5)
    assert int(state.count) == 46 and int(state.steps) == 3
