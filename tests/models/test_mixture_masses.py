"""Mixtures whose particles have masses: the loss, and what weighs by them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.handlers import seed, trace
from numpyro.infer import init_to_sample
from scipy import stats

import mmfld_ppl as mm
from models.mixture import mixture
from tests.helpers import run

VISITS = np.array([0, 0, 0, 1, 1, 2, 5, 9, 0, 3])
GAMMA = dist.Gamma(1.0, 0.3)
MASSES = dist.Exponential(1.0)


def test_masses():
    """The loss is that of the measure that the masses make, and least at a mean mass of one."""
    traced = trace(seed(mixture, jax.random.key(0))).get_trace(
        VISITS, dist.Poisson, GAMMA, masses=MASSES, particles=5
    )
    stated = traced["loss"]["infer"]["objective"]
    theta, mass = map(np.asarray, stated.points)
    mass = mass / mass.mean()
    p = (mass[:, None] * stats.poisson.pmf(VISITS, theta[:, None])).mean(axis=0)
    for scale in (0.5, 1.0, 2.0):
        value = stated.functional(mm.Measure.uniform((jnp.asarray(theta), scale * mass)))
        np.testing.assert_allclose(
            value, -np.log(p).mean() - np.log(scale) + scale - 1, rtol=1e-4, atol=1e-5
        )


def test_summaries_and_pictures_know_the_masses():
    mcmc = run(
        mm.MMFLD(mixture, init_strategy=init_to_sample),
        VISITS,
        dist.Poisson,
        GAMMA,
        draws=10,
        model_kwargs={"masses": MASSES, "particles": 10, "temperature": 0.05},
    )
    idata = mm.to_inference_data(mcmc)
    draws = mcmc.get_samples()
    theta, share = draws["theta"], draws["mass"] / draws["mass"].sum(-1, keepdims=True)
    mean = (share * theta).sum(-1).mean()
    assert mm.summary(idata).loc["mean(theta)", "mean"] == pytest.approx(float(mean), rel=1e-4)
    line = mm.plots.mixing_distribution(idata).lines[0]
    middle = len(line.get_xdata()) // 2
    below = (share * (theta <= line.get_xdata()[middle])).sum(-1).mean()
    assert line.get_ydata()[middle] == pytest.approx(float(below), rel=1e-4)
    with pytest.raises(ValueError, match="the run has no site 'm'"):
        mm.plots.mixing_distribution(idata, mass="m")
