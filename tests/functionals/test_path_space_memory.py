"""What a step of trajectory inference holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl import Measure
from mmfld_ppl.functionals import PathSpace


@pytest.mark.optimised
def test_memory_is_that_of_one_gap():
    """Of a value and a gradient of the first variation, as in a step, and of a gradient in the
    points of a measure: less than half of what the costs of all gaps would take."""
    times, m = 40, 64
    cells = np.array([[0.0, 0.5], [1.0, 0.0]])
    options = {"diffusivity": 1.0, "bandwidth": 1.0, "regularization": 1.0}
    F = PathSpace([cells] * times, np.arange(times), **options)
    x = jnp.zeros((times * m, 2))

    def held(function):
        return jax.jit(function).lower(x).compile().memory_analysis().temp_size_in_bytes

    def field(x):
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, jax.grad(lambda x: F.first_variation(tangent, x).sum())(x)

    def in_points(x):
        return jax.grad(lambda x: F(Measure.uniform(x)))(x)

    assert max(held(field), held(in_points)) < (times - 1) * m**2 * x.dtype.itemsize / 2
