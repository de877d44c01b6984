"""Angles: what is said of a law on the circle does not depend on where the circle is cut."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from numpyro.diagnostics import effective_sample_size

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset, diagnose, summary, to_inference_data
from mmfld_ppl.inference_data.angles import mean_direction
from mmfld_ppl.inference_data.groups import from_groups
from mmfld_ppl.plots import line_density
from tests.helpers import run

CIRCLE = "Circular(lower_bound=-3.141592653589793, upper_bound=3.141592653589793)"


def exported(centre: float):
    """Draws of a von Mises law, in a particle plate."""
    x = np.random.default_rng(0).vonmises(centre, 4.0, (2, 50, 40))
    attrs = {"particle_plate": "atom", "supports": json.dumps({"x": CIRCLE})}
    posterior = xr.Dataset({"x": (("chain", "draw", "atom"), x)}, attrs=attrs)
    return from_groups({"posterior": posterior}, {})


def test_averages_are_about_the_mean_direction() -> None:
    here, there = (summary(exported(c)) for c in (0.0, np.pi))
    turns = (there.loc["mean(x)", "mean"] - here.loc["mean(x)", "mean"]) / np.pi
    assert abs(turns) == pytest.approx(1)
    columns = ["sd", "ess_bulk", "r_hat"]
    np.testing.assert_allclose(there.loc["mean(x)", columns], here.loc["mean(x)", columns])
    np.testing.assert_allclose(there.loc["sd(x)"], here.loc["sd(x)"])


def test_numbers_beside_an_angle_in_one_vector_stay_numbers() -> None:
    x = np.random.default_rng(0).normal(0, 30, (2, 50, 2))
    attrs = {"supports": json.dumps({"x": f"independent(Cat(({CIRCLE}, Real())), 1)"})}
    posterior = xr.Dataset({"x": (("chain", "draw", "part"), x)}, {"part": [0, 1]}, attrs)
    table = summary(from_groups({"posterior": posterior}, {}))
    assert table.loc["x[1]", "sd"] == pytest.approx(x[..., 1].std(ddof=1), rel=0.05)


def test_a_density_goes_round_the_circle() -> None:
    """It meets itself at the cut, where a reflected one is flat and too high."""
    ax = line_density(exported(2.8))
    for line in ax.lines[::2]:
        x, y = line.get_xydata().T
        np.testing.assert_allclose([x[0], x[-1]], [-np.pi, np.pi], atol=0.01)
        assert y.sum() * (x[1] - x[0]) == pytest.approx(1)
        slope = (y[1] - y[0], y[0] - y[-1], y[-1] - y[-2])
        assert max(slope) < 0
        assert abs(slope[1]) < 2 * abs(slope[0] + slope[2])
    plt.close(ax.figure)


def along(centre: float, concentration: float) -> None:
    """Von Mises particles beside a half-line."""
    with mm.particles("atom", 60):
        x = numpyro.sample("x", dist.VonMises(0.0, 1e-3))
        y = numpyro.sample("y", dist.Gamma(2.0, 1.0))

    def F(measure):
        towards = jnp.cos(measure.points["x"] - centre)
        return -concentration * jnp.sum(measure.weights * towards)

    mm.objective("F", F, {"x": x, "y": y}, temperature=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [0.3, 3.0])
def test_a_run_with_its_mass_at_the_cut_is_right(concentration: float) -> None:
    """With the measure that it should have, no check of the measure has anything to say."""
    mcmc = run(mm.MMFLD(along), np.pi, concentration, warmup=300, draws=300)
    idata = to_inference_data(mcmc, diagnostics=True)
    checks = {check.name: check for check in diagnose(idata).checks}
    assert checks["fixed point"].verdict == "ok", checks["fixed point"]
    # By chance one value in a hundred is as small; of a wrong kernel all are 0.001.
    assert dataset(idata, "mean_field")["stein_p_value"].max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dense_mass", [False, True])
def test_an_angle_that_is_free_does_not_shorten_other_steps(dense_mass: bool) -> None:
    """Its points go round and round, which is no width of its law."""

    def model(size):
        if size:
            numpyro.sample("phase", dist.VonMises(jnp.zeros(size), 1e-3))
        numpyro.sample("y", dist.Normal(jnp.zeros(5), 1.0))

    def effective_draws(size):
        mcmc = run(mm.MMFLD(model, dense_mass=dense_mass), size, warmup=500, draws=500, chains=4)
        return effective_sample_size(mcmc.get_samples(group_by_chain=True)["y"]).min()

    assert effective_draws(3) > 0.4 * effective_draws(0)


def test_an_angle_that_is_not_a_number_leaves_the_others() -> None:
    angles = np.array([3.0, -3.0, np.nan, np.inf])
    assert abs(mean_direction(angles, 0)) == pytest.approx(np.pi)
