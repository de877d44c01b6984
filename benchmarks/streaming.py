"""What a run that goes to disk costs: its memory, its time, and what it loses when it is killed.

`python -m benchmarks.streaming` measures memory, each run in a process of its own, and then time:
runs to disk and to memory in turn, in one process. The time of a step is the slope between a short
and a long run, which leaves compilation out. `python -m benchmarks.streaming --kills 50` kills a
run that often at random moments."""

from __future__ import annotations

import argparse
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
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


def draw(how: str, draws: int) -> tuple[float, float]:
    """One run; its seconds of the processor and on the wall."""
    key, begun = jax.random.key(0), (time.process_time(), time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        if how == "disk":
            run_to_disk(sampler(draws), key, PARTICLES, store=f"{folder}/run.zarr")
        else:
            mcmc = sampler(draws)
            mcmc.run(key, PARTICLES)
            mm.to_inference_data(mcmc)
        return time.process_time() - begun[0], time.perf_counter() - begun[1]


def peak(how: str, draws: int) -> float:
    """The peak memory of a process that does nothing else, in MB."""
    command = [sys.executable, "-m", "benchmarks.streaming", "--one", how, str(draws)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def a_step(how: str) -> np.ndarray:
    """Seconds of a step, of the processor and on the wall."""
    short, long = (np.array(draw(how, draws)) for draws in LENGTHS)
    return (long - short) / (LENGTHS[1] - LENGTHS[0])


def run(pairs: int = 3) -> list[dict]:
    hows = ("disk", "memory")
    rows = [
        {"draws to": how} | {f"peak MB, {n} draws": peak(how, n) for n in LENGTHS} for how in hows
    ]
    times(1)  # Compiled, where there is a cache, before anything is timed.
    return [row | more for row, more in zip(rows, times(pairs), strict=True)]


def times(pairs: int) -> list[dict]:
    """Of a step to disk and to memory; ratios are those within a pair, their median."""
    found = [[a_step(how) for how in ("disk", "memory")] for _ in range(pairs)]
    disk, memory = np.array(found).swapaxes(0, 1)
    return [
        {
            f"{clock} {what}": float(value)
            for k, clock in enumerate(("CPU", "wall"))
            for what, value in (
                ("us a step", 1e6 * np.median(these[:, k])),
                ("to memory", np.median(these[:, k] / memory[:, k])),
            )
        }
        for these in (disk, memory)
    ]


def short_run(store: str) -> None:
    """A run of many small chunks, for a process that is killed."""
    print("begins", flush=True)
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
        expected = pathlib.Path(folder, "whole.zarr")
        process, begun = begin(expected), time.perf_counter()
        process.wait()
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
    """A process with the short run, once it has imported what it needs: a kill before that is no
    kill of a run."""
    command = [sys.executable, "-m", "benchmarks.streaming", "--short", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


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
        draw(arguments.one[0], int(arguments.one[1]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        print_rows(kills(arguments.kills) if arguments.kills else run())
