"""The number of components in effect, against overlaps in closed form."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmfld_ppl.diagnostics.components import effective_components

THETA, WEIGHTS = np.array([-1.0, 0.5, 0.5, 4.0]), np.array([0.4, 0.1, 0.2, 0.3])


def test_normal_components_overlap_as_they_should() -> None:
    # int sqrt(k_i k_j) = exp(-(theta_i - theta_j)^2 / 8) for variance 1; by the trapezoid rule.
    z = np.linspace(-10, 14, 4001)
    log_k = stats.norm.logpdf(z, THETA[:, None])
    found = effective_components(
        jnp.asarray(log_k), jnp.log(WEIGHTS), counts=jnp.asarray(WEIGHTS @ np.exp(log_k))
    )
    overlap = np.exp(-((THETA[:, None] - THETA) ** 2) / 8)
    assert float(found) == pytest.approx(1 / (WEIGHTS @ overlap @ WEIGHTS), rel=1e-4)


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 1.0), (1e3, 5.0)])
def test_atoms_that_coincide_and_atoms_apart(spread, expected) -> None:
    theta = spread * np.repeat(np.arange(5), 4)
    z = spread * np.arange(5) + 0.3
    log_k = jnp.asarray(stats.norm.logpdf(z, theta[:, None]))
    found = effective_components(log_k, jnp.full(20, -np.log(20)))
    assert float(found) == pytest.approx(expected, rel=1e-4)
