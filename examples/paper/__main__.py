"""Runs an experiment of the paper: `python -m examples.paper NAME [options]`."""

from __future__ import annotations

import importlib
import sys

#: Of each name, what it shows. The module of that name in this folder has a function `main(argv)`.
EXPERIMENTS = {
    "table": "first steps on simplex and spectraplex: maps, discretisations, adjustment",
    "xor": "a network whose neurons stay in a ball, XOR with noise or data of your own",
}


def main() -> None:
    name, *options = sys.argv[1:] or ["--help"]
    if name not in EXPERIMENTS:
        print("usage: python -m examples.paper NAME [options]\n")
        print("\n".join(f"  {known:<12} {shows}" for known, shows in EXPERIMENTS.items()))
        sys.exit(0 if name in ("-h", "--help") else f"\nno experiment '{name}'")
    importlib.import_module(f".{name}", __package__).main(options)


if __name__ == "__main__":
    main()
