"""Sums, multiples, plain functions, and how misuse is explained."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.functionals import (
    Autodiff,
    EmpiricalRisk,
    Functional,
    OfMean,
    Pushforward,
    Scaled,
    Sum,
    as_functional,
)
from mmfld_ppl.measures import Measure

MU = Measure.uniform(jnp.array([1.0, 3.0]))
SQUARE = OfMean(lambda m: m**2)


def spread(mu):
    return mu.mean(mu.points**2)


def test_functions_join_in_sums_from_either_side():
    for functional in (SQUARE + spread, spread + SQUARE, SQUARE - (-1.0 * as_functional(spread))):
        assert isinstance(functional, Functional)
        np.testing.assert_allclose(functional(MU), 4 + 5)


def test_the_sum_of_a_list():
    assert sum([SQUARE]) is SQUARE
    np.testing.assert_allclose(sum([SQUARE, as_functional(spread), 2 * SQUARE])(MU), 4 + 5 + 8)


@pytest.mark.parametrize("scale", [2, 2.0, np.float64(2), jnp.float32(2)])
def test_a_multiple_keeps_the_precision_of_the_functional(scale, x64):
    mu = Measure.uniform(jnp.array([1, 3], jnp.float32))
    value, tangent, _ = (scale * SQUARE).linearize(mu)
    assert value == 8 and value.dtype == jnp.float32
    assert (scale * SQUARE).first_variation(tangent, mu.points).dtype == jnp.float32
    assert (SQUARE / scale)(mu) == 2 and (SQUARE / scale)(mu).dtype == jnp.float32


def test_a_sum_threads_the_carry_and_splits_the_key():
    class Counter(Functional):
        """Counts its linearisations; its value is the sum of its key."""

        def linearize(self, measure, carry=None, key=None):
            from mmfld_ppl.functionals import Linearization

            return Linearization(jax.random.uniform(key), carry, carry + 1)

        def first_variation(self, tangent, points):
            return jnp.full(len(points), tangent)

        def init_carry(self, measure):
            return jnp.zeros(())

        @property
        def stochastic(self):
            return True

    total = Sum((Counter(), Scaled(Counter(), jnp.asarray(10.0)), SQUARE))
    assert total.stochastic and not SQUARE.stochastic
    carry, key = total.init_carry(MU), jax.random.key(0)
    for count in range(3):
        value, tangent, carry = total.linearize(MU, carry, key)
        np.testing.assert_allclose(
            total.first_variation(tangent, jnp.zeros(2)), np.full(2, 11.0 * count)
        )
    first, second, _ = jax.vmap(jax.random.uniform)(jax.random.split(key, 3))
    np.testing.assert_allclose(value, first + 10 * second + 4, rtol=1e-6)


def test_a_function_that_ignores_the_weights_is_refused():
    with pytest.raises(ValueError, match="never reads the weights"):
        Autodiff(lambda mu: jnp.mean(mu.points) ** 2).linearize(MU)
    with pytest.raises(ValueError, match="never reads the weights"):
        jax.jit(lambda x: Autodiff(lambda mu: x.sum())(Measure.uniform(x)))(MU.points)
    # Reading them inside of a nested function counts.
    assert Autodiff(jax.jit(spread))(MU) == 5


class Distance(eqx.Module):
    """A function with parameters."""

    target: jax.Array

    def __call__(self, mu):
        return (mu.mean(mu.points) - self.target) ** 2


def test_a_function_may_have_arrays_of_its_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional = as_functional(Distance(jnp.array(0.5)))
    value = eqx.filter_jit(lambda functional, mu: functional(mu))
    slope = eqx.filter_grad(lambda functional: functional(MU))(functional)
    assert value(functional, MU) == 1.5**2 and slope.function.target == -2 * 1.5


@pytest.mark.parametrize(
    ("functional", "message"),
    [
        (Autodiff(lambda mu: mu.weights), r"given as a function must give one number.*\(2,\)"),
        (OfMean(lambda m: m[None]), r"outer function of OfMean must give one number.*\(1,\)"),
        (OfMean(potential=lambda x: x[None]), r"potential of OfMean must give one number.*\(1,\)"),
        (
            EmpiricalRisk(lambda m, z: m * jnp.ones(3), lambda x, z: x * z, data=jnp.ones(4)),
            r"loss of EmpiricalRisk must give one number.*\(3,\)",
        ),
        (
            Autodiff(lambda mu: jnp.sum(mu.weights > 0)),
            "given as a function must give a real number, got int32, which has no gradient",
        ),
        (OfMean(lambda m: m + 1j), "outer function of OfMean must give a real number, got complex"),
    ],
)
def test_values_that_are_not_numbers(functional, message):
    with pytest.raises(ValueError, match=message):
        functional(MU)


def test_a_constant_of_the_mean():
    value, tangent, _ = OfMean(lambda m: 3.0).linearize(MU)
    assert value == 3 and not jnp.any(OfMean(lambda m: 3.0).first_variation(tangent, MU.points))


def test_what_is_not_a_functional():
    with pytest.raises(
        TypeError, match="expected a Functional or a callable of a Measure, got int"
    ):
        as_functional(3)
    with pytest.raises(TypeError, match="got int"):
        sum([SQUARE, SQUARE], start=1)
    with pytest.raises(TypeError, match="scaled by one number"):
        SQUARE * SQUARE
    with pytest.raises(TypeError, match="scaled by one number"):
        jnp.ones(3) * SQUARE
    for divisor in (SQUARE, np.ones(3), "2", None):
        with pytest.raises(TypeError, match="scaled by one number"):
            SQUARE / divisor
    with pytest.raises(TypeError, match=r"got the class OfMean: pass an instance, OfMean\(...\)"):
        as_functional(OfMean)
    with pytest.raises(TypeError, match="the functional and then the map of one point, got OfMean"):
        Pushforward(lambda x: x, SQUARE)
    with pytest.raises(ValueError, match="an outer function of the mean, a potential, or both"):
        OfMean()
