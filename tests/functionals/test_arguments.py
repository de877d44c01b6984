"""What functionals call the functions of users with: others are refused when they are given."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from mmfld_ppl.functionals import KSD, MMD, EmpiricalRisk, Interaction, MixtureLikelihood, OfMean
from mmfld_ppl.measures import Measure

DATA = jnp.array([0.5, -1.0, 2.0, 0.1, 3.0])
MU = Measure.uniform(jnp.array([-0.5, 0.4, 1.5]))

LOSS = {"loss": lambda mean, z: (mean - z[0]) ** 2, "feature": lambda x, z: x * z[0]}


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"loss": lambda mean: mean**2}, r"loss of EmpiricalRisk is called as loss\(mean, datum\)"),
        ({"feature": lambda x: x}, r"feature of EmpiricalRisk is called as feature\(x, datum\)"),
        ({"potential": lambda x, z: x * z}, r"potential of EmpiricalRisk is called as potential"),
    ],
)
def test_functions_of_other_arguments(functions, message):
    with pytest.raises(TypeError, match=message):
        EmpiricalRisk(data=DATA[:, None], **(LOSS | functions))
    with pytest.raises(TypeError, match=r"log density .* log_density\(x, datum\), and does not"):
        MixtureLikelihood(lambda z: -(z**2), DATA)


@pytest.mark.parametrize(
    ("make", "called"),
    [
        (lambda: OfMean(lambda x, y: x), r"outer function of OfMean .* outer\(mean\)"),
        (lambda: OfMean(potential=lambda: 1.0), r"potential of OfMean .* potential\(x\)"),
        (lambda: OfMean(lambda m: m, lambda x, y: x), r"feature of OfMean .* feature\(x\)"),
        (lambda: OfMean(5.0), "does not take that: 5.0 is not a callable object"),
        (lambda: Interaction(lambda x: x), r"kernel of an interaction .* kernel\(x, y\)"),
        (lambda: MMD(MU, lambda x: x), r"kernel of MMD .* kernel\(x, y\)"),
        (lambda: KSD(lambda x: x, lambda x: x), r"kernel of KSD .* kernel\(x, y\)"),
        (lambda: KSD(lambda x, y: x, lambda x, y: x), r"log density of KSD .* log_density\(x\)"),
    ],
)
def test_functions_of_points_of_other_arguments(make, called):
    with pytest.raises(TypeError, match=called):
        make()


def test_functions_whose_arguments_are_in_another_order():
    """What is raised is what went wrong inside, with a note."""
    swapped = {"loss": lambda z, mean: (mean - z[0]) ** 2}
    with pytest.raises((IndexError, TypeError)) as caught:
        jax.jit(lambda mu: EmpiricalRisk(data=DATA[:, None], **(LOSS | swapped))(mu))(MU)
    note = "the loss of EmpiricalRisk was called as loss(mean, datum), with arguments of shape ()"
    assert any(note in line for line in caught.value.__notes__)


def test_what_goes_wrong_inside_is_told_how_it_was_called():
    """As with a list in the place of an array."""
    with pytest.raises(TypeError) as caught:
        jax.jit(OfMean(lambda mean: jnp.sum((mean - [0.5, 0.5]) ** 2)))(MU)
    assert "the outer function of OfMean was called as outer(mean)" in caught.value.__notes__[0]


def test_a_function_that_says_nothing_of_its_arguments_is_taken():
    EmpiricalRisk(data=DATA[:, None], **(LOSS | {"loss": max}))


def test_a_class_may_be_a_function():
    class Pair(NamedTuple):
        x: Array

    OfMean(lambda mean: mean.x**2, Pair)(MU)
