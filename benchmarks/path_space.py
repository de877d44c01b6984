"""Time of a step of trajectory inference, and how it grows with particles and snapshots.

The adjusted kernel in its steady state, float32, after its warm-up, on the bifurcating population
in ten dimensions, 64 cells a snapshot. A step is the slope between a short and a long scan, so that
compilation is left out of it and told apart; core time is what all threads took together, and does
not mind a busy machine. Transport is solved to a marginal error of 1e-3. `MB` is what a compiled
step keeps beside its arguments and results.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.functionals import PathSpace
from models import bifurcation
from models.trajectory import starting_cells, trajectory

SETTING: dict[str, Any] = {
    "diffusivity": bifurcation.DIFFUSIVITY,
    "bandwidth": 0.5,
    "regularization": 0.05,
}


def population(num_times: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Snapshots of 64 cells, over the same stretch of time however many they are."""
    rng = np.random.default_rng(0)
    times = np.linspace(bifurcation.TIMES[0], bifurcation.TIMES[-1], num_times)
    cells = [bifurcation.simulate(rng, 64, s, step=5e-3) for s in times]
    return [z.astype(np.float32) for z in cells], times


def measure(num_times: int, cells: int, warmup: int, short: int, long: int, pairs: int) -> dict:
    snapshots, times = population(num_times)
    first = starting_cells(jax.random.key(0), snapshots, times, cells=cells, bandwidth=0.5)
    kernel = mm.MMFLD(trajectory)
    setting = {"cells": cells, **SETTING}
    mcmc = MCMC(kernel, num_warmup=warmup, num_samples=1, progress_bar=False)
    mcmc.warmup(jax.random.key(1), snapshots, times, init_params=first, **setting)
    state = mcmc.post_warmup_state

    def scan(length: int):
        def step(state, _):
            state = kernel.sample(state, (snapshots, times), setting)
            return state, state.collective_ratio

        return jax.jit(lambda state: jax.lax.scan(step, state, length=length))

    begin = time.perf_counter()
    runs = {length: scan(length).lower(state).compile() for length in (short, long)}
    compiling = (time.perf_counter() - begin) / 2
    memory = runs[short].memory_analysis()

    def seconds(length: int) -> np.ndarray:
        begin = np.array([time.perf_counter(), time.process_time()])
        jax.block_until_ready(runs[length](state))
        return np.array([time.perf_counter(), time.process_time()]) - begin

    seconds(short)
    slopes = [(seconds(long) - seconds(short)) / (long - short) for _ in range(pairs)]
    wall, cpu = (1e3 * np.array(slopes)).T
    state, ratio = runs[long](state)
    before = state.particles.frozen.carry
    moved = kernel.sample(state, (snapshots, times), setting)
    path = PathSpace(snapshots, times, **SETTING)
    report = path.report(mm.Measure.uniform(moved.z["x"]), before)
    return {
        "times": num_times,
        "particles": cells,
        "ms/step": float(np.median(wall)),
        "min": float(min(wall)),
        "max": float(max(wall)),
        "core ms/step": float(np.median(cpu)),
        "compile s": compiling,
        "MB": memory.temp_size_in_bytes / 2**20 if memory else float("nan"),
        "Sinkhorn iterations": float(np.mean(report.iterations)),
        "marginal error": float(np.max(report.marginal_error)),
        "accepted": float(state.accept_prob),
        "r": float(np.mean(ratio)),
    }


def run(
    particles=(100, 250, 500, 1000, 2000), snapshots=(25, 50, 100), budget: float = 10.0
) -> list[dict]:
    """particles: of each of ten times. snapshots: numbers of times, with 100 particles each.
    budget: of each size, in seconds, roughly."""
    rows = []
    for num_times, cells in [(10, m) for m in particles] + [(t, 100) for t in snapshots]:
        # A guess of the cost, to give each size about the same time.
        guess = 2e-3 * (num_times / 10) * (cells / 100) ** 2
        long = max(4, min(400, int(budget / (4 * guess))))
        # Long enough for a step size at which r is below 1.
        warmup = max(40, min(300, int(budget / guess)))
        pairs = 3 if guess < 0.1 else 2
        rows.append(measure(num_times, cells, warmup, max(1, long // 4), long, pairs))
        print(rows[-1], flush=True)
    return rows
