"""A network whose neurons live in a ball, on real data, beside a perceptron of the same width.

The breast cancer data (two classes, 30 inputs) and the digits (ten classes, 64 inputs) of
scikit-learn, over repeated random splits into four parts to train with and one to test with. The
neurons move by algorithm 1 of the paper with minibatches, or adjusted with all data; the outputs of
the draws are averaged. Peers are trained on the same splits. Prints accuracies and paired
differences, with standard errors that account for the overlap of splits (Nadeau and Bengio 2003);
saves them (NetCDF) and a figure.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from numpyro.infer import MCMC, init_to_sample
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import mmfld_ppl as mm
from mmfld_ppl.plots import style
from models.two_layer import outputs, two_layer_classes

from .. import command

TEST_SHARE = 0.2
OURS = "neurons in a ball"


class Data(NamedTuple):
    """load: from scikit-learn. prepare: what is done to the inputs of all learners; an overall
    factor, of the size of a row, is taken off for the neurons in a ball. scale, temperature: of the
    network. step_size: of algorithm 1."""

    load: Callable
    prepare: Callable
    scale: float
    temperature: float
    step_size: float


DATA = {
    "breast_cancer": Data(datasets.load_breast_cancer, StandardScaler, 100.0, 0.02, 0.02),
    "digits": Data(datasets.load_digits, lambda: PCA(30), 1000.0, 0.004, 0.0004),
}


class Split(NamedTuple):
    """Rows of order one, and their classes."""

    x: np.ndarray
    z: np.ndarray
    x_test: np.ndarray
    z_test: np.ndarray


class Fit(NamedTuple):
    """train, test: accuracies. objective: the risk along the draws, of minibatches where these are
    used. slack: distances of the last draw's neurons from the rim of the ball. seconds: of the run,
    compilation included."""

    train: float
    test: float
    objective: np.ndarray
    slack: np.ndarray
    seconds: float


def splits(name: str, count: int, seed: int) -> list[Split]:
    x, z = DATA[name].load(return_X_y=True)
    found = []
    for train, test in StratifiedShuffleSplit(count, test_size=TEST_SHARE, random_state=seed).split(
        x, z
    ):
        prepare = DATA[name].prepare().fit(x[train])
        size = np.sqrt(np.mean(np.sum(prepare.transform(x[train]) ** 2, axis=1)))
        a, b = (np.asarray(prepare.transform(x[i]) / size, np.float32) for i in (train, test))
        found.append(Split(a, z[train], b, z[test]))
    return found


def network(arguments: argparse.Namespace, classes: int) -> MCMC:
    """A run whose data are arguments, so that it compiles once for all splits."""

    def model(x: jax.Array, z: jax.Array) -> None:
        two_layer_classes(
            x,
            z,
            classes=classes,
            neurons=arguments.neurons,
            scale=arguments.scale,
            temperature=arguments.temperature,
            batch_size=None if arguments.adjusted else arguments.batch_size,
        )

    if arguments.adjusted:
        kernel = mm.MMFLD(model, init_strategy=init_to_sample)
    else:
        kernel = mm.MMFLD(
            model,
            init_strategy=init_to_sample,
            metropolize=False,
            step_size=arguments.step_size,
        )
    return MCMC(
        kernel,
        num_warmup=arguments.warmup,
        num_samples=arguments.samples,
        thinning=arguments.thinning,
        num_chains=1,
        progress_bar=False,
        jit_model_args=True,
    )


def fit(mcmc: MCMC, split: Split, scale: float, seed: int) -> Fit:
    classes = int(split.z.max()) + 1
    begin = time.perf_counter()
    mcmc.run(jax.random.key(seed), jnp.asarray(split.x), jnp.asarray(split.z, jnp.int32))
    neurons = jax.block_until_ready(mcmc.get_samples()["neuron"])
    seconds = time.perf_counter() - begin

    def accuracy(x: np.ndarray, z: np.ndarray) -> float:
        inputs = jnp.asarray(x)
        each = jax.lax.map(lambda n: outputs(n, inputs, classes, scale), neurons)
        return float(np.mean(np.argmax(np.mean(each, axis=0), axis=1) == z))

    slack = 1 - np.linalg.norm(np.asarray(neurons[-1], float), axis=-1)
    objective = np.asarray(mcmc.get_extra_fields()["objective"])
    return Fit(
        accuracy(split.x, split.z), accuracy(split.x_test, split.z_test), objective, slack, seconds
    )


def peers(split: Split, width: int, seed: int) -> dict[str, tuple[float, float]]:
    """Accuracies in training and in the test. Their inputs have entries of order one."""
    size = np.sqrt(split.x.shape[1])
    models = {
        "logistic regression": LogisticRegression(max_iter=5000),
        f"perceptron, {width} units": MLPClassifier((width,), max_iter=500, random_state=seed),
    }
    found = {}
    for name, peer in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(size * split.x, split.z)
        test = peer.score(size * split.x_test, split.z_test)
        found[name] = (float(peer.score(size * split.x, split.z)), float(test))
    return found


def error(values: np.ndarray) -> float:
    """Standard error of a mean over random splits, which share data."""
    count = len(values)
    if count < 2:
        return float("nan")
    inflation = 1 / count + TEST_SHARE / (1 - TEST_SHARE)
    return float(np.sqrt(inflation * values.var(ddof=1)))


def show(data: xr.Dataset) -> None:
    ours = data["test"].sel({"method": OURS}).values
    print(f"\n{'':<26}{'training':>9}{'test':>9}{'error':>8}   ours minus this")
    for name in data["method"].values:
        row = data.sel({"method": name})
        line = f"{name:<26}{row['train'].mean().item():9.4f}{row['test'].mean().item():9.4f}"
        line += f"{error(row['test'].values):8.4f}"
        if name != OURS:
            gap = ours - row["test"].values
            line += f"   {gap.mean():+.4f} +- {error(gap):.4f}"
        print(line)


def draw(data: xr.Dataset) -> Any:
    figure, (accuracy, risk, rim) = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
    methods = list(data["method"].values)
    for split in range(data.sizes["split"]):
        values = data["test"].isel(split=split)
        accuracy.plot(range(len(methods)), values, color="0.8", lw=0.8, zorder=0)
    for k, name in enumerate(methods):
        values = data["test"].sel({"method": name}).values
        accuracy.plot(np.full(len(values), k), values, "o", ms=4, color=style.colour(k), alpha=0.6)
        accuracy.plot(k, values.mean(), "_", ms=26, mew=2.2, color="black")
    accuracy.set_xticks(range(len(methods)), [name.replace(" ", "\n", 1) for name in methods])
    accuracy.set(ylabel="test accuracy", xlim=(-0.5, len(methods) - 0.5))
    risk.plot(data["draw"], data["objective"].T, color=style.COLOURS[0], lw=0.8, alpha=0.5)
    risk.set(xlabel="kept draw, one line a split", ylabel="risk")
    rim.hist(data["slack"].values.reshape(-1), 40, color=style.COLOURS[4])
    rim.set(xlabel="distance of a neuron from the rim", ylabel="neurons")
    for ax in (accuracy, risk, rim):
        style.bare(ax)
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    p = command.parser("paper network", __doc__)
    p.add_argument("--dataset", choices=DATA, default="breast_cancer", help="which data")
    p.add_argument("--splits", type=int, default=10, help="random splits")
    p.add_argument("--neurons", type=int, default=512, help="particles")
    p.add_argument("--scale", type=float, help="how large outputs may be; by dataset")
    p.add_argument("--temperature", type=float, help="tau, in nats; by dataset")
    p.add_argument("--batch-size", type=int, default=128, help="rows a step")
    p.add_argument("--step-size", type=float, help="h of algorithm 1; by dataset")
    p.add_argument("--adjusted", action="store_true", help="all rows, adjusted, step adapted")
    p.add_argument("--warmup", type=int, default=800, help="steps before the first draw")
    p.add_argument("--samples", type=int, default=300, help="steps after them")
    p.add_argument("--thinning", type=int, default=20, help="keep one draw in this many")
    p.add_argument("--no-peers", action="store_true", help="only the neurons in a ball")
    arguments = p.parse_args(argv)
    if arguments.quick:
        arguments.splits, arguments.neurons, arguments.warmup, arguments.samples = 2, 64, 50, 40
    known = DATA[arguments.dataset]
    arguments.scale = arguments.scale or known.scale
    arguments.temperature = arguments.temperature or known.temperature
    arguments.step_size = arguments.step_size or known.step_size
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    parts = splits(arguments.dataset, arguments.splits, arguments.seed)
    classes = int(parts[0].z.max()) + 1
    mcmc, fits, table = network(arguments, classes), [], []
    for k, split in enumerate(parts):
        fits.append(fit(mcmc, split, arguments.scale, arguments.seed + k))
        scores = {OURS: (fits[-1].train, fits[-1].test)}
        if not arguments.no_peers:
            scores |= peers(split, arguments.neurons, arguments.seed + k)
        table.append(scores)
        print(f"split {k}: " + ", ".join(f"{n} {s[1]:.4f}" for n, s in scores.items()), flush=True)
    both = np.array([list(scores.values()) for scores in table])
    data = xr.Dataset(
        {
            "train": (("split", "method"), both[..., 0]),
            "test": (("split", "method"), both[..., 1]),
            "objective": (("split", "draw"), [f.objective for f in fits]),
            "slack": (("split", "neuron"), [f.slack for f in fits]),
        },
        {"method": list(table[0]), "draw": np.arange(len(fits[0].objective))},
        {name: getattr(arguments, name) for name in ("dataset", "scale", "temperature", "neurons")},
    )
    show(data)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    steps = arguments.warmup + arguments.samples
    rest = [f.seconds for f in fits[1:]] or [fits[0].seconds]
    print(
        f"\n{arguments.neurons} neurons, {steps} steps in {np.mean(rest):.0f} s a split, ", end=""
    )
    print(f"{memory:.2f} GiB at most")
    command.save(data, draw(data), arguments.out / f"paper_network_{arguments.dataset}", dpi=110)
