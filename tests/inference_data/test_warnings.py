"""When a conversion warns, and when it does not."""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset, export, to_inference_data
from tests.helpers import run
from tests.inference_data.models import cloud


def test_a_healthy_run_says_nothing(mixed_run, cloud_run, nuts_run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mcmc in (mixed_run, cloud_run, nuts_run):
            to_inference_data(mcmc)


def test_a_log_likelihood_that_memory_does_not_hold(mixed_run, monkeypatch) -> None:
    # Five observations at 2 x 20 draws, in single precision, and their copy.
    asked = []
    monkeypatch.setattr(export, "fits", lambda *counts: asked.append(counts))
    monkeypatch.setattr(export, "available", lambda: 1000.0)
    with pytest.warns(UserWarning, match="takes 1.6 kB, and 1 kB of memory are free"):
        to_inference_data(mixed_run, log_likelihood=True)
    assert asked == [(5 * 2 * 20 * 4,) * 2]


def test_particles_that_overshoot_together() -> None:
    # The mean oscillates: the step is long for the objective, and short for each particle.
    def model():
        cloud(temperature=0.001)

    kernel = mm.MMFLD(model, step_size=0.002, adapt_step_size=False, adapt_metric=False)
    mcmc = run(kernel, warmup=0)
    with pytest.warns(UserWarning, match="overshoot together in chains 0, 1") as caught:
        to_inference_data(mcmc)
    assert caught[0].filename == __file__


def test_moves_to_where_something_is_not_finite() -> None:
    def cliff():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("cliff", jnp.where(x > 0.5, jnp.nan, 0.0))

    kernel = mm.MMFLD(cliff, step_size=0.5, adapt_step_size=False, adapt_metric=False)
    mcmc = run(kernel, warmup=0, draws=50)
    count = int(mcmc.get_extra_fields()["diverging"].sum())
    with pytest.warns(UserWarning, match=f"{count} of 100 draws had moves that were refused"):
        to_inference_data(mcmc)


@pytest.mark.parametrize(("step", "words"), [(1e4, "too long"), (1e-6, "so short")])
def test_acceptance_at_either_end(step, words) -> None:
    def normal():
        numpyro.sample("x", dist.Normal(0.0, 1.0).expand([5]).to_event(1))

    kernel = mm.MMFLD(normal, step_size=step, adapt_step_size=False, adapt_metric=False)
    with pytest.warns(UserWarning, match=words):
        to_inference_data(run(kernel, warmup=0))
    unadjusted = mm.MMFLD(normal, step_size=1e-6, metropolize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_inference_data(run(unadjusted, warmup=0))


def test_draws_that_are_all_zero_are_draws() -> None:
    def model() -> None:
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.deterministic("far", x > 50)

    idata = to_inference_data(run(mm.MMFLD(model), fields=("~z.x",)))
    assert not np.any(dataset(idata, "posterior")["far"])
