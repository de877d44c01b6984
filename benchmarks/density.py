"""Density estimates on real data by their held-out log score, beside parametric and kernel methods.

Doctor visits (20190 counts), vote shares (58 points of a simplex) and district scores (303 counts
of trials of their own number). Cross-validated: every observation is scored by fits that have not
seen its fold, with fold and seed fixed. What has a setting (temperature, concentration of a kernel,
bandwidth, number of components) chooses it inside of each training set, by the score on a part of
it that was held out for that. `score` is the mean log score of an observation, `gain` its
difference to the first method of the data and `over ours` that to the particles, the last, all with
standard errors over observations. `R-hat` is the largest over folds of the log density of the
training set and of that held out, across chains: unlike a component, neither depends on labels.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from jax.nn import logsumexp
from numpyro.diagnostics import split_gelman_rubin
from numpyro.infer import NUTS, init_to_sample

import mmfld_ppl as mm
from models.mixture import log_density, mixture
from models.npmle import entropic, maximum_likelihood

from .density_data import PROBLEMS, Problem
from .density_peers import PEERS

PARTICLES = 200
#: Of NUTS, for each training set.
CHAINS = 4
#: Of the temperature, in the warm-up.
COOLING = optax.exponential_decay(100.0, 600, 0.01, end_value=1.0)


class Score(NamedTuple):
    """log_p: held-out log density of each observation. chosen: the setting of each fold. r_hat: the
    largest of the folds, for several chains."""

    log_p: np.ndarray
    chosen: list[Any]
    r_hat: float = np.nan


def by_setting(
    problem: Problem,
    settings: list[Any],
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Score:
    """Chooses a setting in each training set, and scores the held-out part of the data with it.

    predict: (counts of the distinct rows (jobs, k), index of the setting of each job) -> their log
    densities (jobs, k)."""
    fold, inner, parts = problem.fold(), problem.inner(), range(problem.parts)
    train = np.stack([problem.counts(fold != k) for k in parts])
    best = np.zeros(len(parts), int)
    if len(settings) > 1:
        jobs = list(itertools.product(parts, range(len(settings)), range(problem.rounds)))
        seen = [problem.counts((fold != k) & (inner != r)) for k, _, r in jobs]
        tried = np.stack([problem.counts((fold != k) & (inner == r)) for k, _, r in jobs])
        log_p = predict(np.stack(seen), np.array([i for _, i, _ in jobs]))
        scores = np.sum(np.where(tried > 0, tried * log_p, 0), axis=1)
        best = scores.reshape(len(parts), len(settings), -1).sum(axis=2).argmax(axis=1)
    log_p = predict(train, best)
    held_out = np.empty(len(problem.inverse))
    for k in parts:
        held_out[fold == k] = log_p[k, problem.inverse[fold == k]]
    return Score(held_out, [settings[i] for i in best])


def chains(kernel: Any, record: Callable, *, warmup: int, draws: int, thin: int) -> Callable:
    """A compiled program: (keys (n,), arguments with an axis of n before their own) -> what is
    recorded of each of n chains, (n, draws, ...)."""

    def advance(state, args, steps):
        return jax.lax.scan(lambda s, _: (kernel.sample(s, args, {}), None), state, None, steps)[0]

    def chain(key, args):
        def keep(state, _):
            state = advance(state, args, thin)
            return state, record(kernel.postprocess_fn(args, {})(state.z), args)

        state = advance(kernel.init(key, warmup, None, args, {}), args, warmup)
        return jax.lax.scan(keep, state, None, draws)[1]

    return jax.jit(jax.vmap(chain))


def on_grid(problem: Problem, tempered: bool) -> Callable:
    """Mixing measures on a grid, with entropy or without."""

    def predict(counts: np.ndarray, at: np.ndarray) -> np.ndarray:
        found = []
        for c, i in zip(counts, at, strict=True):
            concentration, tau = problem.settings[i] if tempered else (problem.sharpness[i], 0)
            log_k = problem.log_k(concentration)
            seen = c > 0
            if tempered:
                fitted = entropic(log_k[:, seen], problem.log_base, tau, c[seen], masses=True)
            else:
                fitted = maximum_likelihood(log_k[:, seen], c[seen])
            found.append(np.asarray(logsumexp(log_k, axis=0, b=fitted.weights[:, None])))
        return np.stack(found)

    return predict


def log_p_at(problem: Problem, concentration: Any, theta: Any, weights: Any) -> Any:
    """Log density of a mixture at the distinct rows."""
    log_k = log_density(problem.kernel(concentration))
    rows = jax.tree.map(jnp.asarray, problem.rows)
    logs = jax.vmap(jax.vmap(log_k, (None, 0)), (0, None))(theta, rows)
    return logsumexp(logs, axis=0, b=weights[:, None])


def particles(problem: Problem) -> Score:
    """Ours: the setting chosen with measures on a grid, the measure held by particles."""
    chosen = by_setting(problem, problem.settings, on_grid(problem, tempered=True)).chosen
    concentration = np.array([c for c, _ in chosen])
    tau = np.array([t for _, t in chosen])

    def model(counts, concentration, tau):
        z, covariates = problem.rows
        mixture(
            z,
            problem.kernel(concentration),
            problem.base,
            covariates=covariates,
            counts=counts,
            masses=dist.Exponential(1.0),
            particles=PARTICLES,
            temperature=tau,
        )

    def record(values, args):
        weights = values["mass"] / jnp.sum(values["mass"])
        return log_p_at(problem, args[1], values["theta"], weights)

    def predict(counts: np.ndarray, _: np.ndarray) -> np.ndarray:
        args = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (counts, concentration, tau))
        kernel = mm.MMFLD(model, init_strategy=init_to_sample, temperature=COOLING)
        run = chains(kernel, record, warmup=1000, draws=50, thin=40)
        log_p = run(jax.random.split(jax.random.key(0), len(counts)), args)
        return np.asarray(logsumexp(log_p, axis=1)) - np.log(log_p.shape[1])

    return Score(by_setting(problem, [None], predict).log_p, chosen)


def finite_mixture(problem: Problem) -> Score:
    """A Bayesian mixture of so many components by NUTS; their number is the setting."""

    def model(size, counts):
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(size)))
        concentration = 0.0
        if problem.sharpness[0]:
            concentration = numpyro.sample("concentration", dist.LogNormal(4.0, 1.0))
        with numpyro.plate("component", size):
            theta = numpyro.sample("theta", problem.base)
        log_p = log_p_at(problem, concentration, theta, weights)
        numpyro.factor("likelihood", jnp.sum(counts * log_p))

    def record(values, _):
        concentration = values.get("concentration", 0.0)
        return log_p_at(problem, concentration, values["theta"], values["weights"])

    @functools.cache
    def nuts(size: int) -> Callable:
        of = functools.partial(model, size)
        kernel = NUTS(of, init_strategy=init_to_sample, max_tree_depth=7)
        return chains(kernel, record, warmup=500, draws=500, thin=1)

    everyone = problem.counts(np.full(len(problem.inverse), True))
    r_hats: list[float] = []

    def predict(counts: np.ndarray, at: np.ndarray) -> np.ndarray:
        log_p = []
        # One job after another: in lockstep each would wait for the deepest tree of all.
        for key, c, i in zip(jax.random.split(jax.random.key(0), len(at)), counts, at, strict=True):
            args = (jnp.tile(jnp.asarray(c, jnp.float32), (CHAINS, 1)),)
            run = nuts(problem.components[i])
            found = np.asarray(run(jax.random.split(key, CHAINS), args), float)
            r_hats.append(max(split_gelman_rubin(found @ of) for of in (c, everyone - c)))
            log_p.append(np.asarray(logsumexp(found, axis=(0, 1))) - np.log(found[..., 0].size))
        return np.stack(log_p)

    found = by_setting(problem, list(problem.components), predict)
    return found._replace(r_hat=max(r_hats[-problem.parts :]))


def grid_optimum(problem: Problem) -> Score:
    """The same likelihood without entropy, on a grid."""
    return by_setting(problem, list(problem.sharpness), on_grid(problem, tempered=False))


def peer(settings: list[Any], fit: Callable, problem: Problem) -> Score:
    """One of `PEERS`."""
    return by_setting(problem, settings, fit(problem, settings))


def standard_error(name: str, x: np.ndarray) -> dict[str, float]:
    """Two columns: a mean over observations and its standard error."""
    return {name: float(x.mean()), f"se of {name}": float(x.std(ddof=1) / len(x) ** 0.5)}


def run(names: Sequence[str] = tuple(PROBLEMS)) -> list[dict]:
    rows = []
    for problem in (PROBLEMS[name]() for name in names):
        methods: dict[str, Callable[[Problem], Score]] = {
            **{name: functools.partial(peer, *of) for name, of in PEERS[problem.name].items()},
            "finite mixture, NUTS": finite_mixture,
            "NPMLE on a grid": grid_optimum,
            "mixture, particles": particles,
        }
        scores, seconds = {}, {}
        for name, method in methods.items():
            begin = time.perf_counter()
            scores[name] = method(problem)
            seconds[name] = time.perf_counter() - begin
        first, *_, ours = (score.log_p for score in scores.values())
        rows += [
            {
                "data": problem.name,
                "method": name,
                **standard_error("score", log_p),
                **standard_error("gain", log_p - first),
                **standard_error("over ours", log_p - ours),
                "most chosen": str(Counter(chosen).most_common(1)[0][0]),
                "R-hat": r_hat,
                "seconds": seconds[name],
            }
            for name, (log_p, chosen, r_hat) in scores.items()
        ]
    return rows
