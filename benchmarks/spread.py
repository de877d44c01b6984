"""How wide an ordinary variable beside particles is, by the step; NUTS draws from the same density.

c ~ Beta(2, 3), 100 particles on (0, 1) and F = (E x - .9 c)^2 at a temperature of .05. Particles
are accepted one by one, so that their mean fluctuates too much by a share that falls with the step;
NUTS takes exp(-(N/tau) F) as a factor, and accepts all at once. Eight chains of 5000 steps of
warm-up and 20,000 draws; `se` from the chains' spread.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm

SIZE, TEMPERATURE, CHAINS = 100, 0.05, 8


def with_particles() -> None:
    c = numpyro.sample("c", dist.Beta(2.0, 3.0))
    with mm.particles("atom", SIZE):
        x = numpyro.sample("x", dist.Uniform(0.0, 1.0))
    matching = mm.functionals.OfMean(outer=lambda mean: jnp.square(mean - 0.9 * c))
    mm.objective("F", matching, x, temperature=TEMPERATURE)


def with_factor() -> None:
    c = numpyro.sample("c", dist.Beta(2.0, 3.0))
    with numpyro.plate("atom", SIZE):
        x = numpyro.sample("x", dist.Uniform(0.0, 1.0))
    numpyro.factor("F", -SIZE / TEMPERATURE * jnp.square(jnp.mean(x) - 0.9 * c))


def measure(name: str, kernel: Any) -> dict:
    mcmc = MCMC(
        kernel,
        num_warmup=5000,
        num_samples=20_000,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0))
    c = np.asarray(mcmc.get_samples(group_by_chain=True)["c"], float)
    spread = c.std(axis=1)
    ratio = mcmc.get_extra_fields().get("collective_ratio", np.nan)
    return {
        "step": name,
        "ratio": float(np.mean(ratio)),
        "mean": float(c.mean()),
        "se of mean": float(c.mean(axis=1).std(ddof=1) / CHAINS**0.5),
        "sd": float(spread.mean()),
        "se of sd": float(spread.std(ddof=1) / CHAINS**0.5),
        "effective draws": float(effective_sample_size(c)),
    }


def run(steps: tuple[float, ...] = (0.3, 0.1, 0.03)) -> list[dict]:
    rows = [
        measure("NUTS", NUTS(with_factor)),
        measure("as adapted", mm.MMFLD(with_particles)),
        measure("the same, new momenta", mm.MMFLD(with_particles, path_length=None)),
    ]
    fixed: dict[str, Any] = {"adapt_step_size": False}
    kernels = {f"{h:g}": mm.MMFLD(with_particles, step_size=h, **fixed) for h in steps}
    return rows + [measure(name, kernel) for name, kernel in kernels.items()]
