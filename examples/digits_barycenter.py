"""Wasserstein barycenter of handwritten digits, as measures on the unit square.

Every image becomes a measure, its ink at the centres of its pixels. The barycenter is the measure
that is nearest to all of them in entropic transport cost, held by particles that stay in the
square; four independent replicates tell how far to trust it. Prints what ArviZ and we diagnose, and
saves the run (NetCDF) and a figure.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro.infer import MCMC
from sklearn.datasets import load_digits

import mmfld_ppl as mm
from models.barycenter import barycenter


def digit_measures(digit: int, count: int) -> list[mm.Measure]:
    """The first `count` images of a digit as measures on the unit square."""
    data = load_digits()
    images = data.images[data.target == digit][:count]
    if len(images) < count:
        raise SystemExit(f"there are {len(images)} images of the digit {digit}, not {count}")
    centres = (np.arange(8) + 0.5) / 8
    across, up = np.meshgrid(centres, centres[::-1])
    pixels = np.stack([across.ravel(), up.ravel()], axis=1)
    measures = []
    for image in images:
        ink = image.ravel() / image.sum()
        measures.append(mm.Measure(jnp.asarray(pixels[ink > 0]), jnp.asarray(ink[ink > 0])))
    return measures


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.digits_barycenter",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--digit", type=int, default=3, choices=range(10), help="which digit")
    parser.add_argument("--count", type=int, default=10, help="how many images of it")
    parser.add_argument("--particles", type=int, default=200, help="atoms of the barycenter")
    parser.add_argument("--epsilon", type=float, default=0.01, help="blur of the transport")
    parser.add_argument("--temperature", type=float, default=0.002, help="spread of the measure")
    parser.add_argument("--debiased", action="store_true", help="take the transport's blur out")
    parser.add_argument("--warmup", type=int, default=500, help="steps of adaptation")
    parser.add_argument("--samples", type=int, default=5000, help="steps after it")
    parser.add_argument("--thinning", type=int, default=25, help="keep one draw in this many")
    parser.add_argument("--chains", type=int, default=4, help="independent replicates")
    parser.add_argument("--seed", type=int, default=0, help="of the random keys")
    parser.add_argument(
        "--out", type=pathlib.Path, default="outputs", help="folder for the results"
    )
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.particles, arguments.warmup, arguments.samples = 3, 60, 100, 100
    return arguments


def main() -> None:
    arguments = parse()
    targets = digit_measures(arguments.digit, arguments.count)
    setting = {
        "particles": arguments.particles,
        "epsilon": arguments.epsilon,
        "temperature": arguments.temperature,
        "debiased": arguments.debiased,
    }
    kernel = mm.MMFLD(barycenter)
    print(kernel.describe(targets, **setting))
    mcmc = MCMC(
        kernel,
        num_warmup=arguments.warmup,
        num_samples=arguments.samples,
        thinning=arguments.thinning,
        num_chains=arguments.chains,
        chain_method="vectorized",
    )
    begin = time.perf_counter()
    mcmc.run(jax.random.key(arguments.seed), targets, **setting)
    jax.block_until_ready(mcmc.last_state)
    print(f"\n{arguments.chains} chains in {time.perf_counter() - begin:.0f} s")

    idata = mm.to_inference_data(mcmc)
    print("\nExpectations under the barycenter, across replicates:")
    print(mm.summary(idata).round(4).to_string())
    print("\nThe chains:")
    print(mm.chain_summary(idata).round(4).to_string())

    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"digits_barycenter_{arguments.digit}"
    idata.to_netcdf(stem.with_suffix(".nc"), engine="h5netcdf")
    mm.plots.barycenter(idata, targets)
    plt.gcf().savefig(stem.with_suffix(".png"), dpi=150)
    print(f"\nThe run is in {stem}.nc, the figure in {stem}.png")


if __name__ == "__main__":
    main()
