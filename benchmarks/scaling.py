"""How the cost of a step grows with particles, dimensions and chains, and that of a barycenter's
field and solves with points and targets.

`grows as` is the slope of log cost against log size from the row before: 1 is linear. A step is one
of the kernel on the mean matching of particles on a simplex, its step size fixed. A field is the
first variation of an entropic barycenter and its gradient, at as many points as each target has
atoms, in 2 dimensions; `all pairs` is plain code that holds them. A solve is one transport problem
of as many atoms on either side, from a cold start. Seconds are seconds of the processor, the least
of three; memory is what the compiled program needs for intermediate results.

`python -m benchmarks.scaling`
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl import Measure
from mmfld_ppl.functionals import SinkhornBarycenter, transport_costs
from mmfld_ppl.functionals.distances import squared_distance
from mmfld_ppl.functionals.transport import solve

REPEATS = 3
#: Of one timing, about.
SECONDS = 0.2


def matching(size: int, dimension: int) -> None:
    """Particles on a simplex, pulled to its first vertex."""
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(dimension)))
    target = jnp.zeros(dimension).at[0].set(1.0)
    pull = mm.functionals.OfMean(outer=lambda m: jnp.sum(jnp.square(m - target)))
    mm.objective("F", pull, x, temperature=0.05)


def step_cost(size: int = 100, dimension: int = 3, chains: int = 1) -> tuple[float, float]:
    """(CPU seconds of a step, MB)."""
    kernel = mm.MMFLD(matching, step_size=0.1, adapt_step_size=False, adapt_metric=False)
    key, args = jax.random.key(0), (size, dimension)
    keys = jax.random.split(key, chains) if chains > 1 else key
    state = kernel.init(keys, 0, None, args, {})

    def advance(state: Any, steps: Array) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, s: kernel.sample(s, args, {}), state)

    program = jax.jit(advance).lower(state, 1).compile()
    run = lambda steps: program(state, jnp.asarray(steps, jnp.int32))  # noqa: E731
    # Moves of the first step start from states that JAX has just made.
    few = max(1, math.ceil(SECONDS / 10 / least(lambda: run(1))))
    many = max(few + 1, math.ceil(few * SECONDS / least(lambda: run(few))))
    return least(lambda: run(many)) / many, memory(program)


def field_cost(size: int = 500, targets: int = 5, by_hand: bool = False) -> tuple[float, float]:
    """(CPU seconds of the field of a barycenter at all of its points, MB)."""
    x = jax.random.normal(jax.random.key(0), (size, 2))
    y = jax.random.normal(jax.random.key(1), (targets, size, 2))
    F = SinkhornBarycenter([Measure.uniform(points) for points in y], epsilon=1.0)
    potentials = F.init_carry(Measure.uniform(x))

    def ours(x: Array) -> Array:
        return F.first_variation((potentials, None), x).sum()

    def all_pairs(x: Array) -> Array:
        squares = jnp.sum(x**2, -1)[:, None] + jnp.sum(y**2, -1)[:, None]
        costs = squares - 2 * jnp.einsum("nd,kmd->knm", x, y, precision="highest")
        return -jax.nn.logsumexp(potentials.targets[:, None] - costs, axis=-1).mean(0).sum()

    program = jax.jit(jax.value_and_grad(all_pairs if by_hand else ours)).lower(x).compile()
    return least(lambda: program(x)), memory(program)


def solve_cost(size: int, held: int) -> tuple[float, float]:
    """(CPU seconds of a Sinkhorn solve from a cold start, MB), costs of up to `held` pairs being
    held."""
    x, y = jax.random.normal(jax.random.key(0), (2, size, 2))
    masses, zero = jnp.full(size, 1 / size), jnp.zeros(size)

    def solution(x: Array, y: Array) -> Array:
        limits = {"threshold": 1e-3, "max_iterations": 1000}
        return solve(squared_distance, x, y, masses, masses, zero, jnp.ones(()), **limits)[0]

    with patch.object(transport_costs, "HELD", held):
        program = jax.jit(solution).lower(x, y).compile()
    return least(lambda: program(x, y)), memory(program)


def least(function: Callable[[], Any]) -> float:
    """CPU seconds of a call: the least, which has the least of other programs in it."""
    jax.block_until_ready(function())
    seconds = []
    for _ in range(REPEATS):
        begin = time.process_time()
        jax.block_until_ready(function())
        seconds.append(time.process_time() - begin)
    return max(min(seconds), 1e-6)


def memory(program: Any) -> float:
    return program.memory_analysis().temp_size_in_bytes / 1e6


def run() -> list[dict]:
    rows: list[dict] = []
    sweeps = {
        "particles": ("size", (10, 1_000, 10_000, 100_000)),
        "dimensions": ("dimension", (3, 30, 300)),
        "chains": ("chains", (1, 4, 32)),
    }
    for what, (name, sizes) in sweeps.items():
        for size in sizes:
            add(rows, f"step, {what}", size, *step_cost(**{name: size}))
    for name, sizes in {"size": (250, 500, 1_000, 2_000), "targets": (5, 20, 80)}.items():
        for by_hand in (False, True):
            what = f"field, {name}, all pairs" if by_hand else f"field, {name}"
            for size in sizes:
                add(rows, what, size, *field_cost(**{name: size}, by_hand=by_hand))
    for what, held, sizes in (
        ("solve", transport_costs.HELD, (500, 2_000, 8_000)),
        ("solve, no cost held", 0, (500, 2_000, 8_000, 16_000)),
    ):
        for size in sizes:
            add(rows, what, size, *solve_cost(size, held))
    return sorted(rows, key=lambda row: row["of"])


def add(rows: list[dict], what: str, size: int, seconds: float, megabytes: float) -> None:
    before = [row for row in rows if row["of"] == what]
    exponent: Any = ""
    if before:
        last = before[-1]
        exponent = math.log(seconds / last["seconds"]) / math.log(size / last["size"])
    rows.append(
        {"of": what, "size": size, "seconds": seconds, "grows as": exponent, "MB": megabytes}
    )


if __name__ == "__main__":
    from .__main__ import print_rows

    print_rows(run())
