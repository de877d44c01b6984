"""Runs an experiment of the paper: `python -m examples.paper NAME [options]`."""

from __future__ import annotations

import importlib
import sys

#: Of each name, what it shows. The module of that name has a function `main(argv)`.
EXPERIMENTS = {
    "simplex": "experiment 1: mean matching on the simplex, every method with its step tuned",
    "spectraplex": "experiment 2: density matrices, every method with its step tuned",
    "ablations": "what each choice does: steps, maps, adjustment, barrier, minibatches",
    "tomography": "a posterior of quantum states from counts of measurements",
    "table": "first steps on simplex and spectraplex: maps, discretisations, adjustment",
    "xor": "a network whose neurons stay in a ball, XOR with noise or data of your own",
    "xor_methods": "experiment 3: the same network under every method, with its step tuned",
    "network": "the same on real data, beside a perceptron of the same width",
    "problems": "tensors, spikes, discrepancies and transport, each beside its exact minimiser",
    "decay": "theorem 3.2: the rate at which L falls, against twice the log-Sobolev constant",
    "particles": "theorem 4.1: the error of N particles, against the exact law of N",
    "steps": "theorem 4.2: the bias of a step, and steps under a map that is not self-concordant",
    "noise": "theorem 4.3: what minibatches add",
    "constants": "assumptions 5 and 7: constants of all maps and of the paper's objectives",
}
#: Those that stand in the folder `theory`.
THEORY = ("decay", "particles", "steps", "noise", "constants")


def main() -> None:
    name, *options = sys.argv[1:] or ["--help"]
    if name not in EXPERIMENTS:
        print("usage: python -m examples.paper NAME [options]\n")
        print("\n".join(f"  {known:<12} {shows}" for known, shows in EXPERIMENTS.items()))
        sys.exit(0 if name in ("-h", "--help") else f"\nno experiment '{name}'")
    module = f".theory.{name}" if name in THEORY else f".{name}"
    importlib.import_module(module, __package__).main(options)


if __name__ == "__main__":
    main()
