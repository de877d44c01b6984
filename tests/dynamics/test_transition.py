"""One move of one unit: densities, limits, and what the samplers do with bad points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints as nc

from mmfld_ppl.constraints import spectraplex
from mmfld_ppl.dynamics import FunctionalField, Langevin, MeanFieldLangevin, Mirror, Projected
from mmfld_ppl.dynamics.langevin import acceptance
from mmfld_ppl.functionals import OfMean
from mmfld_ppl.mirrors import EntropyOrthant, Euclidean, Product, Simplex, mirror_map
from mmfld_ppl.projections import projection
from tests.helpers import KEY


def gamma_potential(x, key=None):
    """Gamma(3, 2) on the half-line, up to a constant."""
    return 2 * x - 2 * jnp.log(x), None


def proposal_density(map, slope, x, y_new, h):
    """Gaussian log density of the dual proposal, written out."""
    mean = map.grad(x) - h * slope(x)
    variance = 2 * h * jax.grad(jax.grad(map.potential))(x)
    return -0.5 * jnp.log(variance) - (y_new - mean) ** 2 / (2 * variance)


@pytest.mark.parametrize("x", [0.05, 0.8, 4.0])
def test_ratio_is_that_of_the_densities_written_out(x64, x):
    map = mirror_map(nc.positive, (), float)
    transition = Mirror(map)
    slope = jax.grad(lambda x: gamma_potential(x)[0])
    x, noise, h = jnp.asarray(x), jnp.asarray(-0.7), jnp.asarray(0.3)
    move = transition.advance(x, slope(x), noise, h)
    x_new = move.position
    backward = transition.log_backward(move, slope(x_new), h)

    def log_dual_target(x):
        return -gamma_potential(x)[0] - jnp.log(jax.grad(jax.grad(map.potential))(x))

    y, y_new = map.grad(x), map.grad(x_new)
    expected = (
        log_dual_target(x_new)
        + proposal_density(map, slope, x_new, y, h)
        - log_dual_target(x)
        - proposal_density(map, slope, x, y_new, h)
    )
    got = gamma_potential(x)[0] - gamma_potential(x_new)[0] + backward - move.log_forward
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_small_steps_approach_the_mirror_flow(x64):
    """Without noise a step is Euler's for dY = -grad V dt: the error of one step is O(h^2)."""
    map = Simplex.of_size(3, float)
    x, slope = jnp.array([0.5, 0.3, 0.2]), jnp.array([1.0, -2.0, 0.5])
    velocity = -map.metric(x).solve(slope)
    errors = []
    for h in (1e-2, 5e-3):
        moved = Mirror(map).advance(x, slope, jnp.zeros(3), jnp.asarray(h)).position
        errors.append(float(jnp.linalg.norm(moved - x - h * velocity)))
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize("diffusion", [1, np.int64(4), "exact"])
def test_diffusions_agree_with_one_step_to_first_order(x64, diffusion):
    """Mean and variance of a short step without drift, on noise shared between signs."""
    map, x, h = EntropyOrthant(), jnp.asarray([0.7]), 1e-4
    transition = Mirror(map, diffusion)
    like = jax.eval_shape(transition.noise_like, x)
    draws = jax.random.normal(jax.random.key(3), (40_000, *like.shape))
    zero = jnp.zeros(1)

    def moved(noise):
        return transition.advance(x, zero, noise, jnp.asarray(h)).position[0] - x[0]

    displacement = jax.vmap(jax.vmap(moved))(jnp.stack([draws, -draws]))
    # In x the diffusion is dX = dt + sqrt(2 X) dB: mean h, variance 2 x h, to first order.
    drift = np.asarray(displacement.mean(axis=0))
    se = drift.std() / np.sqrt(len(drift))
    assert se < 0.02 * h
    assert abs(drift.mean() - h) < 5 * se
    np.testing.assert_allclose(jnp.var(displacement), 2 * 0.7 * h, rtol=0.05)


@pytest.mark.parametrize("diffusion", ["one-step", 4, "exact"])
def test_no_diffusion_mends_a_drift_without_bound(x64, diffusion):
    """A density like x^2 at the boundary of an entropy map, whatever the noise: the warning of the
    kernel and docs/choosing.md say so."""
    transition, x, h = Mirror(EntropyOrthant(), diffusion), jnp.asarray(1e-3), jnp.asarray(0.05)
    slope = jax.grad(lambda x: gamma_potential(x)[0])(x)
    noise = jnp.zeros_like(jax.eval_shape(transition.noise_like, x))
    assert transition.advance(x, slope, noise, h).position > 1e30
    steadier = Mirror(mirror_map(nc.positive, (), float)).advance(x, slope, jnp.zeros(()), h)
    assert steadier.position < 0.01


def test_exact_diffusion_needs_a_closed_form():
    with pytest.raises(ValueError, match="HalfLine has none.*one-step"):
        Mirror(mirror_map(nc.positive, (), float), "exact")


@pytest.mark.parametrize("diffusion", ["two-step", 0, -1, 2.0, True])
def test_unknown_diffusions_are_named(diffusion):
    with pytest.raises(ValueError, match="one-step.*exact.*sub-steps"):
        Mirror(mirror_map(nc.positive, (), float), diffusion)


def test_projected_moves_stay_on_the_shrunken_set():
    map = Product({"x": Simplex.of_size(3, jnp.float32)})
    project = projection(nc.simplex, (3,))
    transition = Projected(map, lambda x: {"x": project(x["x"])}, jnp.asarray(0.0), 0.01)
    noise = jax.random.normal(jax.random.key(0), (200, 3))
    x, slope = {"x": jnp.array([0.6, 0.3, 0.1])}, {"x": jnp.array([3.0, 0.0, -3.0])}
    moved = jax.vmap(lambda z: transition.advance(x, slope, {"x": z}, jnp.asarray(0.5)).position)(
        noise
    )["x"]
    np.testing.assert_allclose(moved.sum(-1), 1, rtol=1e-5)
    assert float(moved.min()) == pytest.approx(0.01 / 3, rel=1e-4)
    # The nearest point of the shrunken set, by the variational inequality at its vertices.
    corners = 0.99 * jnp.eye(3) + 0.01 / 3
    free = jnp.asarray([2.0, -1.0, 0.3])
    clipped = transition.clip({"x": free})["x"]
    assert float(jnp.max((corners - clipped) @ (free - clipped))) < 1e-5


@pytest.mark.parametrize(
    ("support", "shape"), [(nc.simplex, (3,)), (spectraplex, (2, 2)), (nc.positive, ())]
)
def test_a_drift_is_a_step_without_noise(x64, support, shape):
    map, project = mirror_map(support, shape, float), projection(support, shape)
    projected = Projected(map, project, jnp.asarray(0.0), 0.0)
    x, slope = projected.centre(jnp.ones(shape)), 5 + jax.random.normal(KEY, shape)
    h = jnp.asarray(1e-3)
    for transition in (Mirror(map), Mirror(map, 3), projected):
        nothing = jax.tree.map(jnp.zeros_like, transition.noise_like(x))
        stayed = transition.advance(x, slope, nothing, h).position
        np.testing.assert_allclose(transition.drift(x, slope, h), stayed, rtol=1e-9)


@pytest.mark.parametrize("metropolize", [True, False])
def test_a_step_of_particles_costs_one_linearisation_and_two_gradients(metropolize):
    calls = []

    class Counting(FunctionalField):
        def linearize(self, particles, carry, key):
            calls.append("linearize")
            return super().linearize(particles, carry, key)

        def feel(self, frozen, particles, temperature, key):
            calls.append("feel")
            return super().feel(frozen, particles, temperature, key)

    dynamics = MeanFieldLangevin(
        Counting(OfMean(jnp.square)), Mirror(Euclidean()), 0.1, 0.5, metropolize=metropolize
    )
    key = jax.random.key(0)
    state = jax.eval_shape(dynamics.init, jnp.zeros(5), key)
    calls.clear()
    jax.eval_shape(dynamics.step, key, state)
    assert calls == ["feel", "linearize", "feel"]


@pytest.mark.parametrize("next_temperature", [None, 0.3])
def test_a_fixed_field_is_felt_once_a_step(x64, next_temperature):
    """With the same particles as if it were not known to be fixed, and the same field at them."""
    felt = []

    class Linear(FunctionalField):
        known: bool = False

        def linearize(self, particles, carry, key):
            at = super().linearize(particles, carry, key)
            return at._replace(value=jnp.zeros_like(at.value))

        @property
        def fixed(self):
            return self.known

        def feel(self, frozen, particles, temperature, key):
            felt.append(self.known)
            return super().feel(frozen, particles, temperature, key)

    def stepped(known):
        dynamics = MeanFieldLangevin(
            Linear(OfMean(potential=lambda x: x**4 / 4), known=known),
            Mirror(Euclidean()),
            *(0.3, 0.5, next_temperature),
        )
        keys = jax.random.split(jax.random.key(0), 20)
        start = dynamics.init(jax.random.normal(keys[0], (50,)), keys[0])
        felt.clear()
        return jax.lax.scan(lambda state, key: dynamics.step(key, state), start, keys)

    (known, info), once = stepped(True), len(felt)
    (other, expected), twice = stepped(False), len(felt)
    # Another temperature after each step is felt by all, also where they were.
    assert (once, twice) == ((1, 2) if next_temperature is None else (4, 4))
    assert 0 < info.accept_prob.mean() < 1
    compared = (known, info), (other, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *compared)


def test_moves_to_points_that_are_not_finite_are_refused_and_reported():
    def potential(x, key):
        return jnp.where(x > 1.0, jnp.nan, x**2), None

    for metropolize in (True, False):
        sampler = Langevin(
            potential, Mirror(mirror_map(nc.real, (), float)), 0.5, metropolize=metropolize
        )
        state = sampler.init(jnp.asarray(0.9), jax.random.key(0))

        def step(state, key, sampler=sampler):
            state, info = sampler.step(key, state)
            return state, (state, info)

        keys = jax.random.split(jax.random.key(1), 500)
        states, infos = jax.lax.scan(step, state, keys)[1]
        assert bool(jnp.all(states.position <= 1.0))
        assert 0 < int(infos.nonfinite.sum()) < 500
        assert bool(jnp.all(infos.accept_prob[infos.nonfinite] == 0))


def test_acceptance_of_unusable_ratios_is_zero():
    ratio = jnp.array([0.0, -1.0, jnp.nan, jnp.inf, -jnp.inf])
    finite = jnp.array([False, True, True, True, True])
    np.testing.assert_allclose(acceptance(ratio, finite), [0, np.exp(-1), 0, 1, 0], rtol=1e-6)
