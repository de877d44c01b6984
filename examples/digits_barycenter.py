"""Wasserstein barycenter of handwritten digits, as measures on the unit square.

Every image becomes a measure, its ink at the centres of its pixels. The barycenter is the measure
that is nearest to all of them in entropic transport cost, held by particles that stay in the
square; four independent replicates tell how far to trust it. Prints what ArviZ and we diagnose and
what each image pays, and saves the run (NetCDF) and a figure.

--data FILE takes measures of your own in the plane: the columns `measure` (a number or a name),
`weight`, `x1` and `x2`, one row an atom. Weights are divided by their sum, measure by measure; the
plane is cut to the box of all atoms with a margin of a tenth, and scaled so that its longer side is
one.
"""

from __future__ import annotations

import argparse
import pathlib

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import mmfld_ppl as mm
from models.barycenter import barycenter, init_to_targets
from models.barycenter_result import input_summary, with_transport

from . import command
from .tables import read_table


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


def read_measures(path: pathlib.Path) -> tuple[list[mm.Measure], list[str]]:
    """Measures of a file in the unit square, and their names."""
    table = read_table(path, "measure", "weight", "x1", "x2", all_numbers=False)
    numbers = table[["weight", "x1", "x2"]].to_numpy(float)
    if np.any(numbers[:, 0] < 0):
        raise SystemExit(f"{path}: weights must be non-negative")
    low, high = numbers[:, 1:].min(axis=0), numbers[:, 1:].max(axis=0)
    side = 1.2 * np.max(high - low)
    if side == 0:
        raise SystemExit(f"{path}: all atoms are at the same place")
    table[["x1", "x2"]] = 0.5 + (numbers[:, 1:] - (low + high) / 2) / side
    measures, names = [], []
    for name, rows in table.groupby("measure", sort=False):
        if not rows["weight"].sum() > 0:
            raise SystemExit(f"{path}: measure {name} has no weight")
        masses = rows["weight"].to_numpy(float)
        atoms = jnp.asarray(rows[["x1", "x2"]].to_numpy(float))
        measures.append(mm.Measure(atoms, jnp.asarray(masses / masses.sum())))
        names.append(str(name))
    return measures, names


def parse() -> argparse.Namespace:
    parser = command.parser(
        "digits_barycenter", __doc__, "columns measure, weight, x1, x2, one row an atom"
    )
    parser.add_argument("--digit", type=int, default=3, choices=range(10), help="which digit")
    parser.add_argument("--count", type=int, default=10, help="how many images of it")
    parser.add_argument("--particles", type=int, default=200, help="atoms of the barycenter")
    parser.add_argument("--epsilon", type=float, default=0.01, help="blur of the transport")
    parser.add_argument("--temperature", type=float, default=0.002, help="spread of the measure")
    parser.add_argument("--debiased", action="store_true", help="take the transport's blur out")
    command.add_run_options(parser, warmup=500, samples=5000, thinning=25)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.particles, arguments.warmup, arguments.samples = 3, 60, 100, 100
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.data:
        targets, names = read_measures(arguments.data)
        title = arguments.data.stem
    else:
        targets = digit_measures(arguments.digit, arguments.count)
        names, title = [str(k) for k in range(len(targets))], str(arguments.digit)
    transport = {"epsilon": arguments.epsilon, "debiased": arguments.debiased}
    setting = transport | {
        "particles": arguments.particles,
        "temperature": arguments.temperature,
    }
    kernel = mm.MMFLD(barycenter, init_strategy=init_to_targets(targets))
    print(kernel.describe(targets, **setting))
    mcmc = command.replicates(kernel, arguments, targets, **setting)

    idata = mm.to_inference_data(mcmc)
    print("\nExpectations under the barycenter, across replicates:")
    print(mm.summary(idata).round(4).to_string())
    print("\nThe chains:")
    print(mm.chain_summary(idata).round(4).to_string())
    idata = with_transport(idata, targets, **transport, labels=names, couplings=True)
    print("\nWhat the barycenter pays to each input, in squared distance:")
    print(input_summary(idata).round(5).to_string())

    mm.plots.barycenter(idata, targets, labels=names)
    command.save(idata, plt.gcf(), arguments.out / f"digits_barycenter_{title}")


if __name__ == "__main__":
    main()
