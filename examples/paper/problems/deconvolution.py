"""Spikes seen through a blur."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from models.spikes import sparse_on_grid, spikes

from ..convex import interval_rule, minimiser, product_rule
from .problem import Problem

TRUE_SPIKES = (np.array([0.2, 0.38, 0.75]), np.array([1.0, 0.6, 0.8]))


def spikes_problem() -> Problem:
    """Three spikes, the first two nearer to each other than twice the width of the blur."""
    rng = np.random.default_rng(0)
    sensors, width, penalty, tau, largest = np.linspace(0, 1, 15), 0.1, 0.02, 0.2, 4.0
    at, weights = TRUE_SPIKES

    def seen(t: np.ndarray) -> np.ndarray:
        return np.exp(-((sensors - t[:, None]) ** 2) / (2 * width**2))

    observed = weights @ seen(at) + 0.02 * rng.normal(size=len(sensors))
    rule = product_rule(interval_rule(0, 1, 80), interval_rule(0, largest, 80))
    t, a = rule.points.T
    exact = minimiser(
        rule, a[:, None] * seen(t) / np.sqrt(2), observed / np.sqrt(2), tau, penalty * a
    )
    grid = np.linspace(0, 1, 401)
    masses, _ = sparse_on_grid(sensors, observed, width=width, penalty=penalty, grid=grid)
    found = ", ".join(f"{m:.3f} at {x:.4f}" for x, m in zip(grid, masses, strict=True) if m > 1e-6)
    return Problem(
        "spikes",
        spikes,
        (jnp.asarray(sensors, jnp.float32), jnp.asarray(observed, jnp.float32)),
        {"width": width, "largest": largest, "penalty": penalty, "temperature": tau},
        exact,
        ("position", "mass"),
        {
            "E a": lambda z: z[..., 1],
            "E a t": lambda z: z[..., 0] * z[..., 1],
            "E a t^2": lambda z: z[..., 0] ** 2 * z[..., 1],
        },
        rule.weights,
        notes=(
            "true masses and positions: "
            + ", ".join(f"{m:.3f} at {x:.4f}" for x, m in zip(at, weights, strict=True)),
            f"tau = 0 on a grid in steps of .0025: {found}",
        ),
    )
