"""Effect of an ordered answer on a vote: Dirichlet and half-normal sites, beside NUTS.

An ordinary posterior, with no particles. In the American election study of 1996 (statsmodels
`anes96`, 944 people) the chance to vote for Dole rises with party identification, seven answers
from strong Democrat to strong Republican. The whole rise is positive (half-normal) and is cut into
the six steps from one answer to the next by a point on the simplex (Dirichlet), as Burkner and
Charpentier 2020 model monotonic effects. The same NumPyro model is run by MMFLD and by NUTS. Prints
both posteriors with their Monte Carlo errors, the difference in those errors, and effective draws
a second; saves the run (NetCDF) and a figure.

--data FILE takes data of your own: a column `outcome` (0 or 1), a column `level` (an ordered
answer, 0, 1, ...), and any number of numeric covariates, one row an observation.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any, NamedTuple

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float, Int
from numpyro.infer import NUTS

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots.style import colour

from . import command
from .tables import read_table

PARTIES = [
    "strong Democrat",
    "weak Democrat",
    "leans Democrat",
    "independent",
    "leans Republican",
    "weak Republican",
    "strong Republican",
]


class Data(NamedTuple):
    """outcome: 0 or 1. level: 0, 1, ... x: standardised covariates."""

    outcome: Int[Array, " n"]
    level: Int[Array, " n"]
    x: Float[Array, "n d"]


def model(data: Data, levels: int) -> None:
    """log odds = intercept + x . slopes + rise * (steps[0] + ... + steps[level - 1]).

    The last factor is taken less its mean over the data, so that the intercept is that of an
    average person and hangs little on the rise: either sampler mixes faster for it."""
    intercept = numpyro.sample("intercept", dist.Normal(0.0, 5.0))
    slopes = numpyro.sample("slopes", dist.Normal(0.0, 2.0).expand([data.x.shape[1]]).to_event(1))
    rise = numpyro.sample("rise", dist.HalfNormal(10.0))
    steps = numpyro.sample("steps", dist.Dirichlet(jnp.ones(levels - 1)))
    share = jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])
    at = share[data.level]
    logits = intercept + data.x @ slopes + rise * (at - at.mean())
    with numpyro.plate("person", len(data.outcome)):
        numpyro.sample("outcome", dist.Bernoulli(logits=logits), obs=data.outcome)


def election() -> tuple[pd.DataFrame, list[str]]:
    """The columns that `--data` documents, and the names of the levels."""
    import statsmodels.api as sm

    frame = sm.datasets.anes96.load_pandas().data
    table = frame[["age", "educ", "income"]].assign(
        outcome=frame["vote"].astype(int), level=frame["PID"].astype(int)
    )
    return table, PARTIES


def read(path: pathlib.Path) -> tuple[pd.DataFrame, list[str]]:
    table = read_table(path, "outcome", "level")
    if not set(table["outcome"]) <= {0, 1}:
        raise SystemExit(f"{path}: column 'outcome' must hold 0 or 1")
    level = table["level"].to_numpy(float)
    if not np.all((level >= 0) & (level == np.round(level))) or level.max() < 2:
        raise SystemExit(f"{path}: column 'level' must hold 0, 1, ..., at least three of them")
    return table, [str(k) for k in range(int(level.max()) + 1)]


def prepare(table: pd.DataFrame) -> tuple[Data, list[str]]:
    """The data, and the names of the covariates."""
    covariates = table.drop(columns=["outcome", "level"])
    spread = covariates.std(ddof=0)
    if constant := [str(name) for name in covariates if not spread[name] > 0]:
        raise SystemExit(f"covariates {constant} are constant: leave them out")
    x = ((covariates - covariates.mean()) / spread).to_numpy(np.float32)
    outcome, level = (jnp.asarray(table[c].to_numpy(np.int32)) for c in ("outcome", "level"))
    return Data(outcome, level, jnp.asarray(x)), [str(name) for name in covariates]


def parse() -> argparse.Namespace:
    parser = command.parser("ordered_effect", __doc__, "columns outcome, level, covariates")
    command.add_run_options(parser, warmup=1000, samples=4000, thinning=1)
    parser.add_argument("--draws", type=int, default=2000, help="of each NUTS chain, after 500")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.warmup, arguments.samples, arguments.draws = 300, 500, 200
    return arguments


def timed(arguments: argparse.Namespace, kernel: Any, *args: Any) -> tuple[Any, float]:
    """A run as inference data, and its seconds, compilation and warm-up included."""
    begin = time.perf_counter()
    mcmc = command.replicates(kernel, arguments, *args)
    seconds = time.perf_counter() - begin
    return mm.to_inference_data(mcmc), seconds


def beside_nuts(arguments: argparse.Namespace, *args: Any) -> tuple[Any, float]:
    nuts = argparse.Namespace(**vars(arguments))
    nuts.warmup, nuts.samples, nuts.thinning = 500, arguments.draws, 1
    return timed(nuts, NUTS(model), *args)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Means and deviations of both, and how many standard errors lie between them."""
    table = {}
    for moment in ("mean", "sd"):
        error = np.hypot(ours[f"mcse_{moment}"], theirs[f"mcse_{moment}"])
        table[moment, "MMFLD"] = ours[moment]
        table[moment, "NUTS"] = theirs[moment]
        table[moment, "z"] = (ours[moment] - theirs[moment]) / error
    return pd.DataFrame(table)


def draw(runs: dict[str, Any], level: np.ndarray, levels: list[str]) -> Any:
    """Steps of both posteriors, and the chance at each level for an average person."""
    figure, (steps, chance) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    for k, (name, idata) in enumerate(runs.items()):
        posterior = dataset(idata, "posterior").stack(sample=("chain", "draw"))
        each = posterior["steps"].transpose("sample", ...).values
        at = np.arange(each.shape[1]) + 0.16 * (2 * k - 1)
        low, middle, high = np.quantile(each, (0.05, 0.5, 0.95), axis=0)
        steps.errorbar(
            at, middle, (middle - low, high - middle), fmt="o", ms=4, color=colour(k), label=name
        )
        share = np.concatenate([np.zeros((len(each), 1)), np.cumsum(each, axis=1)], axis=1)
        share -= share[:, level].mean(axis=1, keepdims=True)
        logits = posterior["intercept"].values[:, None] + posterior["rise"].values[:, None] * share
        low, middle, high = np.quantile(1 / (1 + np.exp(-logits)), (0.05, 0.5, 0.95), axis=0)
        at = np.arange(len(levels)) + 0.1 * (2 * k - 1)
        chance.errorbar(
            at, middle, (middle - low, high - middle), fmt="o", ms=4, color=colour(k), label=name
        )
    steps.set(ylabel="share of the whole rise", title="steps, median and 90% interval")
    steps.set_xticks(range(len(levels) - 1), [f"to {name}" for name in levels[1:]])
    chance.set(
        ylabel="probability", ylim=(0, 1), title="chance of the outcome, other things average"
    )
    chance.set_xticks(range(len(levels)), levels)
    for ax in (steps, chance):
        ax.tick_params(axis="x", rotation=35)
        plt.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    return figure


def main() -> None:
    arguments = parse()
    table, levels = read(arguments.data) if arguments.data else election()
    data, covariates = prepare(table)
    print(f"{len(data.outcome)} people, {len(levels)} levels, covariates {', '.join(covariates)}\n")
    kernel = mm.MMFLD(model)
    print(kernel.describe(data, len(levels)))
    runs, seconds = {}, {}
    runs["MMFLD"], seconds["MMFLD"] = timed(arguments, kernel, data, len(levels))
    runs["NUTS"], seconds["NUTS"] = beside_nuts(arguments, data, len(levels))
    summaries = {
        name: mm.summary(idata).drop(index="lp", errors="ignore") for name, idata in runs.items()
    }
    comparison = compare(summaries["MMFLD"], summaries["NUTS"])
    print("\nThe posterior by both, z the difference in standard errors:")
    print(comparison.round(3).to_string())
    worst = comparison.xs("z", axis=1, level=1).abs().max().max()
    print(f"\nlargest |z| of {2 * len(comparison)}: {worst:.1f}")
    for name, summary in summaries.items():
        least = summary["ess_bulk"].min()
        print(
            f"{name}: least effective draws {least:.0f} in {seconds[name]:.0f} s with compilation, "
            f"R-hat up to {summary['r_hat'].max():.3f}"
        )
    print(f"\n{mm.diagnose(runs['MMFLD'])}")
    command.save(
        runs["MMFLD"],
        draw(runs, np.asarray(data.level), levels),
        arguments.out / "ordered_effect",
        dpi=110,
    )


if __name__ == "__main__":
    main()
