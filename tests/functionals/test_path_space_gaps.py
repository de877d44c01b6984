"""The gaps of a path, one by one or in a batch: the same answer, and the memory that it takes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl import devices
from mmfld_ppl.functionals import transport
from mmfld_ppl.functionals.path_space import PathSpace
from mmfld_ppl.measures import Measure
from tests.functionals.test_path_space import ATOMS, GROWTH, POINTS, build, family, mixed


@pytest.mark.parametrize("growth", GROWTH)
def test_gaps_one_by_one_or_in_a_batch(x64, growth, monkeypatch):
    """As on a CPU and elsewhere, where all problems keep a device busy together, or two of them."""
    mu, results = family(ATOMS, mixed(0.4)), []
    F = build(GROWTH[growth])
    two = 2 * (mu.size // F.num_times) ** 2

    def value(x):
        out = F.linearize(Measure(x, mu.weights))
        return out.value, out.tangent

    def field(x, tangent):
        return jax.jacobian(lambda x: F.first_variation(tangent, x))(x)

    for platform, busy in (("cpu", transport.BUSY), ("gpu", transport.BUSY), ("gpu", two)):
        device = SimpleNamespace(platform=platform)
        monkeypatch.setattr(devices, "default_device", lambda device=device: device)
        monkeypatch.setattr(transport, "BUSY", busy)
        (total, tangent), in_points = jax.jit(jax.value_and_grad(value, has_aux=True))(mu.points)
        there = jax.jit(lambda *given: field(*given))(POINTS, tangent)  # Traced for this device.
        results.append((total, tangent, in_points, there, F.couplings(mu), F.report(mu)))
    for one, *others in zip(*map(jax.tree.leaves, results), strict=True):
        for other in others:
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.optimised
def test_memory_is_that_of_one_gap():
    """Of a value and a gradient of the first variation, as in a step, and of a gradient in the
    points of a measure: less than a quarter of what the costs of all gaps would take. With enough
    particles for a gap to outweigh what is kept for each of them, as compilers differ in it."""
    times, m = 40, 256
    options = {"diffusivity": 1.0, "bandwidth": 1.0, "regularization": 1.0}
    F = PathSpace([POINTS] * times, np.arange(times), **options)
    x = jnp.zeros((times * m, 2))

    def held(function):
        return jax.jit(function).lower(x).compile().memory_analysis().temp_size_in_bytes

    def field(x):
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, jax.grad(lambda x: F.first_variation(tangent, x).sum())(x)

    def in_points(x):
        return jax.grad(lambda x: F(Measure.uniform(x)))(x)

    assert max(held(field), held(in_points)) < (times - 1) * m**2 * x.dtype.itemsize / 4
