"""Particles that keep their momenta: the law they have, what they are for, and where they rest."""

from __future__ import annotations

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.dynamics import FunctionalField, MeanFieldLangevin, Mirror, Symmetric, symmetric
from mmfld_ppl.functionals import OfMean
from mmfld_ppl.mirrors import Euclidean
from tests.dynamics import pair
from tests.helpers import run, steps, z_score

LINE = Symmetric(Euclidean(), truncated=True)


def stiff(curvature: float, h: float, friction: float | None) -> MeanFieldLangevin:
    """F = curvature/2 (E x)^2, base N(0, 1): of N particles the mean has the variance
    1/(N (1 + curvature)), and about it they are standard normal."""
    functional = OfMean(lambda mean: curvature / 2 * jnp.sum(mean**2))
    field = FunctionalField(functional, lambda x: -jnp.sum(x**2) / 2)
    return MeanFieldLangevin(field, LINE, h, 1.0, friction=friction)


def means_and_variances(dynamics, chains: int, size: int, count: int) -> tuple[np.ndarray, ...]:
    def chain(key):
        key_start, key = jax.random.split(key)
        x = jax.random.normal(key_start, (size,))
        state = dynamics.init(x - jnp.mean(x), key_start)

        def step(state, key):
            state, _ = dynamics.step(key, state)
            return state, (jnp.mean(state.particles), jnp.var(state.particles, ddof=1))

        return jax.lax.scan(step, state, jax.random.split(key, count))[1]

    draws = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(1), chains))
    return tuple(np.asarray(values, float)[:, count // 5 :] for values in draws)


@pytest.mark.optimised
@pytest.mark.parametrize("reach", [3.0, 0.05])
def test_each_particle_keeps_the_law_of_a_frozen_field(reach, monkeypatch):
    """At a step that refuses some; with all of the slope at nearly all points, and with one that is
    truncated at most of them."""
    monkeypatch.setattr(symmetric, "REACH", reach)
    field = FunctionalField(OfMean(potential=pair.potential))
    transition = Symmetric(pair.MIRROR, truncated=True)
    dynamics = MeanFieldLangevin(field, transition, 0.3, 1.0, friction=0.4)
    key_start, key = jax.random.split(jax.random.key(0))
    state = dynamics.init(pair.sample(key_start, (2000,)), key)

    def step(state, key):
        state, info = dynamics.step(key, state)
        return state, (state.particles, info.accept_prob)

    draws, accepted = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(key, 300))[1])(state)
    assert 0.2 < float(accepted.mean()) < 0.95
    # The particles are independent, since F is linear.
    pair.assert_law(draws["a"].T, draws["b"].T)


@pytest.mark.optimised
def test_the_law_of_all_together():
    """At a collective ratio of h * 11 = .02: what is left of its excess is less than the error."""
    size, curvature = 100, 10.0
    dynamics = stiff(curvature, 0.02 / (1 + curvature), 1.0)
    means, variances = means_and_variances(dynamics, 16, size, 20_000)
    for values, exact in ((means**2 * size * (1 + curvature), 1.0), (variances, 1.0)):
        z = z_score(values, exact)
        assert abs(z) < 4.5, z


@pytest.mark.optimised
def test_momenta_carry_what_a_stiff_functional_does_not_see():
    """The variance about the mean relaxes on the scale of one, at steps that the mean keeps a
    hundred times shorter: of the order of a hundred steps without momenta, and ten with."""
    with_momenta, without = (
        az.ess(means_and_variances(stiff(100.0, 0.0025, friction), 4, 100, 5000)[1])
        for friction in (0.4, None)
    )
    assert with_momenta > 4 * without


def test_a_refused_move_turns_back():
    """With a friction that forgets nothing, at a step that refuses some."""
    dynamics = stiff(1.0, 1.5, 1e-7)
    x = jax.random.normal(jax.random.key(0), (50,))
    state = dynamics.init(x, jax.random.key(1))
    state = state._replace(momentum=jax.random.normal(jax.random.key(2), (50,)))
    after, info = dynamics.step(jax.random.key(3), state)
    stayed = np.asarray(after.particles == state.particles)
    assert 0 < stayed.sum() < 50 and info.nonfinite == 0
    turned = np.asarray(after.momentum + state.momentum)
    np.testing.assert_allclose(turned[stayed], 0, atol=2e-3)
    assert np.abs(turned[~stayed]).min() > 2e-3


def test_friction_is_for_moves_with_a_momentum():
    field = FunctionalField(OfMean(potential=jnp.square))
    for transition, friction, options in (
        (Mirror(Euclidean()), 1.0, {}),
        (LINE, 0.0, {}),
        (LINE, -1.0, {}),
        (LINE, 1.0, {"metropolize": False}),
    ):
        with pytest.raises(ValueError, match="friction must be a positive number") as caught:
            MeanFieldLangevin(field, transition, 0.1, 1.0, friction=friction, **options)
        assert f"friction={friction}" in str(caught.value)


def model(size=6):
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Gamma(2.0))
    mm.objective("F", OfMean(jnp.square), x, temperature=1.0)


def test_a_momentum_ends_with_the_map_that_it_is_measured_in():
    """After a window of the adaptation particles start at rest, and at other steps they do not."""
    kernel = mm.MMFLD(model)
    state = kernel.init(jax.random.key(0), 200, None, (), {})
    ends = np.asarray(state.adaptation["particles"].ends)
    move = jax.jit(lambda state: kernel.sample(state, (), {}))
    while int(state.i) < ends[0]:
        state = move(state)
    assert jnp.all(state.particles.momentum["x"] != 0)
    at_rest = move(state._replace(particles=state.particles.at_rest()))
    np.testing.assert_array_equal(move(state).particles.particles["x"], at_rest.z["x"])
    state = move(state)
    at_rest = move(state._replace(particles=state.particles.at_rest()))
    assert jnp.any(move(state).particles.particles["x"] != at_rest.z["x"])


def test_momenta_stay_where_the_model_changes_around_them():
    kernel = mm.MMFLD(model)
    _, state, _ = steps(kernel, 5)
    same = kernel.refresh(state, (), {})
    np.testing.assert_array_equal(same.particles.momentum["x"], state.particles.momentum["x"])


@pytest.mark.parametrize("options", [{"path_length": None}, {"diffusion": "one-step"}])
def test_no_momentum_is_kept_without_a_path_length_or_a_symmetric_step(options):
    assert run(mm.MMFLD(model, **options)).last_state.particles.momentum == ()
