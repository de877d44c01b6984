"""Momenta that are kept: the law of points that have them, what they are for, where they begin."""

from __future__ import annotations

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.dynamics import (
    FunctionalField,
    Langevin,
    MeanFieldLangevin,
    Mirror,
    Symmetric,
    symmetric,
)
from mmfld_ppl.functionals import OfMean
from mmfld_ppl.mirrors import EntropyOrthant, Euclidean, ZeroSum
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
    """Of the particles, by chain and draw. They start at their law, but for their mean, at 0."""

    def chain(key):
        key_start, key = jax.random.split(key)
        x = jax.random.normal(key_start, (size,))
        state = dynamics.init(x - jnp.mean(x), key_start)

        def step(state, key):
            state, _ = dynamics.step(key, state)
            return state, (jnp.mean(state.particles), jnp.var(state.particles, ddof=1))

        return jax.lax.scan(step, state, jax.random.split(key, count))[1]

    draws = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(1), chains))
    return tuple(np.asarray(values, float) for values in draws)


@pytest.mark.parametrize(("reach", "h"), [(3.0, 1.0), (0.05, 0.3)])
def test_each_particle_keeps_the_law_of_a_frozen_field(reach, h, monkeypatch):
    """At steps that refuse many; with all of the slope at nearly all points, and with one that is
    truncated at most of them."""
    monkeypatch.setattr(symmetric, "REACH", reach)
    field = FunctionalField(OfMean(potential=pair.potential))
    transition = Symmetric(pair.MIRROR, truncated=True)
    dynamics = MeanFieldLangevin(field, transition, h, 1.0, friction=0.4)
    key_start, key = jax.random.split(jax.random.key(0))
    state = dynamics.init(pair.sample(key_start, (2000,)), key)

    def step(state, key):
        state, info = dynamics.step(key, state)
        return state, (state.particles, info.accept_prob)

    draws, accepted = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(key, 300))[1])(state)
    assert 0.2 < float(accepted.mean()) < 0.8
    # The particles are independent, since F is linear.
    pair.assert_law(draws["a"].T, draws["b"].T)


def test_a_single_point_keeps_its_law():
    """Under a fixed potential, as what is beside particles has between their moves."""
    transition = Symmetric(pair.MIRROR)
    sampler = Langevin(lambda x, key: (pair.potential(x), None), transition, 1.0, friction=0.4)

    draws, accepted = pair.draws(sampler)
    assert 0.2 < float(accepted.mean()) < 0.8
    pair.assert_law(draws["a"], draws["b"])


@pytest.mark.slow
def test_the_law_of_all_together():
    """At a collective ratio of h * 10 = .02: what is left of its excess is less than the error."""
    size, curvature, count = 100, 10.0, 20_000
    dynamics = stiff(curvature, 0.02 / curvature, 1.0)
    means, variances = means_and_variances(dynamics, 16, size, count)
    for values, exact in ((means**2 * size * (1 + curvature), 1.0), (variances, 1.0)):
        z = z_score(values[:, count // 5 :], exact)
        assert abs(z) < 4.5, z


@pytest.mark.slow
def test_the_mean_of_all_has_no_excess_of_a_longer_step():
    """At a collective ratio of .25, as the warm-up has it: with the noise at the start of a step
    the mean has 1.15 times its variance, half way what the acceptance leaves, a few hundredths."""
    size, curvature, count = 100, 100.0, 20_000
    means, _ = means_and_variances(stiff(curvature, 0.25 / curvature, 0.4), 16, size, count)
    scaled = np.mean(means[:, count // 5 :] ** 2, axis=1) * size * (1 + curvature)
    assert scaled.std(ddof=1) / 4 < 0.02
    assert abs(scaled.mean() - 1) < 0.08, scaled.mean()


def test_momenta_carry_what_a_stiff_functional_does_not_see():
    """The variance about the mean relaxes on the scale of one, at steps that the mean keeps a
    hundred times shorter: of the order of a hundred steps without momenta, and ten with."""
    with_momenta, without = (
        az.ess(means_and_variances(stiff(100.0, 0.0025, friction), 4, 100, 5000)[1])
        for friction in (0.4, None)
    )
    assert with_momenta > 4 * without


def test_a_run_begins_with_momenta_of_their_law():
    """Points of the right law keep it from the first step on. Were they at rest, they would first
    contract, their variance to .44 after twenty steps."""
    variances = means_and_variances(stiff(100.0, 0.0025, 0.4), 64, 200, 40)[1]
    for k in (4, 19, 39):
        z = z_score(variances[:, k : k + 1], 1.0)
        assert abs(z) < 4.5, (k, z)


def test_a_step_that_is_not_finite_costs_one_move():
    """As that of a schedule gone wrong; momenta that are none are drawn anew."""
    x = jax.random.normal(jax.random.key(0), (50,))
    wrong, right = stiff(1.0, -0.1, 0.4), stiff(1.0, 0.1, 0.4)
    keys = jax.random.split(jax.random.key(1), 3)
    state, _ = right.step(keys[0], right.init(x, keys[0]))
    assert jnp.all(state.momentum != 0)
    turned, info = wrong.step(keys[1], state)
    assert info.nonfinite == 50
    np.testing.assert_array_equal(turned.momentum, -state.momentum)
    state, info = right.step(keys[1], state._replace(momentum=jnp.full(50, jnp.nan)))
    assert info.nonfinite == 50
    np.testing.assert_array_equal(state.momentum, 0)
    for after in (turned, state):
        moved, info = right.step(keys[2], after)
        assert info.nonfinite == 0 and jnp.any(moved.particles != after.particles)


def test_a_constant_slope_that_a_set_does_not_feel_is_not_gathered():
    """Along the normal of the arrays that sum to zero: with little friction it would become the
    larger part of every momentum by far, and the rest of it rounding."""
    normal = 1e4

    def accepted(friction):
        sampler = Langevin(
            lambda x, key: (jnp.sum(x**2) / 2 + normal * jnp.sum(x), None),
            Symmetric(ZeroSum()),
            0.01,
            friction=friction,
        )
        state = sampler.init(jnp.zeros(10), jax.random.key(0))

        def step(state, key):
            state, info = sampler.step(key, state)
            return state, info.accept_prob

        keys = jax.random.split(jax.random.key(1), 1000)
        return float(jax.jit(lambda s: jax.lax.scan(step, s, keys)[1])(state)[500:].mean())

    assert accepted(0.01) > accepted(1.0) - 0.1 > 0.3


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


def model(size=6, shift=0.0):
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Gamma(2.0))
    mm.objective("F", OfMean(lambda x: jnp.square(x - shift)), x, temperature=1.0)


def both(size=6, shift=0.0):
    centre = numpyro.sample("centre", dist.Normal(shift, 1.0))
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Gamma(2.0))
    mm.objective("F", OfMean(lambda mean: jnp.square(mean - centre)), x, temperature=1.0)


def momenta(state) -> list[np.ndarray]:
    blocks = (block for block in (state.globals_, state.particles) if block)
    return [np.asarray(leaf) for block in blocks for leaf in jax.tree.leaves(block.momentum)]


def resting(state):
    """The state with momenta of zero."""
    state = state._replace(particles=state.particles.at_rest(True))
    return state._replace(globals_=state.globals_.at_rest(True)) if state.globals_ else state


@pytest.mark.parametrize("of", [model, both])
def test_a_momentum_ends_with_the_map_that_it_is_measured_in(of):
    """After a window of the adaptation it is drawn anew, and at other steps it is not."""
    kernel = mm.MMFLD(of)
    state = kernel.init(jax.random.key(0), 200, None, (), {})
    ends = np.asarray(state.adaptation["particles"].ends)
    move = jax.jit(lambda state: kernel.sample(state, (), {}))
    while int(state.i) < ends[0]:
        state = move(state)
    assert len(momenta(state)) == 1 + (of is both)
    assert all(np.all(p != 0) for p in momenta(state))
    for p, q in zip(momenta(move(state)), momenta(move(resting(state))), strict=True):
        np.testing.assert_array_equal(p, q)
    state = move(state)
    for p, q in zip(momenta(move(state)), momenta(move(resting(state))), strict=True):
        assert np.any(p != q)


def test_a_map_that_stays_ends_no_momentum():
    kernel = mm.MMFLD(model, adapt_metric=False)
    state = kernel.init(jax.random.key(0), 200, None, (), {})
    end = int(state.adaptation["particles"].ends[0])
    for _ in range(end):
        state = kernel.sample(state, (), {})
    after, rested = (kernel.sample(of, (), {}) for of in (state, resting(state)))
    assert jnp.any(after.z["x"] != rested.z["x"])


@pytest.mark.parametrize("of", [model, both])
def test_momenta_stay_where_the_model_changes_around_them(of):
    kernel = mm.MMFLD(of)
    _, state, _ = steps(kernel, 5)
    other = kernel.refresh(state, (6, 1.0), {})
    assert other.potential_energy != state.potential_energy
    for p, q in zip(momenta(other), momenta(state), strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize(
    "options",
    [
        {"path_length": None},
        {"diffusion": "one-step"},
        {"metropolize": False},
        {"mirror_maps": {"x": EntropyOrthant()}},
    ],
)
def test_no_momentum_is_kept_without_a_path_length_or_a_symmetric_step(options):
    assert run(mm.MMFLD(model, **options)).last_state.particles.momentum == ()


def test_only_particles_have_one_beside_a_map_without_a_symmetric_step():
    """Their targets of acceptance differ with that."""

    def beside():
        rate = numpyro.sample("rate", dist.Gamma(2.0))
        with mm.particles("atom", 4):
            x = numpyro.sample("x", dist.Gamma(2.0, rate))
        mm.objective("F", OfMean(jnp.square), x, temperature=1.0)

    kernel = mm.MMFLD(beside, mirror_maps={"rate": EntropyOrthant()})
    state = run(kernel).last_state
    assert state.globals_.momentum == () and jax.tree.leaves(state.particles.momentum)
    settings = kernel.settings_for(state.layout.value)
    targets = [settings.adaptation_of(b).target_accept_prob for b in ("globals", "particles")]
    assert targets == [0.6, 0.8]


def test_a_kernel_of_another_path_length_does_not_go_on():
    kept, none = mm.MMFLD(model), mm.MMFLD(model, path_length=None)
    for first, then, word in ((kept, none, "has momenta"), (none, kept, "has no momenta")):
        mcmc = run(first)
        after = run_from(then, mcmc.last_state)
        with pytest.raises(ValueError, match=word):
            after()


def run_from(kernel, state):
    mcmc = MCMC(kernel, num_warmup=2, num_samples=2, num_chains=2, chain_method="vectorized")
    mcmc.post_warmup_state = state
    return lambda: mcmc.run(jax.random.key(0))
