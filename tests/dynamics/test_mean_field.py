"""The collective ratio: what it sees, and what it must not."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import mmfld_ppl as mm
from mmfld_ppl.dynamics.mean_field import collective_ratio
from mmfld_ppl.functionals import OfMean
from tests.helpers import run


def test_rounding_alone_is_no_overshoot() -> None:
    """F rises by one unit of rounding where nothing was predicted."""
    for level in (1.0, 1e3, 1e9):
        before = jnp.asarray(level, jnp.float32)
        after = jnp.nextafter(before, jnp.inf)
        assert 0 <= collective_ratio((before, after), jnp.zeros(()), 1e20) < 1


def test_curvature_is_seen(x64) -> None:
    """A step that rises by twice what it was to fall by, at a scale where noise says nothing."""
    ratio = collective_ratio((jnp.asarray(1.0), jnp.asarray(1.2)), jnp.asarray(-0.1), 1e6)
    np.testing.assert_allclose(ratio, 6, rtol=1e-4)


def test_a_constant_in_the_objective_changes_no_step() -> None:
    """In single precision F + 10,000 has noise of N / temperature times 1e-3, a thousand in all."""
    target = jnp.array([0.5, 0.3, 0.2])

    def model(constant: float) -> None:
        with mm.particles("atom", 2_000):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        F = OfMean(outer=lambda m: constant + jnp.sum((m - target) ** 2))
        mm.objective("F", F, x, temperature=0.01)

    found = []
    for constant in (0.0, 1e4):
        mcmc = run(mm.MMFLD(model), constant, warmup=300, draws=50)
        found.append(np.mean(mcmc.get_extra_fields()["step_size"]))
    assert found[1] > found[0] / 1.5
