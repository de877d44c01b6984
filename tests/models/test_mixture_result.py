"""What follows from a run of `models.mixture`, where that cannot be had."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from models.mixture import mixture
from models.mixture_result import mixture_result
from tests.helpers import run


def test_a_kernel_that_cannot_be_drawn_from():
    counts = np.array([[3, 1], [2, 5], [0, 2]])
    settings = {
        "data": counts,
        "kernel": lambda theta, total: dist.Multinomial(total_count=total, probs=theta),
        "base": dist.Dirichlet(jnp.ones(2)),
        "covariates": counts.sum(axis=1),
    }
    model = settings | {"particles": 4, "temperature": 0.1}
    mcmc = run(mm.MMFLD(mixture), model_kwargs=model)
    with pytest.raises(ValueError, match="could not: .* takes total_count_max="):
        mixture_result(mm.to_inference_data(mcmc), **settings)
