"""What the examples of mixtures share: their options, one run, what they print."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

import arviz as az
import numpy as np
import optax
from numpyro.infer import init_to_sample

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from models.mixture import mixture
from models.mixture_result import mixture_result

from . import command
from .tables import read_table


def parser(name: str, description: str, data: str, **defaults: Any) -> argparse.ArgumentParser:
    """Options that every mixture has. data: what a file of one's own holds."""
    p = command.parser(name, description, data)
    p.add_argument("--particles", type=int, default=200, help="atoms of the mixing measure")
    p.add_argument("--temperature", type=float, default=1e-4, help="tau, per observation")
    command.add_run_options(p, warmup=1000, samples=4000, thinning=40)
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
    print(f"\ntau = {tau:g}:")
    mcmc = command.replicates(
        kernel,
        arguments,
        **model,
        particles=arguments.particles,
        temperature=tau,
    )
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
    print("\nLeave-one-out, by ArviZ (not held-out performance at this temperature):")
    print(az.loo(idata))
