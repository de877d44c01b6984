"""What a run that goes to disk costs: its memory, its time, and what it loses when it is killed.

`python -m benchmarks.streaming` measures memory and time, each run in a process of its own, and
`python -m benchmarks.streaming --kills 50` kills a run that often at random moments."""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

import jax
import numpyro
import numpyro.distributions as dist
import xarray as xr
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.runs import open_run
from mmfld_ppl.runs import run as run_to_disk

PARTICLES, CHAINS, WARMUP = 1000, 2, 100
LENGTHS = (1_000, 8_000)
SHORT = {"warmup": 300, "draws": 700, "chunk": 10}


def matching(size: int) -> None:
    """Particles on a simplex, pulled to a mean."""
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Dirichlet(jax.numpy.ones(3)))
    target = jax.numpy.array([0.7, 0.2, 0.1])
    pull = mm.functionals.OfMean(outer=lambda m: jax.numpy.sum((m - target) ** 2))
    mm.objective("F", pull, x, temperature=0.05)


def sampler(draws: int, warmup: int = WARMUP) -> MCMC:
    return MCMC(
        mm.MMFLD(matching),
        num_warmup=warmup,
        num_samples=draws,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )


def one(how: str, draws: int) -> None:
    """One run, for a process of its own: prints its CPU seconds and its peak memory."""
    key, begun = jax.random.key(0), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if how == "disk":
            run_to_disk(sampler(draws), key, PARTICLES, store=f"{folder}/run.zarr")
        else:
            mcmc = sampler(draws)
            mcmc.run(key, PARTICLES)
            mm.to_inference_data(mcmc)
        seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def run() -> list[dict]:
    rows = []
    for how in ("disk", "memory"):
        found = []
        for draws in LENGTHS:
            command = [sys.executable, "-m", "benchmarks.streaming", "--one", how, str(draws)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        (short, long), (few, many) = found, LENGTHS
        rows.append(
            {
                "draws to": how,
                f"peak MB, {few} draws": short["peak"],
                f"peak MB, {many} draws": long["peak"],
                "CPU us a step": 1e6 * (long["seconds"] - short["seconds"]) / (many - few),
                f"CPU seconds, {many} draws": long["seconds"],
            }
        )
    disk, memory = rows
    for row in rows:
        row["time, to memory"] = row["CPU us a step"] / memory["CPU us a step"]
    return [disk, memory]


def short_run(store: str) -> None:
    """A run of many small chunks, for a process that is killed."""
    run_to_disk(
        sampler(SHORT["draws"], SHORT["warmup"]),
        jax.random.key(1),
        20,
        store=store,
        resume=True,
        chunk=SHORT["chunk"],
        collect_warmup=True,
    )


def kills(count: int) -> list[dict]:
    """Kills runs `count` times in all, and compares what they end with, to the last bit."""
    chance, rows, done = random.Random(0), [], 0
    with tempfile.TemporaryDirectory() as folder:
        expected, begun = pathlib.Path(folder, "whole.zarr"), time.perf_counter()
        begin(expected).wait()
        longest = time.perf_counter() - begun
        while done < count:
            store = pathlib.Path(folder, f"{len(rows)}.zarr")
            row = {"store": len(rows), "before": 0, "in warm-up": 0, "in sampling": 0}
            while True:
                process = begin(store)
                try:
                    process.wait(chance.uniform(0, longest) if done < count else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                done += 1
                row[moment(store)] += 1
                print(f"kill {done} of {count}: {moment(store)}", file=sys.stderr)
            row["same draws"] = process.returncode == 0 and same(store, expected)
            rows.append(row)
    return rows


def begin(store: pathlib.Path) -> subprocess.Popen:
    """A process with the short run."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.streaming", "--short", str(store)])


def moment(store: pathlib.Path) -> str:
    """When a run was killed, by what it had committed; it must be readable."""
    if not (store / ".zmetadata").exists():
        return "before"
    return "in sampling" if "posterior" in open_run(store) else "in warm-up"


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    trees = [xr.open_datatree(path, engine="zarr").load() for path in (one, other)]
    return all(
        trees[0][name].to_dataset().equals(trees[1][name].to_dataset())
        for name in trees[0].children
    )


if __name__ == "__main__":
    from benchmarks.__main__ import print_rows

    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--kills", type=int, metavar="N", help="kill a run this often")
    parser.add_argument("--one", nargs=2, metavar=("HOW", "DRAWS"), help=argparse.SUPPRESS)
    parser.add_argument("--short", metavar="STORE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.short:
        short_run(arguments.short)
    elif arguments.one:
        one(arguments.one[0], int(arguments.one[1]))
    else:
        print_rows(kills(arguments.kills) if arguments.kills else run())
