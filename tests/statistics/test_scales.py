"""Parameters on scales from 1e-3 to 1e3 mix about as fast as the same parameters on unit scales."""

from __future__ import annotations

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import init_to_sample

from mmfld_ppl import MMFLD

from .helpers import assert_law, compare_all, run_kernel

pytestmark = pytest.mark.slow

CHAINS, STEPS = 64, 8000

#: Site: its scales in the rescaled and in the wide model.
WIDE = {"tiny": 1e-3, "large": 1e3, "far": 10.0, "location": 1e-2, "short": 1e-3}
UNIT = dict.fromkeys(WIDE, 1.0)


def _model(scale, center):
    numpyro.sample("tiny", dist.Normal(0.0, scale["tiny"]))
    numpyro.sample("large", dist.HalfNormal(scale["large"]))
    # Mean 100 and standard deviation 1 in units of the scale: far from the boundary.
    numpyro.sample("far", dist.Gamma(1e4, 100 / scale["far"]))
    numpyro.sample("location", dist.Normal(center, scale["location"]))
    numpyro.sample("short", dist.Uniform(0.0, scale["short"]))


def _run(scale, center, init_strategy):
    draws = run_kernel(
        MMFLD(lambda: _model(scale, center), init_strategy=init_strategy),
        jax.random.key(0),
        chains=CHAINS,
        warmup=1000,
        draws=STEPS // 2,
        thin=2,
    )
    print({name: f"{_per_step(draws, name):.5f}" for name in scale})
    return draws


def _per_step(draws, name) -> float:
    """Effective draws of a site, for each step of each chain."""
    return float(effective_sample_size(draws[name].astype(np.float64))) / (CHAINS * STEPS)


def _assert_moments(draws) -> None:
    assert_law(
        compare_all(
            draws,
            {
                "E (tiny / 1e-3)^2": (lambda d: (d["tiny"] / 1e-3) ** 2, 1.0),
                "E large / 1e3": (lambda d: d["large"] / 1e3, np.sqrt(2 / np.pi)),
                "E far / 1e3": (lambda d: d["far"] / 1e3, 1.0),
                "E ((far - 1e3) / 10)^2": (lambda d: ((d["far"] - 1e3) / 10.0) ** 2, 1.0),
                "E (location - 1e3) / 1e-2": (lambda d: (d["location"] - 1000.0) / 1e-2, 0.0),
                "E short / 1e-3": (lambda d: d["short"] / 1e-3, 0.5),
            },
        )
    )


def test_wide_scales_cost_at_most_a_factor_of_two() -> None:
    draws = _run(WIDE, 1000.0, init_to_sample)
    reference = _run(UNIT, 0.0, init_to_sample)
    wide, unit = (min(_per_step(d, name) for name in WIDE) for d in (draws, reference))
    print(f"least ESS a step: {wide:.5f} on wide scales, {unit:.5f} on unit scales")
    _assert_moments(draws)
    assert wide > unit / 2
