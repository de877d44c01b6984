"""Barycenters of digits with free atoms: objective against time, beside OTT-JAX and POT.

Ten threes (scikit-learn digits) on the unit square, 100 atoms, the same start for all. `W2^2` is
the objective of the unregularised problem, the mean exact squared distance to the ten (POT `emd2`,
in units of 1e-3): what each method is after, through its own surrogate. `own` is that surrogate as
the method reports it, in the same units. Seconds are of a second, compiled run.

OTT-JAX (`FreeWassersteinBarycenter`) and POT (`free_support_sinkhorn_barycenter`) move every atom
to the mean of what an entropic coupling sends it to; POT `free_support_barycenter` does so with
exact couplings. Ours is a sampler: it stays at the temperature given, and pays for the spread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import ot
from numpyro.infer import init_to_value
from ott.problems.linear.barycenter_problem import FreeBarycenterProblem
from ott.solvers.linear.continuous_barycenter import FreeWassersteinBarycenter
from ott.solvers.linear.sinkhorn import Sinkhorn
from sklearn.datasets import load_digits

import mmfld_ppl as mm
from models.barycenter import barycenter

Measures = list[tuple[np.ndarray, np.ndarray]]


def threes(count: int = 10) -> Measures:
    """The first threes: ink at the cell centres of the unit square."""
    data = load_digits()
    centres = (np.arange(8) + 0.5) / 8
    across, up = np.meshgrid(centres, centres[::-1])
    pixels = np.stack([across.ravel(), up.ravel()], axis=1)
    images = data.images[data.target == 3][:count].reshape(count, -1)
    return [(pixels[ink > 0], ink[ink > 0] / ink.sum()) for ink in images]


def exact(x: np.ndarray, targets: Measures) -> float:
    """The mean squared 2-Wasserstein distance of equal atoms to the targets."""
    x = np.asarray(x, float)
    a = np.full(len(x), 1 / len(x))
    return float(np.mean([ot.emd2(a, b, ot.dist(x, y)) for y, b in targets]))


def twice(function: Callable) -> tuple[float, Any]:
    """Seconds of the second call, and what it gives."""
    jax.block_until_ready(function())
    begin = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - begin, result


def ott_rows(targets: Measures, start: np.ndarray, epsilon: float, rounds: tuple[int, ...]):
    size = max(len(b) for _, b in targets)
    y = np.stack([np.concatenate([y, np.repeat(y[:1], size - len(b), 0)]) for y, b in targets])
    b = np.stack([np.pad(b, (0, size - len(b))) for _, b in targets])
    problem = FreeBarycenterProblem(jnp.asarray(y), jnp.asarray(b), epsilon=epsilon)
    for count in rounds:
        # A threshold of zero: all rounds are made.
        solver = FreeWassersteinBarycenter(
            Sinkhorn(threshold=1e-3, max_iterations=2000), threshold=0.0, max_iterations=count
        )
        solve = jax.jit(lambda x, solver=solver: solver(problem, bar_size=len(start), x_init=x))
        seconds, out = twice(lambda solve=solve: solve(jnp.asarray(start)))
        yield "OTT-JAX", f"epsilon={epsilon}", count, seconds, out.x, float(out.costs[count - 1])


def pot_rows(targets: Measures, start: np.ndarray, rounds: tuple[int, ...], epsilon=None):
    points, masses = [y for y, _ in targets], [b for _, b in targets]
    for count in rounds:
        if epsilon is None:
            name, setting = "POT exact", "-"
            solve = ot.lp.free_support_barycenter
            arguments = {}
        else:
            name, setting = "POT Sinkhorn", f"epsilon={epsilon}"
            solve = ot.bregman.free_support_sinkhorn_barycenter
            arguments = {"reg": epsilon}
        arguments |= {"numItermax": count, "stopThr": 0.0}
        begin = time.perf_counter()
        x = solve(points, masses, start, **arguments)
        yield name, setting, count, time.perf_counter() - begin, x, float("nan")


def our_rows(targets: Measures, start: np.ndarray, settings, steps: int):
    measures = [mm.Measure(y, b) for y, b in targets]
    strategy = init_to_value(values={"x": jnp.asarray(start)})
    kernel = mm.MMFLD(barycenter, init_strategy=strategy)
    for epsilon, temperature in settings:
        setting = {"particles": len(start), "epsilon": epsilon, "temperature": temperature}

        def run(setting=setting):
            state = kernel.init(jax.random.key(0), steps // 2, None, (measures,), setting)

            def step(state, _):
                return kernel.sample(state, (measures,), setting), None

            return jax.lax.scan(step, state, None, steps)[0]

        seconds, state = twice(jax.jit(run))
        label = f"epsilon={epsilon} temperature={temperature}"
        yield "mmfld_ppl", label, steps, seconds, state.z["x"], float(state.objective)


def run(steps: int = 200, rounds: tuple[int, ...] = (5, 20, 60)) -> list[dict]:
    targets = threes()
    pool = np.concatenate([y for y, _ in targets])
    rng = np.random.default_rng(0)
    jitter = rng.uniform(-1 / 16, 1 / 16, (100, 2))
    start = (pool[rng.choice(len(pool), 100)] + jitter).astype(np.float32)
    found = [("start", "-", 0, 0.0, start, float("nan"))]
    found += pot_rows(targets, start.astype(float), rounds)
    for epsilon in (0.01, 0.004):
        found += pot_rows(targets, start.astype(float), rounds, epsilon)
        found += ott_rows(targets, start, epsilon, rounds)
    found += our_rows(targets, start, ((0.01, 0.005), (0.004, 1e-4)), steps)
    return [
        {
            "method": method,
            "setting": setting,
            "steps": count,
            "seconds": seconds,
            "W2^2": 1e3 * exact(x, targets),
            "own": 1e3 * own,
        }
        for method, setting, count, seconds, x, own in found
    ]
