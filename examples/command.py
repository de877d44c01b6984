"""What the programs of this folder share: their options, a run of replicates, what they save."""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any

import jax
from numpyro.infer import MCMC

from .tables import KINDS


def parser(name: str, description: str | None, data: str | None = None) -> argparse.ArgumentParser:
    """The options of every program. data: what a file of one's own holds, where it takes one."""
    p = argparse.ArgumentParser(
        prog=f"python -m examples.{name}",
        description=(description or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    if data is not None:
        p.add_argument("--data", type=pathlib.Path, help=f"data of your own, {KINDS}: {data}")
    p.add_argument("--seed", type=int, default=0, help="of all that is random")
    p.add_argument("--out", type=pathlib.Path, default="outputs", help="folder for the results")
    p.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    return p


def add_run_options(
    p: argparse.ArgumentParser, *, warmup: int, samples: int, thinning: int, chains: int = 4
) -> None:
    """The options of a run, with these defaults."""
    p.add_argument("--warmup", type=int, default=warmup, help="steps of adaptation")
    p.add_argument("--samples", type=int, default=samples, help="steps after it")
    p.add_argument("--thinning", type=int, default=thinning, help="keep one draw in this many")
    p.add_argument("--chains", type=int, default=chains, help="independent replicates")


def replicates(kernel: Any, arguments: argparse.Namespace, /, *args: Any, **kwargs: Any) -> MCMC:
    """A finished run by the options, and a word on how long it took. args, kwargs: of the model,
    which may have an argument called kernel, too."""
    mcmc = MCMC(
        kernel,
        num_warmup=arguments.warmup,
        num_samples=arguments.samples,
        thinning=arguments.thinning,
        num_chains=arguments.chains,
        chain_method="vectorized",
    )
    begin = time.perf_counter()
    mcmc.run(jax.random.key(arguments.seed), *args, **kwargs)
    jax.block_until_ready(mcmc.last_state)
    print(f"\n{arguments.chains} chains in {time.perf_counter() - begin:.0f} s")
    return mcmc


def save(idata: Any, figure: Any, stem: pathlib.Path, dpi: int = 150) -> None:
    """NetCDF and picture."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    idata.to_netcdf(stem.with_suffix(".nc"), engine="h5netcdf")
    figure.savefig(stem.with_suffix(".png"), dpi=dpi)
    print(f"\nThe run is in {stem}.nc, the figure in {stem}.png")
