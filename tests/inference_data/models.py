"""Models that the tests of this folder run."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import mmfld_ppl as mm
from mmfld_ppl.functionals import OfMean

ATOMS = 12
#: A step that both mean-field models below can take.
FIXED = {"step_size": 0.2, "adapt_step_size": False, "adapt_metric": False}
DATA = np.array([0.2, -0.4, 0.9, 0.1, 0.3], np.float32)


def mixed(temperature: float = 0.5) -> None:
    """Particles on a simplex and a half-line, a global site, data, deterministics of both kinds."""
    c = numpyro.sample("c", dist.Normal(0.0, 1.0))
    with mm.particles("atom", ATOMS):
        x = numpyro.sample(
            "x", dist.Dirichlet(jnp.array([3.0, 2.0, 1.0])), infer={"event_dims": ["corner"]}
        )
        g = numpyro.sample("g", dist.Gamma(2.0, 1.0))
        numpyro.deterministic("gx", g[:, None] * x)
    numpyro.deterministic("mean", x.mean(0))
    with numpyro.plate("record", len(DATA)):
        numpyro.sample("y", dist.Normal(c, 1.0), obs=DATA)
    F = OfMean(outer=lambda m: (m["x"][0] - 0.6 - 0.1 * c) ** 2 + (m["g"] - 3.0) ** 2)
    mm.objective("F", F, {"x": x, "g": g}, temperature=temperature)


def cloud(spread: float = 1.0, temperature: float = 1.0) -> None:
    """Particles without a boundary."""
    with mm.particles("atom", ATOMS):
        x = numpyro.sample("x", dist.Normal(0.0, spread))
    mm.objective("F", OfMean(outer=lambda m: (m - 1.0) ** 2), x, temperature=temperature)
