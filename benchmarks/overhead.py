"""What NumPyro's MCMC adds to a step of the kernel, over a bare jitted scan.

Both run the same `kernel.sample` and collect the same fields. The time of a step is the slope
between a short and a long run, which leaves compilation and set-up out; the two are timed in
turn, and the median of the pairs' ratios is reported. Seconds are seconds of the processor.
"""

from __future__ import annotations

import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import mmfld_ppl as mm

TARGET = jnp.array([0.7, 0.2, 0.1])


def simplex_matching(size: int) -> None:
    """The paper's first experiment: match a mean on the simplex."""
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
    matching = mm.functionals.OfMean(outer=lambda m: jnp.sum(jnp.square(m - TARGET)))
    mm.objective("F", matching, x, temperature=0.05)


def timed(function, *args) -> float:
    begin = time.process_time()
    jax.block_until_ready(function(*args))
    return time.process_time() - begin


def pair(size: int, short: int, long: int):
    """Functions of nothing: seconds a step of the bare scan, and through MCMC."""
    kernel = mm.MMFLD(simplex_matching)
    warm = MCMC(kernel, num_warmup=200, num_samples=1, progress_bar=False)
    warm.warmup(jax.random.key(0), size)
    state = warm.post_warmup_state
    postprocess = kernel.postprocess_fn((size,), {})

    def scan(length: int):
        def body(state, _):
            state = kernel.sample(state, (size,), {})
            fields = [getattr(state, name) for name in kernel.default_fields]
            return state, [postprocess(fields[0]), *fields[1:]]

        return jax.jit(lambda state: jax.lax.scan(body, state, length=length))

    bare_runs = {length: scan(length) for length in (short, long)}

    def bare() -> float:
        seconds = {length: timed(run, state) for length, run in bare_runs.items()}
        return (seconds[long] - seconds[short]) / (long - short)

    def through_mcmc() -> float:
        seconds = {}
        for length in (short, long):
            mcmc = MCMC(kernel, num_warmup=0, num_samples=length, progress_bar=False)
            mcmc.post_warmup_state = state

            def draw(mcmc=mcmc):
                mcmc.run(state.rng_key, size)
                return mcmc.last_state.potential_energy

            seconds[length] = timed(draw)
        return (seconds[long] - seconds[short]) / (long - short)

    # Compiled before anything is timed.
    bare()
    through_mcmc()
    return bare, through_mcmc


def run(sizes=(10, 1_000, 100_000), pairs: int = 3) -> list[dict]:
    # MCMC compiles its loop again in every run. From a cache that takes equally long each time, and
    # the slope cancels it.
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        try:
            return measure(sizes, pairs)
        finally:
            jax.config.update("jax_compilation_cache_dir", None)


def measure(sizes, pairs: int) -> list[dict]:
    rows = []
    for size in sizes:
        more = max(8_000_000 // max(size, 100), 100)
        short = min(1000, more // 8)
        long = short + more
        bare, through_mcmc = pair(size, short, long)
        figures = [(bare(), through_mcmc()) for _ in range(pairs)]
        rows.append(
            {
                "particles": size,
                "bare us/step": 1e6 * statistics.median(b for b, _ in figures),
                "MCMC us/step": 1e6 * statistics.median(m for _, m in figures),
                "ratio": statistics.median(m / b for b, m in figures),
                "min": min(m / b for b, m in figures),
                "max": max(m / b for b, m in figures),
            }
        )
    return rows


if __name__ == "__main__":
    from .__main__ import print_rows

    print_rows(run())
