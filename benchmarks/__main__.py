"""Runs the benchmarks: `python -m benchmarks [NAME ...] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import platform

import jax

NAMES = (
    "overhead",
    "barycenters",
    "conversion",
    "density",
    "diagnostics",
    "fluxes",
    "gpu_memory",
    "interactions",
    "marks",
    "overshoot",
    "particle_moves",
    "path_space",
    "posteriors",
    "quantisation",
    "scaling",
    "spread",
    "streaming",
    "trajectories",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {NAMES}; default: all")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {unknown}; there are {NAMES}")
    print(f"Python {platform.python_version()}, jax {jax.__version__}, {jax.devices()[0]}")
    results = {}
    for name in arguments.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}")
        results[name] = module.run()
        print_rows(results[name])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


def print_rows(rows: list[dict]) -> None:
    """A table, a column for each key."""
    text = [list(rows[0])] + [
        [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    for line in text:
        print("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
