"""How often `mm.diagnose` finds planted faults, and how often it alarms without one.

Mean matching on the simplex, F(mu) = |E x - q|^2 + beta E sum_i log(1/x_i). A row a fault: how
many runs it calls "fail", or at least "warn", and which checks said so. Of their chains: mean and
standard deviation of the estimates of KL(mu | mu_hat) in their standard errors, 0 and 1 at the
fixed point, and the share of Stein tests with p < .05.
"""

from __future__ import annotations

import argparse
import functools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import xarray as xr
from jaxtyping import Array
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.functionals import OfMean
from mmfld_ppl.functionals.base import Functional, Linearization
from mmfld_ppl.inference_data import Diagnosis, dataset, diagnose
from mmfld_ppl.inference_data.groups import from_groups

TARGET = jnp.array([0.7, 0.2, 0.1])
#: Of a run.
CHAINS = 4


class Misscaled(Functional):
    """A functional whose first variation is wrong by a factor."""

    base: Functional
    factor: float

    def linearize(self, measure, carry=None, key=None) -> Linearization:
        return self.base.linearize(measure, carry, key)

    def first_variation(self, tangent, points) -> Array:
        return self.factor * self.base.first_variation(tangent, points)


class StuckChain(mm.MMFLD):
    """The first of every four vectorized chains never moves."""

    def sample(self, state, model_args, model_kwargs):
        new = super().sample(state, model_args, model_kwargs)
        names = ("z", "particles", "objective", "potential_energy")
        held = {
            name: jax.tree.map(
                lambda a, b: a.at[::CHAINS].set(b[::CHAINS]),
                getattr(new, name),
                getattr(state, name),
            )
            for name in names
        }
        return new._replace(**held)


def matching(size: int, tau: float, beta: float = 0.0, factor: float = 1.0) -> Callable:
    """The model."""
    F: Functional = OfMean(
        outer=lambda m: jnp.sum(jnp.square(m - TARGET)),
        potential=lambda x: -beta * jnp.sum(jnp.log(x)),
    )

    def model() -> None:
        with mm.particles("atom", size):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        mm.objective("F", Misscaled(F, factor) if factor != 1 else F, x, temperature=tau)

    return model


class Case(NamedTuple):
    """kernel: of a run. warmup, draws: its length."""

    kernel: Any
    warmup: int = 300
    draws: int = 300


def cases() -> dict[str, Case]:
    unadjusted = functools.partial(mm.MMFLD, metropolize=False, adapt_metric=False)
    return {
        "none, tau=.1 N=200": Case(mm.MMFLD(matching(200, 0.1, 0.1))),
        "none, tau=.05 N=500": Case(mm.MMFLD(matching(500, 0.05))),
        "none, tau=.01 N=500": Case(mm.MMFLD(matching(500, 0.01)), 500, 1000),
        "none, unadjusted h=.002": Case(
            unadjusted(matching(200, 0.1, 0.1), step_size=0.002), 2000, 2000
        ),
        "too few particles, N=8": Case(mm.MMFLD(matching(8, 0.01))),
        "unadjusted h=.2": Case(unadjusted(matching(200, 0.1, 0.1), step_size=0.2)),
        "unadjusted h=.05": Case(unadjusted(matching(200, 0.1, 0.1), step_size=0.05)),
        "one stuck chain": Case(StuckChain(matching(200, 0.1, 0.1))),
        "first variation -20%": Case(mm.MMFLD(matching(200, 0.1, 0.1, 0.8))),
        "first variation +30%": Case(mm.MMFLD(matching(200, 0.1, 0.1, 1.3))),
        "projected, pile-up": Case(
            mm.ProjectedMFLD(matching(200, 0.05), step_size=0.001), 1000, 300
        ),
        "too short, 60 steps of .00003": Case(
            mm.MMFLD(matching(200, 0.1, 0.1), step_size=3e-5, adapt_step_size=False), 0, 60
        ),
    }


def diagnoses(case: Case, runs: int, seed: int = 0) -> list[Diagnosis]:
    """Of independent runs."""
    return diagnosed(exported(case, runs, seed))


def exported(case: Case, runs: int, seed: int = 0) -> dict[str, xr.Dataset]:
    """The groups of independent runs. All of their chains run together and are evaluated together,
    so that everything is compiled once."""
    mcmc = MCMC(
        case.kernel,
        num_warmup=case.warmup,
        num_samples=case.draws,
        num_chains=CHAINS * runs,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some of these runs are meant to be bad.
        idata = mm.to_inference_data(mcmc, diagnostics=True)
    return {name: dataset(idata, name) for name in ("posterior", "sample_stats", "mean_field")}


def diagnosed(groups: dict[str, xr.Dataset]) -> list[Diagnosis]:
    """Of each run by its own chains."""
    found = []
    for first in range(0, groups["posterior"].sizes["chain"], CHAINS):
        own = slice(first, first + CHAINS)
        found.append(diagnose(from_groups({n: g.isel(chain=own) for n, g in groups.items()}, {})))
    return found


def run(runs: int = 3, names: list[str] | None = None, seed: int = 0) -> list[dict]:
    rows = []
    for name, case in cases().items():
        if names and not any(name.startswith(n) for n in names):
            continue
        groups = exported(case, runs, seed)
        found, measured = diagnosed(groups), groups["mean_field"]
        z = measured["proximal_divergence"] / measured["proximal_divergence_error"]
        blamed = Counter(
            check.name for d in found for check in d.checks if check.verdict in ("warn", "fail")
        )
        rows.append(
            {
                "fault": name,
                "runs": runs,
                "fail": sum(d.verdict == "fail" for d in found),
                "warn or fail": sum(d.verdict != "ok" for d in found),
                "KL / error": f"{float(z.mean()):.2f} ({float(z.std()):.2f})",
                "p < .05": float((measured["stein_p_value"] < 0.05).mean()),
                "by": ", ".join(f"{check} {n}" for check, n in blamed.most_common()) or "-",
            }
        )
    return rows


if __name__ == "__main__":
    from benchmarks.__main__ import print_rows

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of faults; default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print_rows(run(arguments.runs, arguments.names, arguments.seed))
