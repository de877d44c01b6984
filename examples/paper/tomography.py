"""Quantum state tomography of two qubits: counts in, a posterior of density matrices out.

The default data are simulated: (|00> + exp(i .6) |11>) / sqrt(2), mixed with a tenth of noise, the
nine pairs of Pauli measurements, 100 shots each. Prints the posterior of what a physicist asks for:
the fidelity with the pure state, purity, concurrence and the probability of entanglement; beside
them linear inversion, which may not be a state at all. Saves the run (NetCDF) and a figure.

--data FILE takes counts of your own: columns `setting` (XZ), `outcome` (+-) and `count`, of any
number of qubits.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro.infer import init_to_sample

import mmfld_ppl as mm
from mmfld_ppl.constraints.hermitian import to_complex
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots.style import COLOURS, bare
from models.tomography import pauli_measurement, tomography

from .. import command
from ..tables import read_table

PHASE, VISIBILITY = 0.6, 0.9
FLIP = np.array([[0, 0, 0, -1], [0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0]])


def simulate(rng: np.random.Generator, shots: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Settings, counts, and the true state."""
    pure = np.array([1, 0, 0, np.exp(1j * PHASE)]) / np.sqrt(2)
    state = VISIBILITY * np.outer(pure, pure.conj()) + (1 - VISIBILITY) * np.eye(4) / 4
    settings = ["".join(pair) for pair in itertools.product("XYZ", repeat=2)]
    p = [np.einsum("kij,ji->k", pauli_measurement(s), state).real for s in settings]
    return settings, np.stack([rng.multinomial(shots, q / q.sum()) for q in p]), state


def load(arguments: argparse.Namespace) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    if arguments.data is None:
        return simulate(np.random.default_rng(arguments.seed), arguments.shots)
    table = read_table(arguments.data, "setting", "outcome", "count", all_numbers=False)
    settings = sorted(set(table["setting"].astype(str)))
    qubits = len(settings[0])
    outcomes = ["".join(signs) for signs in itertools.product("+-", repeat=qubits)]
    counts = np.zeros((len(settings), len(outcomes)), int)
    for setting, outcome, count in zip(
        table["setting"].astype(str), table["outcome"].astype(str), table["count"], strict=True
    ):
        if outcome not in outcomes:
            raise SystemExit(f"an outcome must be one of {outcomes}, got '{outcome}'")
        counts[settings.index(setting), outcomes.index(outcome)] += int(count)
    return settings, counts, None


def linear_inversion(operators: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The Hermitian matrix of trace one with the least squared error in the frequencies."""
    n = operators.shape[-1]
    effects = operators.reshape(-1, n * n)
    frequencies = (counts / counts.sum(axis=1, keepdims=True)).reshape(-1)
    # A weight that makes the trace exact.
    design = np.vstack([effects.conj(), 1e6 * np.eye(n).reshape(1, -1)])
    solution = np.linalg.lstsq(design, np.append(frequencies, 1e6), rcond=None)[0]
    matrix = solution.reshape(n, n)
    return (matrix + matrix.conj().T) / 2


def concurrence(states: np.ndarray) -> np.ndarray:
    """Of two-qubit states (Wootters 1998): positive where entangled."""
    products = states @ FLIP @ states.conj() @ FLIP
    roots = np.sqrt(np.maximum(np.linalg.eigvals(products).real, 0))
    return np.maximum(2 * roots.max(axis=-1) - roots.sum(axis=-1), 0)


def nearest_pure(states: np.ndarray) -> np.ndarray:
    """The leading eigenvector of the posterior mean."""
    return np.linalg.eigh(states.mean(axis=(0, 1)))[1][:, -1]


def draw(states: np.ndarray, numbers: dict[str, np.ndarray], truth: dict[str, float]) -> Any:
    """The mean matrix, entry by entry, and the posteriors of the numbers."""
    n = states.shape[-1]
    figure, axes = plt.subplots(1, 2 + len(numbers), figsize=(13, 3.3), layout="constrained")
    parts = {"real": np.real(states), "imaginary": np.imag(states)}
    top = np.abs(states.mean(axis=(0, 1))).max()
    for ax, (title, values) in zip(axes, parts.items(), strict=False):
        part, sd = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
        ax.imshow(part, cmap="PuOr", vmin=-top, vmax=top)
        if n <= 4:
            for i, j in np.ndindex(n, n):
                colour = "white" if abs(part[i, j]) > 0.7 * top else "black"
                text = f"{part[i, j]:.2f}\n±{sd[i, j]:.2f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        basis = [f"{i:0{n.bit_length() - 1}b}" for i in range(n)] if n <= 4 else []
        ax.set_xticks(range(len(basis)), basis, fontsize=7)
        ax.set_yticks(range(len(basis)), basis, fontsize=7)
        ax.tick_params(length=0)
        ax.set_title(f"posterior, {title} part")
    figure.colorbar(axes[1].images[0], ax=axes[1], shrink=0.85)
    for ax, (name, values) in zip(axes[2:], numbers.items(), strict=True):
        ax.hist(values.reshape(-1), 40, density=True, color=COLOURS[0], alpha=0.6)
        if name in truth:
            ax.axvline(truth[name], color=COLOURS[1], lw=1.5, label="true state")
            ax.legend(frameon=False, fontsize="small")
        ax.set(xlabel=name, yticks=[])
        bare(ax)
        ax.spines["left"].set_visible(False)
    axes[2].set_ylabel("posterior density")
    return figure


def report(name: str, values: np.ndarray, truth: dict[str, float]) -> None:
    low, high = np.quantile(values, [0.03, 0.97])
    known = f", true {truth[name]:.3f}" if name in truth else ""
    print(f"{name:<12} {values.mean():.3f}, 94% of the mass in [{low:.3f}, {high:.3f}]{known}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser("paper tomography", __doc__, "setting, outcome, count")
    parser.add_argument("--shots", type=int, default=100, help="of each simulated setting")
    command.add_run_options(parser, warmup=500, samples=2000, thinning=2)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.warmup, arguments.samples = 100, 100
    settings, counts, true_state = load(arguments)
    operators = np.stack([pauli_measurement(setting) for setting in settings])
    # A draw of the prior is well inside; the usual start is nearly singular in 15 dimensions.
    kernel = mm.MMFLD(tomography, init_strategy=init_to_sample)
    mcmc = command.replicates(kernel, arguments, operators, counts)
    idata = mm.to_inference_data(mcmc)
    print(mm.summary(idata, var_names=["purity"]).round(3).to_string(), "\n")

    states = np.asarray(to_complex(jnp.asarray(dataset(idata, "posterior")["state"].values)))
    target = nearest_pure(states)
    if true_state is not None:
        target = np.linalg.eigh(true_state)[1][:, -1]

    def numbers_of(x: np.ndarray) -> dict[str, np.ndarray]:
        found = {
            "fidelity": np.einsum("i,...ij,j->...", target.conj(), x, target).real,
            "purity": np.sum(np.abs(x) ** 2, axis=(-2, -1)),
        }
        return found | ({"concurrence": concurrence(x)} if x.shape[-1] == 4 else {})

    numbers = numbers_of(states)
    truth = {}
    if true_state is not None:
        truth = {name: float(v) for name, v in numbers_of(true_state).items()}
    for name, values in numbers.items():
        report(name, values, truth)
    if "concurrence" in numbers:
        print(f"entangled with probability {np.mean(numbers['concurrence'] > 0):.4f}")
    inverted = linear_inversion(operators, counts)
    least = np.linalg.eigvalsh(inverted)[0]
    print(f"linear inversion has the least eigenvalue {least:.3f}", end="")
    print(": not a state" if least < 0 else "")
    if true_state is not None:
        for name, matrix in (("posterior mean", states.mean(axis=(0, 1))), ("inversion", inverted)):
            error = np.linalg.norm(matrix - true_state)
            print(f"distance of the {name:<15} from the true state: {error:.3f}")

    title = arguments.data.stem if arguments.data else "bell"
    figure = draw(states, numbers, truth)
    command.save(idata, figure, arguments.out / f"paper_tomography_{title}", dpi=110)
