"""A simulated population that splits in two: the benchmark of Chizat et al. (2022)."""

from __future__ import annotations

import numpy as np

#: Variance that the noise adds per unit of time, to each coordinate.
DIFFUSIVITY = 0.25
DIMENSION = 10
TIMES = 0.125 * np.arange(10)

#: Where the two branches end, in the first coordinate.
BRANCH = 1.5


def drift(x: np.ndarray, time: float) -> np.ndarray:
    """-grad Psi, of the potential  Psi(x, s) = (x_1^2 - 1.5^2)^2 / 2 + 10 (x_2 + s)^2 +
    10 sum_{i > 2} x_i^2:  two wells in the first coordinate, a drifting one in the second."""
    gradient = 20 * x
    gradient[:, 0] = 2 * x[:, 0] * (x[:, 0] ** 2 - BRANCH**2)
    gradient[:, 1] += 20 * time
    return -gradient


def simulate(rng: np.random.Generator, cells: int, time: float, step: float = 1.25e-3):
    """`cells` independent cells at one time, (cells, 10): dX = -grad Psi ds + sqrt(tau) dB from
    N(0, 0.1^2), tau = 0.25, by Euler's method."""
    x = 0.1 * rng.normal(size=(cells, DIMENSION))
    count = round(time / step)
    for k in range(count):
        x = x + step * drift(x, k * step)
        x = x + np.sqrt(DIFFUSIVITY * step) * rng.normal(size=x.shape)
    return x


def snapshots(rng: np.random.Generator, cells: int, ends: int = 64) -> list[np.ndarray]:
    """One snapshot at each of `TIMES`, no cell being seen twice: `cells` each, and `ends` at the
    first and the last time, as in the paper's experiment."""
    last = len(TIMES) - 1
    return [simulate(rng, ends if k in (0, last) else cells, s) for k, s in enumerate(TIMES)]
