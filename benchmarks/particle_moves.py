"""How particles move: the one-step diffusion, the symmetric step with new momenta at each, and the
symmetric step that keeps momenta; all adjusted.

Defaults of `MMFLD` but for `MOVES`; four vectorised chains, 500 steps of warm-up, 1000 draws.
Effective draws are those of the worst row of `mm.summary`: means and standard deviations of the
measure, its objective. The time of a step is that of a bare loop of steps from the last state, in
seconds of the processor, without compilation. `objective` is the mean over draws; where it differs
the chains have not arrived. `exact` is that of the minimiser, of mixtures with atoms on a line.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC
from numpyro.infer.initialization import init_to_sample

import mmfld_ppl as mm
from mmfld_ppl.dynamics import Symmetric
from mmfld_ppl.functionals.kernels import Gaussian
from models.barycenter import barycenter, init_to_targets
from models.mean_matching import simplex_matching, spectraplex_matching
from models.mixture import mixture
from models.npmle import entropic
from models.quantisation import quantisation
from models.spikes import blur, spikes
from models.two_layer import two_layer

from .scaling import least

CHAINS, WARMUP, DRAWS, TIMED = 4, 500, 1000, 200
MOVES: dict[str, dict[str, Any]] = {
    "one-step": {"diffusion": "one-step"},
    "new momenta": {"path_length": None},
    "kept momenta": {},
}


class Problem(NamedTuple):
    """A model with particles, what it is called with, and options of the kernel."""

    model: Callable
    args: tuple = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012
    options: dict[str, Any] = {}  # noqa: RUF012
    exact: Callable[[], float] = lambda: np.nan


def covariances(target: np.ndarray, particles: int, temperature: float) -> None:
    """A measure on positive definite matrices with nearly this mean."""
    n = len(target)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", dist.Wishart(n + 2.0, jnp.eye(n) / n))
    loss = mm.functionals.OfMean(outer=lambda mean: jnp.sum((mean - target) ** 2))
    mm.objective("loss", loss, x, temperature=temperature)


def effects(x: np.ndarray, y: np.ndarray, group: np.ndarray, particles: int) -> None:
    """A regression whose groups have effects of an unknown law; N / temperature times the loss is
    minus the log likelihood."""
    slopes = numpyro.sample("slopes", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    groups = int(group.max()) + 1
    rest = y - x @ slopes
    totals = [jax.ops.segment_sum(v, group, groups) for v in (jnp.ones_like(y), rest, rest**2)]

    def log_density(effect: Any, of: list) -> Any:
        count, total, squares = of
        far = squares - 2 * effect * total + count * effect**2
        return -far / (2 * noise**2) - count * jnp.log(noise)

    with mm.particles("atom", particles):
        effect = numpyro.sample("effect", dist.Normal(0, 2))
    loss = mm.functionals.MixtureLikelihood(log_density, totals)
    mm.objective("loss", loss, effect, temperature=particles / groups)


def least_loss(data: np.ndarray, kernel: Callable, base: Any, tau: float, masses: bool) -> float:
    """F of the minimiser among measures on a fine grid."""
    atoms = np.linspace(-10, 10, 2001)
    log_k = np.asarray(kernel(atoms[:, None]).log_prob(data), float)
    log_base = np.asarray(base.log_prob(atoms), float)
    found = entropic(log_k, log_base, tau, masses=masses)
    return found.loss - np.log(found.mass) + found.mass - 1


def shares(*q: float) -> np.ndarray:
    return np.asarray(q, np.float32)


def problems() -> dict[str, Problem]:
    rng = np.random.default_rng(0)
    at_start = {"init_strategy": init_to_sample}
    corner = shares(0.9, 0.08, 0.02)
    many = shares(0.5, *[0.05] * 10)
    state = np.diag(shares(0.6, 0.3, 0.1))
    spread = np.asarray([[2.0, 0.5, 0.0], [0.5, 1.0, -0.2], [0.0, -0.2, 0.5]], np.float32)
    counts = rng.poisson(rng.gamma(2.0, 2.0, 300)).astype(np.float32)
    sensors = jnp.linspace(0, 1, 40)
    places, masses = jnp.array([0.3, 0.62]), jnp.array([0.4, 0.8])
    signal = sum(m * blur(t, sensors, 0.08) for t, m in zip(places, masses, strict=True))
    xor = np.asarray([[1, 1], [-1, -1], [1, -1], [-1, 1]], np.float32)
    cloud = mm.Measure.uniform(jnp.asarray(rng.beta(2.0, 5.0, (200, 2)), jnp.float32))
    others = [cloud, mm.Measure.uniform(jnp.asarray(rng.beta(5.0, 2.0, (150, 2)), jnp.float32))]
    box = mm.constraints.box(np.zeros(2), np.ones(2))
    modes = rng.normal(rng.choice([-3.0, 0.0, 3.0], 400, p=[0.5, 0.3, 0.2]), 0.7)
    three = modes.astype(np.float32), lambda t: dist.Normal(t, 0.5), dist.Normal(0.0, 3.0)
    few = {"particles": 100, "temperature": 1e-2}
    group = rng.integers(0, 30, 300)
    alike = rng.normal(size=(300, 8)) @ np.linalg.cholesky(np.full((8, 8), 0.8) + 0.2 * np.eye(8)).T
    heights = rng.choice([-1.5, 1.0], 30, p=[0.4, 0.6])[group] + rng.normal(0, 0.5, 300)
    answers = alike @ rng.normal(size=8) + heights
    grouped = alike.astype(np.float32), answers.astype(np.float32), group, 100
    settings = {"particles": 500}
    return {
        "simplex, 3 shares": Problem(simplex_matching, (shares(0.7, 0.2, 0.1),), settings),
        "3 shares, cold": Problem(simplex_matching, (corner,), settings | {"temperature": 2e-4}),
        "11 shares": Problem(simplex_matching, (many,), settings),
        "11 shares, cold": Problem(simplex_matching, (many,), settings | {"temperature": 2e-3}),
        "density matrices 3 x 3": Problem(spectraplex_matching, (state,), settings),
        "positive definite 3 x 3": Problem(covariances, (spread, 500, 0.5)),
        "Poisson mixture": Problem(
            mixture, (counts, dist.Poisson, dist.Gamma(2.0, 0.5)), {}, at_start
        ),
        "three modes, equal masses": Problem(
            mixture, three, few, at_start, partial(least_loss, *three, 1e-2, masses=False)
        ),
        "three modes, masses": Problem(
            mixture,
            three,
            few | {"masses": dist.Exponential(1.0)},
            at_start,
            partial(least_loss, *three, 1e-2, masses=True),
        ),
        "effects beside slopes": Problem(effects, grouped, {}, at_start),
        "spikes": Problem(spikes, (sensors, signal), {"width": 0.08, "largest": 4.0}),
        "XOR network": Problem(
            two_layer, (xor, np.asarray([1, 1, -1, -1], np.float32)), {}, at_start
        ),
        "points for a cloud": Problem(
            quantisation,
            (cloud, Gaussian(0.2), box),
            {},
            {"init_strategy": init_to_targets([cloud])},
        ),
        "barycenter": Problem(
            barycenter, (others,), {}, {"init_strategy": init_to_targets(others)}
        ),
    }


def finished(kernel: mm.MMFLD, problem: Problem, warmup: int, draws: int, chains: int) -> MCMC:
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), *problem.args, **problem.kwargs)
    return mcmc


def measure(name: str, problem: Problem, moves: str, exact: float) -> dict:
    kernel = mm.MMFLD(problem.model, **MOVES[moves], **problem.options)
    mcmc = finished(kernel, problem, WARMUP, DRAWS, CHAINS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is wrong with a run is in its row.
        idata = mm.to_inference_data(mcmc)
    seconds = step_seconds(kernel, mcmc.last_state, problem)
    table = mm.summary(idata)
    effective = float(table["ess_bulk"].astype(float).min())
    stats = idata["sample_stats"]
    return {
        "problem": name,
        "moves": moves,
        "ms a step": 1e3 * seconds,
        "acceptance": float(stats["acceptance_rate"].mean()),
        "ratio": float(stats["collective_ratio"].mean()),
        "objective": float(stats["objective"].mean()),
        "exact": exact,
        "effective draws": effective,
        "a second": effective / (DRAWS * seconds),
    }


def step_seconds(kernel: mm.MMFLD, state: Any, problem: Problem) -> float:
    def advance(_: Any, state: Any) -> Any:
        return kernel.sample(state, problem.args, problem.kwargs)

    @jax.jit
    def steps(state: Any) -> Any:
        return jax.lax.fori_loop(0, TIMED, advance, state)

    return least(lambda: steps(state)) / TIMED


def run(names: list[str] | None = None) -> list[dict]:
    rows = []
    for name, problem in problems().items():
        if not names or name in names:
            exact = problem.exact()
            rows += [measure(name, problem, moves, exact) for moves in MOVES]
    return rows


def arrivals(replicates: int = 16) -> list[dict]:
    """How many replicates arrive from the default start, at low temperatures: those whose mean of
    F / tau over draws 250 to 500 is within .1 of the least."""
    kernels = {name: mm.MMFLD(simplex_matching, **options) for name, options in MOVES.items()}
    for name in ("new momenta", "kept momenta"):
        full = mm.MMFLD(simplex_matching, **MOVES[name])
        full.settings = dataclasses.replace(
            full.settings, transition=lambda map, *_: Symmetric(map)
        )
        kernels[f"{name}, full slope"] = full
    rows = []
    for temperature, warmup in itertools.product((2e-3, 2e-4, 1e-5), (100, 500)):
        settings = {"particles": 256, "temperature": temperature}
        problem = Problem(simplex_matching, (shares(0.9, 0.08, 0.02),), settings)
        levels = {}
        for name, kernel in kernels.items():
            mcmc = finished(kernel, problem, warmup, 500, replicates)
            values = mcmc.get_extra_fields(group_by_chain=True)["objective"] / temperature
            levels[name] = np.asarray(values)[:, 250:].mean(1)
        least_level = min(level.min() for level in levels.values())
        arrived = {n: f"{np.sum(v < least_level + 0.1)} of {replicates}" for n, v in levels.items()}
        rows.append({"temperature": temperature, "warm-up": warmup, **arrived})
    return rows


def far(target: float, particles: int, temperature: float) -> None:
    with mm.particles("atom", particles):
        x = numpyro.sample("x", dist.Exponential(1.0))
    pull = mm.functionals.OfMean(outer=lambda mean: jnp.square(mean - target))
    mm.objective("F", pull, x, temperature=temperature)


def widths(replicates: int = 16) -> list[dict]:
    """How wide particles are that a cold functional of their mean has brought to 50: by quadrature
    their standard deviation is 49.995. Of each replicate, over draws 500 to 1000."""
    problem, rows = Problem(far, (50.0, 300, 0.01)), []
    for name in ("new momenta", "kept momenta"):
        mcmc = finished(mm.MMFLD(far, **MOVES[name]), problem, 500, 1000, replicates)
        x = np.asarray(mcmc.get_samples(group_by_chain=True)["x"], float)[:, 500:]
        sd = x.std(axis=2).mean(axis=1)
        found = {"least": sd.min(), "mean": sd.mean(), "median": np.median(sd), "most": sd.max()}
        rows.append({"moves": name, **{key: float(value) for key, value in found.items()}})
    return rows


def main() -> None:
    from .__main__ import print_rows

    parser = argparse.ArgumentParser(prog="python -m benchmarks.particle_moves")
    parser.add_argument("names", nargs="*", metavar="PROBLEM", help=f"of {tuple(problems())}")
    for table, words in ((arrivals, "count those that arrive"), (widths, "widths of what is far")):
        option = {"action": "store_const", "const": table, "help": f"{words}, instead"}
        parser.add_argument(f"--{table.__name__}", dest="table", **option)
    arguments = parser.parse_args()
    print_rows(arguments.table() if arguments.table else run(arguments.names))


if __name__ == "__main__":
    main()
