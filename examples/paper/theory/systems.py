"""Systems of N particles by the library's dynamics: at rest, and on their way there.

What N particles have beyond infinitely many is of the order of 1/N and would drown in the noise of
a mean over particles. So each system runs beside one without the effect and with the same noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from mmfld_ppl.diagnostics import fit_decay
from mmfld_ppl.functionals import OfMean

from .matching import BARRIER, Matching, minimiser
from .simulate import mean_and_error, replicates

MATCHING = Matching(repulsion=0.06)
#: Where particles begin, uniformly, and the time when they end.
BEGIN, END = (0.1, 0.4), 2.0


def mean_and_objective(x):
    """The two numbers of particle systems, along the last axis, that are followed."""
    m = jnp.mean(x, axis=-1)
    pushed = MATCHING.repulsion * jnp.mean(1 / x + 1 / (1 - x), axis=-1)
    return m, jnp.square(m - MATCHING.target) + pushed


def frozen() -> OfMean:
    """<dF/dmu(mu*), mu>: the functional of particles that do not interact and have the law mu*."""
    slope = 2 * (minimiser(MATCHING).mean - MATCHING.target)
    return OfMean(potential=lambda x: slope * x + MATCHING.repulsion * (1 / x + 1 / (1 - x)))


def at_rest(size: int, h: float, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """N times the error of mean and F, and the variance of the mean, with standard errors.

    Beside each system runs one of independent particles of law mu* by the same keys, hence with
    the same noise: what it says of the linear part of F, whose mean is known, is taken off."""
    exact = minimiser(MATCHING)
    rng = np.random.default_rng(arguments.seed)
    starts = rng.choice(exact.nodes, p=exact.weights, size=(max(8, arguments.total // size), size))
    every = max(1, round(0.2 / h))
    burn = int(2 / (every * h)) + 1
    coupled = BARRIER.langevin(MATCHING, h, metropolize=True)
    free = eqx.tree_at(lambda dynamics: dynamics.field.functional, coupled, frozen())
    (own, F), accepted = replicates(
        coupled, starts, arguments.seed, burn + arguments.records, every, mean_and_objective
    )
    (other, linear), _ = replicates(
        free, starts, arguments.seed, burn + arguments.records, every, mean_and_objective
    )
    own, F, other, linear = (v[:, burn:].astype(float) for v in (own, F, other, linear))
    # From F of the free particles to <dF/dmu(mu*), mu> + const, which is F(mu*) on average.
    linear = linear - (other - exact.mean) ** 2
    values = np.stack(
        [(own - other).mean(1), ((own - exact.mean) ** 2).mean(1), (F - linear).mean(1)], axis=1
    )
    value, error = mean_and_error(size * values)
    return {"value": value, "error": error, "accepted": accepted.mean()}


def on_the_way(size: int, arguments: argparse.Namespace):
    """Times; F of each of many systems of N particles; and of one system of all these particles,
    that takes the same steps of Algorithm 1 from the same start with the same noise: the value of F
    linearised at it, for the particles of each of the many, and F itself.

    The mean of the linearised values is F of the one system, and each is close to its like."""
    h, records = arguments.step_size, 20
    every = round(END / records / h)
    count = arguments.total // min(size, 32)
    start = jax.random.uniform(
        jax.random.key(arguments.seed + size), (count, size), minval=BEGIN[0], maxval=BEGIN[1]
    )
    transition = BARRIER.transition

    def slope(x, mean):
        pushed = 1 / jnp.square(1 - x) - 1 / jnp.square(x)
        return MATCHING.tilt(mean) + MATCHING.repulsion / MATCHING.temperature * pushed

    def step(both, key):
        noise = jax.random.normal(key, start.shape)
        advance = jnp.vectorize(lambda x, g, xi: transition.advance(x, g, xi, h).position)
        own, whole = both
        own = advance(own, slope(own, own.mean(axis=1, keepdims=True)), noise)
        return (own, advance(whole, slope(whole, whole.mean()), noise)), None

    def record(both, keys):
        both, _ = jax.lax.scan(step, both, keys)
        return both, read(both)

    def read(both):
        """F of each system; F of the one, linearised, at its particles of the same noise."""
        own, whole = both
        _, F = mean_and_objective(own)
        m, value = mean_and_objective(whole.ravel())
        parts, at_parts = mean_and_objective(whole)
        beyond = jnp.square(parts - MATCHING.target) - jnp.square(m - MATCHING.target)
        linear = at_parts - beyond + 2 * (m - MATCHING.target) * (parts - m)
        return F, linear, value

    keys = jax.random.split(jax.random.key(arguments.seed + 1), (records, every))
    _, seen = jax.jit(lambda b, k: jax.lax.scan(record, b, k))((start, start), keys)
    first = read((start, start))
    own, linear, whole = (
        np.concatenate([a[None], b]).astype(float).T for a, b in zip(first, seen, strict=True)
    )
    return h * every * np.arange(records + 1), own, linear, whole


def ways(sizes: Sequence[int], arguments: argparse.Namespace) -> xr.Dataset:
    """N (E F(mu_t^N) - F(mu_t)) and the rate of E F, for each N of `sizes`."""
    excess, errors, found = [], [], []
    times = np.zeros(0)
    for size in sizes:
        times, F, linear, limit = on_the_way(size, arguments)
        more = F - linear
        excess.append(size * more.mean(axis=0))
        errors.append(size * mean_and_error(unexplained(more, linear))[1])
        found.append((*rate_of(times, F), fit_decay(times, limit).rate.value))
    return xr.Dataset(
        {
            "excess": (("moving", "time"), np.stack(excess)),
            "excess_error": (("moving", "time"), np.stack(errors)),
            "rate": ("moving", [r for r, _, _ in found]),
            "rate_error": ("moving", [e for _, e, _ in found]),
            "rate_infinite": ("moving", [r for _, _, r in found]),
        },
        coords={"time": times, "moving": list(sizes)},
    )


def unexplained(more: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """What is left of `more` after regression on the linearised values up to the same time.

    These have the mean of the one system whatever they are, so that what they explain is no error
    of a mean. Both arguments: (systems, records)."""
    off, left = linear - linear.mean(axis=0), []
    for k, values in enumerate(more.T):
        past = off[:, : k + 1]
        left.append(values - past @ np.linalg.lstsq(past, values - values.mean(), rcond=None)[0])
    return np.stack(left, axis=1)


def rate_of(times: np.ndarray, F: np.ndarray, groups: int = 8) -> tuple[float, float]:
    """The fitted rate of the mean of F, with the error from disjoint groups of replicates."""
    parts = [fit_decay(times, part.mean(axis=0)).rate.value for part in np.array_split(F, groups)]
    whole = fit_decay(times, F.mean(axis=0)).rate.value
    return whole, float(np.std(parts, ddof=1) / np.sqrt(groups))
