"""First variations of the paper's objectives, and of a few others, beside maps of their sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mmfld_ppl import mirrors

from ..table import DENSITY_MATRIX, GAMMA, TARGET


class Pair(NamedTuple):
    """objective, map: their names. potentials: dF/dmu at extreme measures: it is linear in their
    mean, and convex functions of it are greatest there. middle: a point in the middle."""

    objective: str
    map: str
    mirror: mirrors.MirrorMap
    potentials: list[Callable[[Any], Any]]
    middle: Any


def simplex_variations(beta: float) -> list[Callable]:
    """2 <m - q, x> + beta sum_i log(1/x_i), m a vertex."""

    def at(m):
        return lambda x: 2 * (m - TARGET) @ x - beta * jnp.sum(jnp.log(x))

    return [at(m) for m in jnp.eye(3)]


def spectraplex_variations() -> list[Callable]:
    """<M - S, X> + |X|^2 / (2 gamma), M of rank one."""

    def at(M):
        return lambda x: jnp.sum((M - DENSITY_MATRIX) * x) + jnp.sum(x**2) / (2 * GAMMA)

    turns = np.linspace(0, np.pi, 8, endpoint=False)
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return [at(jnp.asarray(np.outer(d, d))) for d in directions]


def network_variation(count: int = 200) -> Callable:
    """-(1/n) sum_i z_i a relu(<w, x_i> + b) of a neuron (a, b, w), as at an empty network where the
    slope of the loss is greatest, up to its scale."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1, 1, (count, 2)))
    z = jnp.sign(x[:, 0] * x[:, 1])
    return lambda w: -jnp.mean(z * w[0] * jax.nn.relu(x @ w[2:] + w[1]))


def poisson(x):
    """lambda - k log lambda, k = 3."""
    return x - 3 * jnp.log(x)


def interval_variations(repulsion: float) -> list[Callable]:
    """2 (m - q) x + eps (1/x + 1/(1-x)), m an end."""

    def at(m):
        return lambda x: 2 * (m - 0.7) * x + repulsion * (1 / x + 1 / (1 - x))

    return [at(0.0), at(1.0)]


def pairs() -> list[Pair]:
    """Call it in double precision."""
    third, state = jnp.full(3, 1 / 3), jnp.diag(jnp.array([0.6, 0.4]))
    half, one = jnp.array(0.5), jnp.array(1.0)
    entropy, barrier = mirrors.EntropySimplex(), mirrors.Simplex.of_size(3, jnp.float64)
    segment = mirrors.Interval.between(0.0, 1.0, jnp.float64)
    simplex = {
        "simplex matching, beta = 0": simplex_variations(0.0),
        "simplex matching, beta = .1": simplex_variations(0.1),
    }
    interval = {
        "interval matching": interval_variations(0.0),
        "interval matching, repulsion": interval_variations(0.06),
    }
    found = [
        Pair(name, label, mirror, potentials, third)
        for name, potentials in simplex.items()
        for label, mirror in (("entropy", entropy), ("log barrier", barrier))
    ]
    for label, mirror in (
        ("von Neumann", mirrors.VonNeumannSpectraplex()),
        ("log determinant", mirrors.Spectraplex()),
    ):
        found.append(Pair("spectraplex matching", label, mirror, spectraplex_variations(), state))
    ball = mirrors.Ball(jnp.ones(()))
    found.append(Pair("ReLU network", "log barrier", ball, [network_variation()], jnp.zeros(4)))
    found += [
        Pair(name, label, mirror, potentials, half)
        for name, potentials in interval.items()
        for label, mirror in (("entropy", mirrors.EntropyInterval()), ("log barrier", segment))
    ]
    for label, mirror in (
        ("entropy", mirrors.EntropyOrthant()),
        ("log barrier", mirrors.LogBarrier()),
        ("log barrier, quadratic", mirrors.HalfLine.above(0.0, jnp.float64)),
    ):
        found.append(Pair("Poisson likelihood", label, mirror, [poisson], one))
    return found
