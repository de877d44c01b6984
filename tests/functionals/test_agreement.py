"""`check_functional` passes functionals of every kind, and names what is wrong with others."""

import jax
import jax.numpy as jnp
import pytest

from mmfld_ppl import Measure
from mmfld_ppl.functionals import Functional, Linearization, PathSpace, check_functional
from tests.functionals.test_functional_laws import TABLE, V, W, X, Z
from tests.functionals.test_variation import half_blind, masked

MU, NU = (Measure.uniform(jnp.array(x)) for x in ([0.1, 0.7, 0.4], [0.5, 0.9, 0.2]))


@pytest.mark.parametrize("name", ["pytree points", "autodiff", "mixture", "barycenter"])
def test_functionals_that_are_right(name: str) -> None:
    row = TABLE[name]
    mu, nu = Measure(row.pack(jnp.asarray(X[:4])), W[:4]), Measure(row.pack(jnp.asarray(Z)), V)
    check_functional(row.build(), *jax.tree.map(lambda x: x.astype(jnp.float32), (mu, nu)))


class Variance(Functional):
    """Of the points; its carry is the last mean."""

    def linearize(self, measure, carry=None, key=None):
        mean = measure.mean(measure.points)
        return Linearization(measure.mean((measure.points - mean) ** 2), mean, mean)

    def init_carry(self, measure):
        return jnp.zeros((), measure.weights.dtype)

    def first_variation(self, tangent, points):
        return (points - tangent) ** 2


class Stale(Variance):
    def linearize(self, measure, carry=None, key=None):
        value, mean, _ = super().linearize(measure)
        return Linearization(value + 0.1 * carry, mean, mean)


class Centred(Variance):
    def first_variation(self, tangent, points):
        variation = super().first_variation(tangent, points)
        return variation - jnp.mean(variation)


class Twice(Variance):
    def first_variation(self, tangent, points):
        return 2 * super().first_variation(tangent, points)


class Forgotten(Variance):
    def linearize(self, measure, carry=None, key=None):
        value, mean, carry = super().linearize(measure)
        return Linearization(value + jnp.exp(mean), mean, carry)


class Held(Variance):
    def first_variation(self, tangent, points):
        return (points - tangent) * jax.lax.stop_gradient(points - tangent)


class Shifted(Variance):
    def linearize(self, measure, carry=None, key=None):
        value, mean, carry = super().linearize(measure)
        return Linearization(value + 1e4, mean, carry)


class Undefined(Variance):
    def first_variation(self, tangent, points):
        return jnp.log(points - 0.3)


WRONG = {
    "average over the atoms": (half_blind, r"linearize\(\).value .* in two halves"),
    "of squared weights": (lambda mu: mu.weights @ mu.weights, r"linearize\(\).value"),
    "no derivative": (masked, "the values of first_variation .* derivative of F"),
    "answer by the carry": (Stale(), "carry=.* of Stale: wrong by .* never the answer"),
    "centred": (Centred(), "first_variation of Centred: .* point j alone"),
    "twice": (Twice(), "the values of first_variation of Twice: wrong by 0.5"),
    "forgotten term": (Forgotten(), "the values of first_variation of Forgotten"),
    "stopped gradient": (Held(), "the gradient of first_variation of Held: wrong by 1 "),
    "not finite": (Undefined(), "first_variation of Undefined is not finite"),
    "constant": (Shifted(), "rounding may explain .* double precision"),
}


def test_what_is_tampered_with_is_right_itself() -> None:
    check_functional(Variance(), MU, NU)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    functional, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        check_functional(functional, MU, NU)


def test_blocks_stay_blocks() -> None:
    """Path space is a function of one measure for each time."""
    snapshots = [jnp.array([0.0, 0.2]), jnp.array([1.1]), jnp.array([1.9, 2.2])]
    path = PathSpace(snapshots, [0.0, 1.0, 2.5], diffusivity=0.5, bandwidth=0.3, regularization=1.0)
    mu, nu = (Measure.uniform(jnp.array(x)) for x in ([0, 0.5, 1, 1.2, 2, 2.2], [0.3] * 6))
    check_functional(path, mu, nu)
    with pytest.raises(ValueError, match="in 3 equal block"):
        check_functional(path, MU, Measure.uniform(jnp.ones(4)))


def test_measures_of_other_sizes() -> None:
    with pytest.raises(ValueError, match="of as many atoms each, in 1 equal block"):
        check_functional(Variance(), MU, Measure.uniform(jnp.ones(2)))
