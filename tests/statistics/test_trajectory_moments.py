"""The run of the trajectory model against the estimator that it stands for, on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmfld_ppl as mm
from models.trajectory import starting_cells, trajectory
from tests.functionals.oracles import path_marginals
from tests.helpers import run, z_score


@pytest.mark.slow
def test_marginals_are_those_of_the_path_space_problem():
    """First two moments of each marginal, with unequal gaps and snapshots, at temperature =
    diffusivity. The error of order 1/cells is below that of Monte Carlo."""
    tau, sigma, lam, times = 0.3, 0.4, 0.3, np.array([0.0, 0.5, 2.0])
    snapshots = [
        np.array([[-1.0], [-0.7], [-1.2], [0.4]]),
        np.array([[0.1]]),
        np.array([[1.2]] * 3),
    ]
    weights = np.array([4, 1, 3]) / 8
    grid = (np.arange(160)[:, None] + 0.5) / 40 - 2
    exact = path_marginals(grid, snapshots, weights, times, tau, sigma, lam)
    base = mm.distributions.UniformBox(-2 * jnp.ones(1), 2 * jnp.ones(1))
    setting = {"diffusivity": tau, "bandwidth": sigma, "regularization": lam, "cells": 100}
    mcmc = run(
        mm.MMFLD(trajectory),
        snapshots,
        chains=24,
        warmup=600,
        draws=60,
        init_params=starting_cells(
            jax.random.key(0), snapshots, times, cells=100, base=base, bandwidth=sigma, chains=24
        ),
        model_kwargs={"times": times, "base": base, **setting},
    )
    x = np.asarray(mcmc.get_samples(group_by_chain=True)["x"], float).reshape(24, 60, 3, -1)
    for power in (1, 2):
        for t in range(3):
            moments = (x[:, :, t] ** power).mean(axis=-1)
            z = z_score(moments, exact[t] @ grid[:, 0] ** power)
            assert abs(z) < 5
