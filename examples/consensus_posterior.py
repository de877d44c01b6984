"""Consensus of workers that each see a part of the data: visits to the doctor and health.

Person-years of the RAND health insurance experiment (statsmodels `randhie`), 6000 of 20190, are
dealt out to five workers. Each fits a negative binomial regression in which worse health multiplies
the visits, with a positive effect that is cut into the steps from one answer to the next by a point
on the simplex. `consensus_posterior` combines the five posteriors, and is compared with the
posterior of all data and with two ways of averaging draws. Prints the posteriors and the distances
between them; saves the runs (NetCDF) and a figure.

--data FILE takes data of your own: a column `count` (0, 1, ...), a column `level` (an ordered
answer, 0, 1, ...), and any number of numeric covariates, one row an observation.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from numpyro.handlers import mask, scale
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots.style import COLOURS
from models.barycenter_result import input_summary
from models.consensus import consensus_posterior
from models.subposteriors import site_supports

from . import command
from .tables import read_table

Draws = dict[str, np.ndarray]


class Data(NamedTuple):
    """visits, level: integers; x: standardised covariates; used: whether a row is one of the data,
    or only fills up its part."""

    visits: np.ndarray
    level: np.ndarray
    x: np.ndarray
    used: np.ndarray


def model(data: Data, power: float = 1.0, prior_power: float = 1.0, *, levels: int) -> None:
    """Negative binomial counts whose mean rises with an ordered answer.

    log mean = intercept + x . slopes + effect * (steps[0] + ... + steps[level - 1])

    power: exponent of the likelihood. prior_power: of the prior."""
    laws = {
        "intercept": dist.Normal(0.0, 3.0),
        "slopes": dist.Normal(0.0, 1.0).expand([data.x.shape[1]]).to_event(1),
        "effect": dist.HalfNormal(1.0),
        "steps": dist.Dirichlet(jnp.ones(levels - 1)),
        "shape": dist.Gamma(2.0, 1.0),
    }
    at = {name: numpyro.sample(name, law) for name, law in laws.items()}
    log_prior = sum(law.log_prob(at[name]) for name, law in laws.items())
    # Not by `scale`: under it NumPyro's kernels also scale the determinants of their charts.
    numpyro.factor("prior_power", (prior_power - 1) * log_prior)
    rise = jnp.concatenate([jnp.zeros(1), jnp.cumsum(at["steps"])])
    mean = jnp.exp(at["intercept"] + data.x @ at["slopes"] + at["effect"] * rise[data.level])
    with numpyro.plate("people", len(data.visits)), scale(scale=power), mask(mask=data.used):
        law = dist.NegativeBinomial2(mean, at["shape"])
        numpyro.sample("count", law, obs=data.visits)


def randhie() -> tuple[pd.DataFrame, list[str]]:
    """The columns that `--data` documents, and the names of the levels."""
    import statsmodels.api as sm

    frame = sm.datasets.randhie.load_pandas().data
    level = frame["hlthg"] + 2 * frame["hlthf"] + 3 * frame["hlthp"]
    columns = ["lncoins", "idp", "lpi", "fmde", "physlm", "disea"]
    table = frame[columns].assign(count=frame["mdvis"].astype(int), level=level.astype(int))
    return table, ["excellent", "good", "fair", "poor"]


def read(path: pathlib.Path) -> tuple[pd.DataFrame, list[str]]:
    table = read_table(path, "count", "level")
    for column in ("count", "level"):
        whole = np.asarray(table[column], float)
        if not np.all((whole >= 0) & (whole == np.round(whole))):
            raise SystemExit(f"{path}: column '{column}' must hold whole numbers 0, 1, ...")
    levels = int(table["level"].max()) + 1
    if levels < 3:
        raise SystemExit(f"{path}: column 'level' must have at least 3 levels, got {levels}")
    return table, [str(k) for k in range(levels)]


def prepare(table: pd.DataFrame) -> Data:
    covariates = table.drop(columns=["count", "level"]).to_numpy(float)
    spread = covariates.std(axis=0)
    if np.any(spread == 0):
        raise SystemExit("a covariate is constant: leave it out")
    x = (covariates - covariates.mean(axis=0)) / spread
    count, level = (table[c].to_numpy(np.int32) for c in ("count", "level"))
    return Data(count, level, x.astype(np.float32), np.ones(len(table), bool))


def deal(data: Data, workers: int, seed: int) -> list[Data]:
    """Random parts of equal size, filled up with rows that are not used where need be."""
    n = len(data.visits)
    size = -(-n // workers)
    order = np.random.default_rng(seed).permutation(n)
    padded = np.concatenate([order, np.zeros(size * workers - n, int)])
    used = np.arange(size * workers) < n
    rows = padded.reshape(size, workers).T
    parts = [Data(*(field[row] for field in data)) for row in rows]
    return [
        part._replace(used=u) for part, u in zip(parts, used.reshape(size, workers).T, strict=True)
    ]


def sample(mcmc: MCMC, key: jax.Array, *args, **kwargs) -> Draws:
    mcmc.run(key, *args, **kwargs)
    return {name: np.asarray(v) for name, v in mcmc.get_samples().items()}


def flat(draws: Draws) -> np.ndarray:
    return np.concatenate([v.reshape(len(v), -1) for v in draws.values()], axis=1).astype(float)


def precision_average(parts: list[np.ndarray]) -> np.ndarray:
    """Scott et al. 2016: (sum W_k)^-1 sum W_k draw_k, W_k the inverse covariance of worker k.
    Steps that sum to one have no inverse covariance: each parameter is weighted by itself."""
    weights = 1 / np.var(parts, axis=1, keepdims=True)
    return np.sum(weights * np.asarray(parts), axis=0) / np.sum(weights, axis=0)


def sliced_distance(a: np.ndarray, b: np.ndarray, directions: int = 200) -> float:
    """Root mean square over directions of the 2-Wasserstein distance of one-dimensional
    projections, by quantiles."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(a.shape[1], directions))
    u /= np.linalg.norm(u, axis=0)
    levels = (np.arange(400) + 0.5) / 400
    gap = np.quantile(a @ u, levels, axis=0) - np.quantile(b @ u, levels, axis=0)
    return float(np.sqrt(np.mean(gap**2)))


def draw_marginals(methods: dict[str, np.ndarray], names: list[str], shown: list[str]) -> None:
    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.5 * len(shown), 2.9), layout="constrained", squeeze=False
    )
    styles: dict[str, dict] = {"all data": {"color": "0.75", "histtype": "stepfilled"}}
    colours = iter(COLOURS)
    for ax, name in zip(axes[0], shown, strict=True):
        at = names.index(name)
        everything = np.concatenate([draws[:, at] for draws in methods.values()])
        low, high = np.quantile(everything, [0.001, 0.999])
        bins = np.linspace(low, high, 40)
        for label, draws in methods.items():
            if label not in styles:
                styles[label] = {"color": next(colours), "histtype": "step", "linewidth": 1.6}
            ax.hist(draws[:, at], bins, density=True, label=label, **styles[label])
        ax.set(xlabel=name, yticks=[])
        ax.spines[["left", "right", "top"]].set_visible(False)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False
    )


def parse() -> argparse.Namespace:
    parser = command.parser("consensus_posterior", __doc__, "columns count, level, covariates")
    parser.add_argument("--rows", type=int, default=6000, help="observations to use, 0 for all")
    parser.add_argument("--workers", type=int, default=5, help="parts of the data")
    parser.add_argument("--draws", type=int, default=400, help="of each worker, after 300 steps")
    parser.add_argument("--particles", type=int, default=300, help="of the consensus")
    parser.add_argument("--epsilon", type=float, help="of the transport, in whitened units")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.workers = 1000, 3
        arguments.draws, arguments.particles = 60, 60
    return arguments


def main() -> None:
    arguments = parse()
    table, levels = read(arguments.data) if arguments.data else randhie()
    if 0 < arguments.rows < len(table):
        table = table.sample(arguments.rows, random_state=arguments.seed)
    data = prepare(table)
    parts = deal(data, arguments.workers, arguments.seed)
    n, workers = len(data.visits), len(parts)
    print(f"{n} observations, {workers} workers, levels of health: {', '.join(levels)}")
    regression = functools.partial(model, levels=len(levels))
    keys = jax.random.split(jax.random.key(arguments.seed), 2 * workers + 2)
    options = {"num_warmup": 300, "num_samples": arguments.draws, "progress_bar": False}

    begin = time.perf_counter()
    everything = MCMC(NUTS(regression), num_chains=2, chain_method="sequential", **options)
    full = sample(everything, keys[0], data)
    print(f"all data, NUTS: {time.perf_counter() - begin:.0f} s")

    begin = time.perf_counter()
    worker = MCMC(NUTS(regression), jit_model_args=True, **options)
    shares = np.array([part.used.sum() / n for part in parts])
    powered = [
        sample(worker, key, part, power=1 / share)
        for key, part, share in zip(keys[1:], parts, shares, strict=False)
    ]
    seconds = time.perf_counter() - begin
    print(
        f"workers, likelihood to the power {workers}: {seconds:.0f} s, {seconds / workers:.1f} each"
    )
    plain = [
        sample(worker, key, part, prior_power=share)
        for key, part, share in zip(keys[1 + workers :], parts, shares, strict=False)
    ]

    begin = time.perf_counter()
    consensus = consensus_posterior(
        powered,
        site_supports(regression, data),
        weights=jnp.asarray(shares),
        particles=arguments.particles,
        epsilon=arguments.epsilon,
        key=keys[-1],
        progress_bar=True,
    )
    print(f"consensus: {time.perf_counter() - begin:.0f} s\n")
    posterior = dataset(consensus.posterior, "posterior")
    combined = {n: posterior[n].values.reshape(-1, *full[n].shape[1:]) for n in powered[0]}

    names = labels(powered[0], list(table.drop(columns=["count", "level"])), levels)
    full = {name: full[name] for name in powered[0]}
    methods = {
        "all data": flat(full),
        "consensus": flat(combined),
        "average": np.mean([flat(p) for p in plain], axis=0),
        "precision average": precision_average([flat(p) for p in plain]),
    }
    marginals = np.tensordot(shares, np.sort([flat(p) for p in powered], axis=1), axes=1)
    report(methods, marginals, names)
    print("\nWhat the consensus pays to each worker, in squared posterior sds:")
    print(input_summary(consensus.run).round(3).to_string())
    print("\nThe particles' run, across replicates:")
    print(mm.chain_summary(consensus.run).round(3).to_string())

    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / "consensus_posterior"
    consensus.posterior.to_netcdf(stem.with_suffix(".nc"), engine="h5netcdf")
    consensus.run.to_netcdf(f"{stem}_run.nc", engine="h5netcdf")
    shown = [name for name in names if name.startswith(("effect", "shape", "step"))]
    draw_marginals(methods, names, shown[:6])
    plt.gcf().savefig(stem.with_suffix(".png"), dpi=150)
    print(f"\nThe posterior is in {stem}.nc, the run in {stem}_run.nc, the figure in {stem}.png")


def labels(draws: Draws, covariates: list[str], levels: list[str]) -> list[str]:
    entries = {
        "slopes": [f"slope {name}" for name in covariates],
        "steps": [f"step to {name}" for name in levels[1:]],
    }
    return [label for name in draws for label in entries.get(name, [name])]


def report(methods: dict[str, np.ndarray], marginals: np.ndarray, names: list[str]) -> None:
    """Means and deviations, and distances to the posterior of all data in its own deviations."""
    moments = {
        (label, name): moment(draws, axis=0)
        for label, draws in (methods | {"quantile average": marginals}).items()
        for name, moment in (("mean", np.mean), ("sd", np.std))
    }
    print(pd.DataFrame(moments, index=names).round(3).to_string())
    print("Quantiles averaged one parameter at a time are the one-dimensional barycenters.")
    reference = methods["all data"]
    sd = reference.std(axis=0)
    half = len(reference) // 2
    steps = [i for i, name in enumerate(names) if name.startswith("step ")]
    rows = {"two halves of all data": reference[half:]} | methods
    distances = pd.DataFrame(
        {
            "sliced W2": [
                sliced_distance(
                    (reference[:half] if draws is rows["two halves of all data"] else reference)
                    / sd,
                    draws / sd,
                )
                for draws in rows.values()
            ],
            "largest shift of a mean": [
                np.max(np.abs(draws.mean(axis=0) - reference.mean(axis=0)) / sd)
                for draws in rows.values()
            ],
            "sds, least ratio": [np.min(draws.std(axis=0) / sd) for draws in rows.values()],
            "largest ratio": [np.max(draws.std(axis=0) / sd) for draws in rows.values()],
            "off the simplex": [
                np.mean(np.abs(draws[:, steps].sum(axis=1) - 1) > 1e-3) for draws in rows.values()
            ],
        },
        index=list(rows),
    )
    print("\nDistance to the posterior of all data, in its standard deviations:")
    print(distances.drop(index="all data").round(3).to_string())


if __name__ == "__main__":
    main()
