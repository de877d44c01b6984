"""How much the mean of particles fluctuates, by the step.

F = (E x - 4)^2, base N(0, 1), 200 particles: of their joint law exp(-(N/tau) F) prod base the mean
is normal with variance tau / (N (2 + tau)). `ratio` is the collective ratio r, which is about 2 h /
tau; `correlation` that of the means of successive steps; `excess` what their variance is of that of
the law. Thirty-two chains of 500 steps of warm-up and 10,000 draws; `se` from the chains' spread.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import mmfld_ppl as mm

SIZE, CHAINS, DRAWS = 200, 32, 10_000
RATIOS = (0.1, 0.2, None, 0.5, 0.75, 1.0, 1.5)


def pulled(temperature: float) -> None:
    with mm.particles("atom", SIZE):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.deterministic("mean", jnp.mean(x))
    pull = mm.functionals.OfMean(outer=lambda mean: jnp.square(mean - 4.0))
    mm.objective("F", pull, x, temperature=temperature)


def measure(temperature: float, ratio: float | None) -> dict:
    """ratio: that the step is chosen for; None as the warm-up adapts it."""
    step = 0.1 if ratio is None else ratio * temperature / 2
    kernel = mm.MMFLD(pulled, step_size=step, adapt_step_size=ratio is None, adapt_metric=False)
    mcmc = MCMC(
        kernel,
        num_warmup=500,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), temperature, extra_fields=("~z.x",))
    mean = np.asarray(mcmc.get_samples(group_by_chain=True)["mean"], float)
    off = mean - 8 / (2 + temperature)
    excess = np.mean(off**2, axis=1) * SIZE * (2 + temperature) / temperature
    fields = {name: float(np.mean(v)) for name, v in mcmc.get_extra_fields().items() if np.size(v)}
    return {
        "temperature": temperature,
        "step": fields["step_size"],
        "adapted": ratio is None,
        "ratio": fields["collective_ratio"],
        "acceptance": fields["accept_prob"],
        "correlation": float(np.mean(off[:, 1:] * off[:, :-1]) / np.mean(off**2)),
        "excess": float(excess.mean()),
        "se": float(excess.std(ddof=1) / CHAINS**0.5),
    }


def run(temperatures: tuple[float, ...] = (2.0, 0.02)) -> list[dict]:
    return [measure(temperature, ratio) for temperature in temperatures for ratio in RATIOS]
