"""Effective samples a second of posteriors on constrained supports, against peers.

Every sampler runs the same way: four chains, vectorised, in one compiled loop that takes the
number of steps; 1000 steps of its own adaptation, then draws. Compilation is timed apart. Seconds
are seconds of the processor, so that other programs on the machine do not enter. The worst
parameter counts. NumPyro's ensembles (AIES, ESS) have four walkers a parameter in place of chains.
`worst z` is the largest distance from the exact posterior mean in standard
errors, over all parameters: at most about 4 for a sampler that is right.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import arviz
import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax.flatten_util import ravel_pytree
from numpyro.infer import AIES, ESS, NUTS, BarkerMH
from numpyro.infer.util import initialize_model

import mmfld_ppl as mm

from .posterior_problems import Problem, problems

CHAINS, WARMUP = 4, 1000


class Sampler(NamedTuple):
    """start: a key -> the first state of all chains. step: state -> state. read: state -> the
    parameters, a row for each chain."""

    start: Callable[[jax.Array], Any]
    step: Callable[[Any], Any]
    read: Callable[[Any], jax.Array]


def of_kernel(problem: Problem, model: Callable, build: Callable, chains: int = CHAINS) -> Sampler:
    """A NumPyro kernel."""
    kernel = build(model)
    one_at_a_time = isinstance(kernel, BarkerMH)  # It takes no batch of keys.
    postprocess: Any = None

    def start(key):
        nonlocal postprocess
        keys = jax.random.split(key, chains)
        if one_at_a_time:
            starts = [kernel.init(k, WARMUP, None, problem.args, {}) for k in keys]
            state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        else:
            state = kernel.init(keys, WARMUP, None, problem.args, {})
        postprocess = kernel.postprocess_fn(problem.args, {})
        return state

    def step(state):
        sample = lambda s: kernel.sample(s, problem.args, {})  # noqa: E731
        return jax.vmap(sample)(state) if one_at_a_time else sample(state)

    def read(state):
        return jax.vmap(lambda z: problem.read(postprocess(z)))(state.z)

    return Sampler(start, step, read)


def of_blackjax(problem: Problem) -> Sampler:
    """BlackJAX's MALA in NumPyro's unconstrained chart: a step size by its own dual averaging to
    acceptance .574, and the scale of each coordinate from the second quarter of the warm-up."""
    kernel = blackjax.mala.build_kernel()
    first, update, final = dual_averaging_adaptation(0.574)
    key = jax.random.key(0)
    info = initialize_model(key, problem.model, model_args=problem.args)
    flat, unravel = ravel_pytree(info.param_info.z)
    density = lambda z: -info.potential_fn(unravel(z))  # noqa: E731

    def one(key):
        # As `init_to_uniform`, whose finite densities these problems need no retry for.
        z = jax.random.uniform(key, flat.shape, minval=-2, maxval=2)
        zero = jnp.zeros_like(flat)
        search = first(jnp.asarray(0.1))
        return key, 0, blackjax.mala.init(z, density), jnp.ones_like(flat), search, (zero, zero)

    def step(state):
        key, i, point, scale, search, (total, squares) = state
        key, key_step = jax.random.split(key)
        h = jnp.exp(jnp.where(i < WARMUP, search.log_step_size, search.log_step_size_avg))
        scaled = blackjax.mala.init(point.position / scale, lambda u: density(scale * u))
        moved, seen = kernel(key_step, scaled, lambda u: density(scale * u), h)
        z = scale * moved.position
        point = point._replace(
            position=z, logdensity=moved.logdensity, logdensity_grad=moved.logdensity_grad / scale
        )
        early = (i >= WARMUP // 4) & (i < WARMUP // 2)
        total, squares = total + early * z, squares + early * z**2
        n = WARMUP // 2 - WARMUP // 4
        spread = jnp.sqrt(jnp.maximum(squares / n - (total / n) ** 2, 1e-10))
        closing = i + 1 == WARMUP // 2
        scale = jnp.where(closing, spread, scale)
        searched = update(search, seen.acceptance_rate)
        pick = lambda yes, no: jax.tree.map(lambda a, b: jnp.where(closing, a, b), yes, no)  # noqa: E731
        search = pick(first(jnp.asarray(0.5)), searched)
        return key, i + 1, point, scale, search, (total, squares)

    return Sampler(
        lambda key: jax.vmap(one)(jax.random.split(key, CHAINS)),
        jax.vmap(step),
        jax.vmap(lambda s: problem.read(info.postprocess_fn(unravel(s[2].position)))),
    )


def samplers(problem: Problem) -> dict[str, Callable[[], Sampler]]:
    """Those that apply, by name."""
    walkers = 4 * len(problem.mean)
    of = {
        "MMFLD": lambda: of_kernel(problem, problem.model, mm.MMFLD),
        "NUTS": lambda: of_kernel(problem, problem.model, NUTS),
        "MALA": lambda: of_blackjax(problem),
        "Barker": lambda: of_kernel(problem, problem.model, BarkerMH),
        "AIES": lambda: of_kernel(problem, problem.model, AIES, walkers),
        "ESS": lambda: of_kernel(problem, problem.model, ESS, walkers),
    }
    if problem.correlated:
        for name, kernel in (("MMFLD dense", mm.MMFLD), ("NUTS dense", NUTS)):
            dense = functools.partial(kernel, dense_mass=True)
            of[name] = lambda dense=dense: of_kernel(problem, problem.model, dense)
    for chart, model in problem.charts.items():
        of[f"NUTS {chart}"] = lambda model=model: of_kernel(problem, model, NUTS)
    return of


class Timed:
    """A sampler, compiled once, with its adapted state."""

    def __init__(self, problem: Problem, sampler: Sampler, seed: int) -> None:
        self.draws = problem.draws
        state = sampler.start(jax.random.key(seed))
        size = self.draws

        def advance(state, steps, kept):
            def body(i, carry):
                state, kept = carry
                state = sampler.step(state)
                return state, kept.at[i % size].set(sampler.read(state))

            return jax.lax.fori_loop(0, steps, body, (state, kept))

        shape = jax.eval_shape(sampler.read, state)
        self.kept = jnp.zeros((size, *shape.shape), shape.dtype)
        begin = time.process_time()
        self.advance = jax.jit(advance).lower(state, 1, self.kept).compile()
        self.compiling = time.process_time() - begin
        self.seconds: list[float] = []
        begin = time.process_time()
        self.state = jax.block_until_ready(self.advance(state, WARMUP, self.kept))[0]
        self.warming = time.process_time() - begin
        self.batches: list[np.ndarray] = []

    def draw(self) -> None:
        """Another batch of draws, timed."""
        begin = time.process_time()
        end = self.advance(self.state, self.draws, self.kept)
        self.state, kept = jax.block_until_ready(end)
        self.seconds.append(time.process_time() - begin)
        self.batches.append(np.asarray(kept, np.float64))

    def row(self, problem: Problem, name: str) -> dict:
        x = np.concatenate(self.batches).swapaxes(0, 1)
        bulk = np.array([arviz.ess(c, method="bulk") for c in np.moveaxis(x, -1, 0)])
        mean_ess = np.array([arviz.ess(c, method="mean") for c in np.moveaxis(x, -1, 0)])
        error = x.std((0, 1)) / np.sqrt(mean_ess)
        worst = float(np.min(bulk))
        return {
            "problem": problem.name,
            "sampler": name,
            "ESS/s": worst / sum(self.seconds),
            "ESS": worst,
            "ESS/draw": worst / x.shape[0] / x.shape[1],
            "us/draw": 1e6 * sum(self.seconds) / x.shape[0] / x.shape[1],
            "worst z": float(np.max(np.abs(x.mean((0, 1)) - problem.mean) / error)),
            "warm-up s": self.warming,
            "compile s": self.compiling,
        }


def measure(problem: Problem, only: list[str] | None = None, batches: int = 2) -> list[dict]:
    """One row a sampler; their batches of draws are taken in turn."""
    timed = {
        name: Timed(problem, build(), seed=1)
        for name, build in samplers(problem).items()
        if not only or name in only
    }
    for _ in range(batches):
        for one in timed.values():
            one.draw()
    return [one.row(problem, name) for name, one in timed.items()]


def run() -> list[dict]:
    return [row for problem in problems() for row in measure(problem)]


def main() -> None:
    from .__main__ import print_rows

    parser = argparse.ArgumentParser(prog="python -m benchmarks.posteriors", description=__doc__)
    parser.add_argument("problems", nargs="*", help="parts of the names of problems; default: all")
    parser.add_argument("--samplers", nargs="*", help="default: all that apply")
    arguments = parser.parse_args()
    for problem in problems():
        if not arguments.problems or any(part in problem.name for part in arguments.problems):
            print_rows(measure(problem, arguments.samplers))


if __name__ == "__main__":
    main()
