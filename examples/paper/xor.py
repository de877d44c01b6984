"""A two-layer network with neurons in a ball, and XOR with noise.

The third experiment of Gu and Kim (2025): the law of the neurons is the unknown, and no neuron
leaves the unit ball. Four replicates of the whole network; their outputs are averaged over draws.
Prints the accuracy on held-out data beside logistic regression and a multilayer perceptron of the
same width, and saves the run (NetCDF) and a figure.

--data FILE takes data of your own: a column `label` with two values, and numbers in a
few others. Inputs are standardised; a third of the rows is held out. With many inputs take a larger
scale and a higher temperature, as the program `network` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro.infer import init_to_sample
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from models.two_layer import output, two_layer

from .. import command
from ..tables import read_table


def xor(rng: np.random.Generator, count: int, flipped: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of the square [-1, 1]^2; the label is the sign of x_1 x_2, flipped at random."""
    x = rng.uniform(-1, 1, (count, 2))
    return x, np.sign(x[:, 0] * x[:, 1]) * np.where(rng.uniform(size=count) < flipped, -1, 1)


def load(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Inputs and labels to train with, and to test with."""
    if arguments.data is None:
        rng = np.random.default_rng(arguments.seed)
        x, z = xor(rng, arguments.count, arguments.noise)
        # What is to be learned is the rule, not the noise.
        x_test, z_test = xor(rng, 10_000, 0.0)
        return [x, z, x_test, z_test]
    table = read_table(arguments.data, "label", all_numbers=False)
    x, classes = table.drop(columns="label").to_numpy(float), table["label"].to_numpy()
    values = np.unique(classes)
    if len(values) != 2:
        raise SystemExit(f"the labels must have two values, got {values.tolist()[:5]}")
    z = np.where(classes == values[1], 1.0, -1.0)
    x, x_test, z, z_test = train_test_split(x, z, test_size=1 / 3, random_state=arguments.seed)
    scaler = StandardScaler().fit(x)
    # Rows of order one, whatever the number of columns.
    x, x_test = (scaler.transform(v) / np.sqrt(v.shape[1]) for v in (x, x_test))
    return [x, z, x_test, z_test]


def mean_output(idata: Any, x: np.ndarray, scale: float) -> np.ndarray:
    """Of the networks of all draws."""
    neurons = dataset(idata, "posterior")["neuron"].values
    stacked = jnp.asarray(neurons.reshape(-1, *neurons.shape[2:]))
    each = jax.jit(lambda x: jax.lax.map(lambda n: output(n, x, scale), stacked))
    return np.asarray(jnp.mean(each(jnp.asarray(x)), axis=0))


def peers(x: np.ndarray, z: np.ndarray, width: int, seed: int) -> dict[str, Any]:
    return {
        "logistic regression": LogisticRegression(max_iter=5000).fit(x, z),
        f"perceptron, {width} units": MLPClassifier((width,), max_iter=2000, random_state=seed).fit(
            x, z
        ),
    }


def draw(idata: Any, x: np.ndarray, z: np.ndarray, scale: float) -> Any:
    if x.shape[1] != 2:
        figure, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
        mm.plots.trace_objective(idata, ax=ax)
        return figure
    figure, (plane, units) = plt.subplots(1, 2, figsize=(9, 4.1), layout="constrained")
    side = np.linspace(-1, 1, 101)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    probability = 1 / (1 + np.exp(-mean_output(idata, grid.reshape(-1, 2), scale)))
    shade = plane.contourf(
        side, side, probability.reshape(101, 101), np.linspace(0, 1, 11), cmap="PuOr", alpha=0.8
    )
    plane.contour(side, side, probability.reshape(101, 101), [0.5], colors="black", linewidths=1.2)
    plane.plot([], [], color="black", lw=1.2, label="probability 1/2")
    for label, marker in ((-1, "o"), (1, "^")):
        some = x[z == label][:150]
        plane.plot(
            *some.T, marker, ms=3.5, mfc="white", mec="black", mew=0.7, label=f"label ${label:+d}$"
        )
    plane.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title="probability of the label +1")
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 3, "frameon": False}
    plane.legend(**place, fontsize="small", handlelength=1.2, columnspacing=1.2)
    figure.colorbar(shade, ax=plane, shrink=0.8)

    last = dataset(idata, "posterior")["neuron"].values[:, -1].reshape(-1, 4)
    turn = np.linspace(0, 2 * np.pi, 200)
    units.plot(np.cos(turn), np.sin(turn), color="black", lw=0.8)
    points = units.scatter(*last[:, 2:].T, c=last[:, 0], s=8, cmap="PuOr", vmin=-1, vmax=1)
    units.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal", title="neurons, last draw")
    figure.colorbar(points, ax=units, shrink=0.8, label="second-layer weight $a$")
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper xor", __doc__, "column label, and numbers")
    parser.add_argument("--count", type=int, default=400, help="points of XOR to train with")
    parser.add_argument("--noise", type=float, default=0.1, help="share of their labels flipped")
    parser.add_argument("--neurons", type=int, default=512, help="particles")
    parser.add_argument("--scale", type=float, default=30.0, help="how large outputs may be")
    parser.add_argument("--temperature", type=float, default=3e-3, help="nats of the loss")
    command.add_run_options(parser, warmup=1500, samples=3000, thinning=30)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.neurons, arguments.warmup, arguments.samples = 64, 100, 100
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    x, z, x_test, z_test = load(arguments)
    mcmc = command.replicates(
        mm.MMFLD(two_layer, init_strategy=init_to_sample),
        arguments,
        jnp.asarray(x),
        jnp.asarray(z),
        neurons=arguments.neurons,
        scale=arguments.scale,
        temperature=arguments.temperature,
    )
    idata = mm.to_inference_data(mcmc)
    print(mm.summary(idata, var_names=["objective"]).round(4).to_string(), "\n")
    print(mm.chain_summary(idata).round(4).to_string(), "\n")

    ours = np.mean(np.sign(mean_output(idata, x_test, arguments.scale)) == z_test)
    print(f"{'neurons in a ball':<24} accuracy {ours:.3f}")
    for name, peer in peers(x, z, arguments.neurons, arguments.seed).items():
        print(f"{name:<24} accuracy {peer.score(x_test, z_test):.3f}")

    title = arguments.data.stem if arguments.data else "xor"
    figure = draw(idata, x, z, arguments.scale)
    command.save(idata, figure, arguments.out / f"paper_network_{title}", dpi=120)
