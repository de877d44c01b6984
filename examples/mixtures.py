"""What the examples of mixtures share: their options, one run, what they print and save."""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import arviz as az
import jax
import numpy as np
import optax
from numpyro.infer import MCMC, init_to_sample

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from models.mixture import mixture
from models.mixture_result import mixture_result

from .tables import KINDS, read_table


def parser(name: str, description: str, data: str, **defaults: Any) -> argparse.ArgumentParser:
    """Options that every mixture has. data: what a file of one's own holds."""
    p = argparse.ArgumentParser(
        prog=f"python -m examples.{name}",
        description=description.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--data", type=pathlib.Path, help=f"{KINDS}: {data}")
    p.add_argument("--particles", type=int, default=200, help="atoms of the mixing measure")
    p.add_argument("--temperature", type=float, default=1e-4, help="tau, per observation")
    p.add_argument("--warmup", type=int, default=1000, help="steps of adaptation")
    p.add_argument("--samples", type=int, default=4000, help="steps after it")
    p.add_argument("--thinning", type=int, default=40, help="keep one draw in this many")
    p.add_argument("--chains", type=int, default=4, help="independent replicates")
    p.add_argument("--seed", type=int, default=0, help="of the random keys")
    p.add_argument("--out", type=pathlib.Path, default="outputs", help="folder for the results")
    p.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    p.set_defaults(**defaults)
    return p


def parse(p: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, those of a small run where that was asked for."""
    arguments = p.parse_args()
    if arguments.quick:
        arguments.particles, arguments.warmup = 50, 200
        arguments.samples, arguments.thinning = 200, 20
    return arguments


def columns(path: pathlib.Path, *names: str) -> list[np.ndarray]:
    """Columns of a file, by name."""
    table = read_table(path, *names)
    return [table[name].to_numpy(float) for name in names]


def fit(
    arguments: argparse.Namespace,
    model: Mapping[str, Any],
    temperature: float | None = None,
    **options: Any,
) -> Any:
    """One run of the mixture, as inference data with its results. model: data, kernel, base and
    covariates, as `mixture` takes them; masses, too. options: of `mixture_result`."""
    tau = arguments.temperature if temperature is None else temperature
    kernel = mm.MMFLD(
        mixture, init_strategy=init_to_sample, temperature=cooling(tau, arguments.warmup)
    )
    mcmc = MCMC(
        kernel,
        num_warmup=arguments.warmup,
        num_samples=arguments.samples,
        thinning=arguments.thinning,
        num_chains=arguments.chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    begin = time.perf_counter()
    mcmc.run(
        jax.random.key(arguments.seed), **model, particles=arguments.particles, temperature=tau
    )
    jax.block_until_ready(mcmc.last_state)
    print(f"tau = {tau:g}: {arguments.chains} chains in {time.perf_counter() - begin:.0f} s")
    given = {name: value for name, value in model.items() if name != "masses"}
    return mixture_result(mm.to_inference_data(mcmc), **given, **options)


def cooling(temperature: float, warmup: int, hot: float = 0.1) -> Any:
    """A schedule for `MMFLD(temperature=)`: from a temperature of `hot` down to the given one in
    the first two thirds of the warm-up, so that all of the data are explained at all times."""
    ratio = max(1.0, hot / temperature)
    return optax.exponential_decay(ratio, max(1, 2 * warmup // 3), 1 / ratio, end_value=1.0)


def report(idata: Any, observations: int) -> None:
    """What is printed of every mixture."""
    print("\nThe run:")
    print(mm.summary(idata, var_names=["objective"]).round(5).to_string())
    print(mm.chain_summary(idata).round(4).to_string())
    bound = dataset(idata, "sample_stats")["certificate"].mean().item() * observations
    print(f"\nNo mixing measure has a log-likelihood that is higher by more than {bound:.2f}")
    print("\nLeave-one-out, by ArviZ:")
    print(az.loo(idata))


def save(idata: Any, figure: Any, stem: pathlib.Path) -> None:
    """NetCDF and picture."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    idata.to_netcdf(stem.with_suffix(".nc"), engine="h5netcdf")
    figure.savefig(stem.with_suffix(".png"), dpi=110)
    print(f"\nThe run is in {stem}.nc, the figure in {stem}.png")
