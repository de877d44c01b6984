"""How many particles of Algorithm 1 run off to the boundary, never to return.

Simulated in dual coordinates in double precision, as the algorithm is written, without the check of
the library that refuses a move to where nothing is finite. The field is frozen at mu*, so that the
loss of some particles does not move the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .matching import Matching, minimiser, nodes_of


class Scheme(NamedTuple):
    """Algorithm 1 on the interval. inverse: x and 1 - x of y. phi2: phi'' of both. grad: y of x.
    lost: |y| from which the next step is so long that no particle comes back. slope: of the
    potential, beside the tilt. density: of the law at rest, beside exp(theta x)."""

    inverse: Callable
    phi2: Callable
    grad: Callable
    lost: float
    slope: Callable
    density: Callable


def _sigmoid(y):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-y)), 1 / (1 + np.exp(y))


def _barrier_inverse(y):
    q = np.abs(y) / 2
    near = 0.5 * (1 + 1 / (np.hypot(1, q) + q)) / (1 + np.hypot(1, q))
    return np.where(y < 0, near, 1 - near), np.where(y < 0, 1 - near, near)


def entropy(power: float) -> Scheme:
    """The entropy map, under a density that vanishes as x^power at the ends."""
    return Scheme(
        _sigmoid,
        lambda x, rest: 1 / x + 1 / rest,
        lambda x: np.log(x) - np.log1p(-x),
        60.0,
        lambda x, rest: -power * (1 / x - 1 / rest),
        lambda x: (x * (1 - x)) ** power,
    )


def barrier(power: float, repulsion: float) -> Scheme:
    """The log barrier, under x^power exp(-repulsion/x) at either end."""
    return Scheme(
        _barrier_inverse,
        lambda x, rest: 1 / x**2 + 1 / rest**2,
        lambda x: 1 / (1 - x) - 1 / x,
        1e12,
        lambda x, rest: -power * (1 / x - 1 / rest) - repulsion * (1 / x**2 - 1 / rest**2),
        lambda x: (x * (1 - x)) ** power * np.exp(-repulsion * (1 / x + 1 / (1 - x))),
    )


def escape_rate(
    scheme: Scheme,
    h: float,
    time: float,
    count: int,
    rng: np.random.Generator,
    start: float | None = None,
) -> tuple[float, float]:
    """-log(share that is left) / time, and its standard error; infinite where none is left.

    start: where all particles begin; None for the law at rest."""
    matching = Matching()
    theta = minimiser(matching).theta
    nodes, _ = nodes_of(matching)
    gauss = np.polynomial.legendre.leggauss(len(nodes))[1]
    p = gauss * scheme.density(nodes) * np.exp(theta * nodes)
    x = rng.choice(nodes, p=p / p.sum(), size=count) if start is None else np.full(count, start)
    y = scheme.grad(x)
    for _ in range(round(time / h)):
        x, rest = scheme.inverse(y)
        noise = np.sqrt(2 * h * scheme.phi2(x, rest)) * rng.standard_normal(len(y))
        y = y - h * (scheme.slope(x, rest) - theta) + noise
        y = y[np.abs(y) < scheme.lost]
    left = len(y) / count
    if left == 0:
        return np.inf, 0.0
    return -np.log(left) / time + 0.0, float(np.sqrt((1 - left) / left / count) / time)
