"""Plain functions of a measure whose first variation is not what differentiation gives."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.functionals import (
    MMD,
    Composition,
    Functional,
    Interaction,
    Linearization,
    MixtureLikelihood,
    OfMean,
    Pushforward,
    as_functional,
)
from mmfld_ppl.functionals.variation import require_first_variation

DATA = jnp.array([0.1, 0.4, 0.8])
FIT = MixtureLikelihood(lambda x, z: -50 * (z - x) ** 2, DATA)
SQUARE = OfMean(lambda m: m**2)


def logs(mu):
    return -50 * (DATA - mu.points[:, None]) ** 2


def masked(mu):
    return -jnp.mean(jax.nn.logsumexp(logs(mu), axis=0, b=mu.weights[:, None]))


def of_log_weights(mu):
    return -jnp.mean(jax.nn.logsumexp(logs(mu) + jnp.log(mu.weights)[:, None], axis=0))


def direct(mu):
    return -jnp.mean(jnp.log(mu.mean(jnp.exp(logs(mu)))))


def half_blind(mu):
    return (jnp.mean(mu.points) - 0.8) ** 2 + 0.05 * mu.mean((mu.points - 0.5) ** 2)


def energy(mu):
    """Not differentiable where two atoms meet."""
    return -mu.weights @ jnp.abs(mu.points[:, None] - mu.points) @ mu.weights


def cramer(mu):
    """Sorts its atoms."""
    jumps = jnp.concatenate([mu.points, DATA])
    masses = jnp.concatenate([mu.weights, jnp.full(3, -1 / 3)])
    order = jnp.argsort(jumps)
    return jnp.sum(jnp.cumsum(masses[order]) ** 2 * jnp.diff(jnp.append(jumps[order], 2.0)))


def one_way(x, y):
    return x**2 * y


def both_ways(x, y):
    return (one_way(x, y) + one_way(y, x)) / 2


NO_DERIVATIVE, MOVES = "has no derivative in the weight", "changes when atoms that weigh nothing"


def measure(size):
    return mm.Measure.uniform(jax.random.uniform(jax.random.key(size), (size,)))


@pytest.mark.parametrize("size", [5, 200])
@pytest.mark.parametrize(
    ("functional", "message"),
    [
        (masked, NO_DERIVATIVE),
        (of_log_weights, NO_DERIVATIVE),
        (half_blind, MOVES),
        (SQUARE + 2 * as_functional(masked), NO_DERIVATIVE),
        (Composition(jnp.exp, half_blind), MOVES),
        (Pushforward(half_blind, lambda x: 2 * x), MOVES),
        (Interaction(one_way), "kernel of Interaction must be the same from x to y"),
        (SQUARE - 2 * MMD(mm.Measure.uniform(DATA), one_way), "kernel of MMD must be the same"),
    ],
)
def test_what_has_another_first_variation_is_refused(functional, message, size):
    with pytest.raises(ValueError, match=message):
        require_first_variation(as_functional(functional), measure(size))


@pytest.mark.parametrize("size", [1, 2, 5, 200])
@pytest.mark.parametrize(
    "functional",
    [
        direct,
        energy,
        cramer,
        lambda mu: FIT(mu) * SQUARE(mu),
        lambda mu: mu.weights @ mu.weights,
        Interaction(both_ways),
        MMD(mm.Measure.uniform(DATA), lambda x, y: -jnp.abs(x - y)),
    ],
)
def test_what_is_right_passes(functional, size):
    require_first_variation(as_functional(functional), measure(size))


def test_the_mean_of_both_ways_has_the_same_values():
    np.testing.assert_allclose(
        Interaction(one_way)(measure(50)), Interaction(both_ways)(measure(50)), rtol=1e-5
    )


def test_the_kernel_names_the_objective():
    def model():
        with mm.particles("atom", 20):
            x = numpyro.sample("x", dist.Uniform())
        mm.objective("fit", masked, x)

    with pytest.raises(ValueError, match=f"objective 'fit': .*{NO_DERIVATIVE}"):
        mm.MMFLD(model).init(jax.random.key(0), 10, None, (), {})


def test_a_likelihood_within_a_function_keeps_its_first_variation():
    mu, points = measure(4), jnp.linspace(0.0, 1.0, 5)

    def variation(functional):
        linear = as_functional(functional).linearize(mu)
        return as_functional(functional).first_variation(linear.tangent, points)

    np.testing.assert_allclose(variation(lambda mu: FIT(mu)), variation(FIT), rtol=1e-5)
    np.testing.assert_allclose(
        variation(lambda mu: jnp.exp(FIT(mu)) * SQUARE(mu)),
        variation(Composition(lambda f, g: jnp.exp(f) * g, FIT, SQUARE)),
        rtol=1e-5,
    )
    # In the points too, as learned parameters of the atoms need.
    slope, expected = (
        jax.grad(lambda x, f=f: f(mm.Measure(x, mu.weights)))(mu.points) for f in (FIT, direct)
    )
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_misuse_of_a_composition_is_explained():
    with pytest.raises(ValueError, match="Composition needs functionals"):
        Composition(jnp.exp)
    with pytest.raises(ValueError, match="outer function of Composition must give one number"):
        Composition(lambda f: f[None], SQUARE)(measure(2))


class Variance(Functional):
    """(of the points) times `factor` in its first variation; of no measure where it is blind."""

    factor: float = 1.0
    blind: bool = False

    def linearize(self, measure, carry=None, key=None):
        mean = measure.mean(measure.points)
        value = jnp.var(measure.points) if self.blind else measure.mean(measure.points**2) - mean**2
        return Linearization(value, mean, None)

    def first_variation(self, tangent, points):
        return self.factor * (points - tangent) ** 2


class OfMeanPoint(Functional):
    """R(m), m the mean, in words of its own."""

    outer: Callable
    shift: jax.Array

    def linearize(self, measure, carry=None, key=None):
        mean = measure.mean(measure.points) - self.shift
        value, slope = jax.value_and_grad(self.outer)(mean)
        return Linearization(value, slope, None)

    def first_variation(self, tangent, points):
        return tangent * points


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    "outer",
    [
        lambda m: m + 1000 * jax.nn.relu(m - 0.01) ** 2,
        lambda m: m + 100 * jax.nn.relu(m) ** 2,
        lambda m: jnp.maximum((m + 1) ** 2, (m - 1.2) ** 2),
        lambda m: jnp.cosh(30 * m),
    ],
)
def test_a_functional_that_bends_is_not_refused(outer, x64):
    with jax.enable_x64(x64):
        mu = mm.Measure.uniform(jnp.linspace(0.0, 1.0, 100))
        require_first_variation(OfMeanPoint(outer, jnp.asarray(0.45)), mu)
        with pytest.raises(ValueError, match="not the derivative of its values"):
            require_first_variation(SQUARE + MinusSlope(outer, jnp.asarray(0.45)), mu)


class MinusSlope(OfMeanPoint):
    def first_variation(self, tangent, points):
        return -tangent * points


def test_of_traced_data_nothing_is_asked():
    def model(data):
        with mm.particles("atom", 20):
            x = numpyro.sample("x", dist.Uniform())
        mm.objective("F", MinusSlope(jnp.square, data) + (lambda mu: mu.mean(data * mu.points)), x)

    def begin(data):
        return mm.MMFLD(model, metropolize=False).init(jax.random.key(0), 10, None, (data,), {}).i

    assert jax.jit(begin)(jnp.asarray(0.3)) == 0
    assert jax.vmap(begin)(jnp.array([0.3, 0.4])).shape == (2,)


def test_methods_that_give_or_take_something_else_are_named():
    class Columns(Variance):
        def first_variation(self, tangent, points):
            return super().first_variation(tangent, points)[:, None]

    class Bare(Variance):
        def linearize(self, measure, carry=None, key=None):
            return tuple(super().linearize(measure))

    class Keyless(Variance):
        def linearize(self, measure):
            return super().linearize(measure)

    for wrong, error, message in (
        (Columns(), ValueError, r"Columns must have one number .* got shapes \(\) and \(5, 1\)"),
        (Bare(), TypeError, "linearize of Bare must give a Linearization.*, got tuple"),
        (Keyless(), TypeError, "linearize of Keyless was called as linearize.measure, carry, key"),
        (as_functional(lambda mu: mu.weights), ValueError, "must give one number"),
    ):
        with pytest.raises(error, match=message):
            require_first_variation(wrong, measure(5))


@pytest.mark.parametrize("size", [5, 200])
@pytest.mark.parametrize(
    ("wrong", "ratio"),
    [(Variance(-1.0), "-1"), (Variance(2.0), r"0\.5"), (Variance(blind=True), "-?0")],
)
def test_a_first_variation_of_another_functional_is_refused(wrong, ratio, size):
    message = f"first variation of Variance is not the derivative.* are {ratio} times"
    for whole in (wrong, SQUARE + 2 * wrong, Pushforward(wrong, lambda x: 2 * x)):
        with pytest.raises(ValueError, match=message):
            require_first_variation(whole, measure(size))
    require_first_variation(SQUARE + Variance(), measure(size))
