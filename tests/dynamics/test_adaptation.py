"""Step-size search, running moments, and the weights that warm-up gives to maps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.dynamics.adaptation import _window_ends
from mmfld_ppl.dynamics.step_size import LEAST, DualAveraging
from mmfld_ppl.dynamics.welford import welford_init, welford_moments, welford_update
from mmfld_ppl.mirrors import Euclidean, Observation, Weighted
from tests.helpers import run, start


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
        seen = Observation(jnp.asarray(batch), jnp.square(batch))
        state = welford_update(state, seen, jnp.asarray(3 / batch))
    together = np.concatenate(batches).astype(np.float64)
    moments = welford_moments(state)
    np.testing.assert_allclose(moments.mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, together.var(0, ddof=1), rtol=1e-3)
    np.testing.assert_allclose(moments.local_variance, (together**2).mean(0), rtol=1e-5)
    # Slopes 3 / x in units of x: the same 3 everywhere.
    np.testing.assert_allclose(moments.score_size, 3, rtol=1e-5)
    np.testing.assert_allclose(moments.score_variance, 0, atol=1e-5)
    assert int(state.observations) == 46 and int(state.steps) == 3


def test_ratio_of_a_gaussian_is_its_precision_even_while_it_is_travelled_to():
    """Slopes change with position by the curvature, whatever part of the law was seen."""
    x = jnp.linspace(500.0, 100.0, 20)[:, None]
    state = welford_init(Observation(jnp.zeros(1), jnp.zeros(1)))
    state = welford_update(state, Observation(x, jnp.ones_like(x)), x / 25.0)
    np.testing.assert_allclose(welford_moments(state).ratio(), 1 / 25.0, rtol=1e-4)


@pytest.mark.parametrize("law", [dist.Normal(), dist.HalfNormal(), dist.Dirichlet(jnp.ones(3))])
def test_the_first_scale_is_that_of_slopes_whose_squares_overflow(law):
    """The weights stayed at one, and no step was short enough."""

    def weights(slope):
        def model():
            x = numpyro.sample("x", law)
            numpyro.factor("steep", -slope * jnp.sum(jnp.arange(1, 1 + jnp.size(x)) * x))

        map = start(mm.MMFLD(model)).adaptation["globals"].map.parts["x"]
        return np.asarray(map.weights if hasattr(map, "weights") else map.weight)

    np.testing.assert_allclose(weights(1e25), 1e15 * weights(1e10), rtol=1e-3)


def test_momenta_of_such_slopes_have_a_norm():
    metric = Weighted(Euclidean(), jnp.asarray(1e25)).metric(jnp.zeros(2))
    assert metric.inverse_norm_sq(jnp.full(2, 1e24)) == pytest.approx(2e23)


def test_windows_double_once_the_early_ones_are_over():
    for num_warmup in (0, 5, 11, 59):
        assert list(_window_ends(num_warmup)) == [-1]
    ends = np.asarray(_window_ends(1000))
    lengths = np.diff(ends, prepend=0)
    early = ends <= 350
    assert np.all(lengths[early] == 10) and list(lengths[~early][:2]) == [20, 40]
    assert ends[-1] == 850 and lengths[-1] == lengths.max()


def test_the_target_acceptance_is_higher_along_paths():
    def ordinary():
        numpyro.sample("x", dist.Gamma(2.0))

    def particles():
        with mm.particles("atom", 4):
            x = numpyro.sample("x", dist.Gamma(2.0))
        mm.objective("F", mm.functionals.OfMean(jnp.square), x, temperature=1.0)

    def target(model, **options):
        kernel = mm.MMFLD(model, **options)
        layout = kernel.read((), {})[0].layout
        block = "particles" if layout.particles else "globals"
        return kernel.settings_for(layout).adaptation_of(block).target_accept_prob

    assert target(ordinary) == target(particles) == 0.8
    assert target(ordinary, target_accept_prob=0.7) == target(particles, target_accept_prob=0.7)
    for model, options in (
        (particles, {"path_length": None}),
        (ordinary, {"path_length": None}),
        (ordinary, {"diffusion": "one-step"}),
        (ordinary, {"mirror_maps": {"x": mm.mirrors.EntropyOrthant()}}),
    ):
        assert target(model, **options) == 0.6


def test_a_step_does_not_shrink_for_ever() -> None:
    """One that rounds to zero could not grow again."""
    search = DualAveraging(0.8)
    state = search.init(jnp.asarray(0.1))
    for _ in range(300):
        state = search.update(state, jnp.asarray(0.0))
    np.testing.assert_allclose(jnp.exp(state.log_step), LEAST, rtol=1e-5)
    for _ in range(60):
        state = search.update(search.init(jnp.exp(state.log_step)), jnp.asarray(1.0))
    assert state.log_step > np.log(0.1)


def test_the_metric_is_that_of_the_tempered_law() -> None:
    """Points and slopes both grow with the temperature: the weights are their ratio."""

    def weight(temperature: float) -> np.ndarray:
        kernel = mm.MMFLD(
            lambda: numpyro.sample("x", dist.Normal(jnp.zeros(2), 1.0)),
            temperature=lambda i: jnp.asarray(temperature),
        )
        state = run(kernel, warmup=400, draws=1, chains=1).last_state
        metric = state.adaptation["globals"].map.parts["x"]
        return np.array([np.ravel(leaf) for leaf in jax.tree.leaves(metric)])[..., :2]

    ratio = weight(1.0) / weight(100.0)
    np.testing.assert_allclose(ratio, 100.0, rtol=0.5)
