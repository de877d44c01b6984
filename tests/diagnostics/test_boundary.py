"""The share of particles at a boundary."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.diagnostics import boundary_fraction


def test_counts_what_is_within_eps() -> None:
    slack = jnp.array([[0.0, 0.1, 0.2, 0.3], [-0.1, jnp.nan, 0.5, jnp.inf]])
    np.testing.assert_allclose(boundary_fraction(slack, 0.0), [0.25, 0.5])
    np.testing.assert_allclose(boundary_fraction(slack, 0.2), [0.75, 0.5])


def test_a_negative_eps_is_refused() -> None:
    with pytest.raises(ValueError, match="eps must not be negative"):
        boundary_fraction(jnp.ones(3), -0.1)
