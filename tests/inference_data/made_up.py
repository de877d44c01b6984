"""A run that is made up, for tests to plant faults in."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

CHAINS, DRAWS, ATOMS, TAU = 4, 200, 50, 0.1


def made_up(metropolize: bool = True) -> dict[str, xr.Dataset]:
    """A run in which nothing is wrong."""
    rng = np.random.default_rng(0)
    pair, along = (CHAINS, DRAWS), ("chain", "draw")
    attrs = {
        "particle_plate": "atom",
        "num_particles": ATOMS,
        "temperature": TAU,
        "kernel_settings": json.dumps({"metropolize": metropolize}),
        "phase": "sample",
        "thinning": 1,
    }
    coords = {"chain": range(CHAINS), "draw": range(DRAWS)}
    x = rng.gamma(2.0, 1.0, (*pair, ATOMS))
    objective = 0.3 + 0.01 * TAU * rng.standard_normal(pair)
    stats = {
        "objective": objective,
        "acceptance_rate": np.full(pair, 0.6 if metropolize else 1.0),
        "collective_ratio": np.full(pair, 0.3),
        "diverging": np.zeros(pair, bool),
    }
    some = np.arange(0, DRAWS, 2)
    measure = {
        "optimality_gap": np.full(CHAINS, 0.0002),
        "optimality_gap_error": np.full(CHAINS, 0.001),
        "proximal_divergence": np.full(CHAINS, 0.002),
        "proximal_divergence_error": np.full(CHAINS, 0.01),
        "proximal_memory": np.full(CHAINS, 0.05),
        "stein_statistic": np.full(CHAINS, 0.001),
        "stein_threshold": np.full(CHAINS, 0.002),
        "stein_p_value": np.array([0.3, 0.1, 0.6, 0.9]),
        "first_variation_ratio": np.full(CHAINS, 1.001),
        "first_variation_rounding": np.full(CHAINS, 1e-4),
    }
    if not metropolize:
        measure["would_accept"] = np.full(CHAINS, 0.97)
    sized = {
        "size": [ATOMS / 4, ATOMS / 2, ATOMS, 20 * ATOMS],
        "objective_by_size": [0.306, 0.303, 0.3015, 0.3],
        "objective_by_size_error": [4e-4, 2e-4, 1e-4, 1e-4],
    }
    variables = {n: (("chain",), v) for n, v in measure.items()}
    variables |= {n: (("chain", "subsample"), np.tile(v, (CHAINS, 1))) for n, v in sized.items()}
    level = objective[:, some] + 0.02 * TAU * rng.standard_normal((CHAINS, 100))
    variables |= {
        "stein_along": (("chain", "stein_draw"), 1e-3 * rng.standard_normal((CHAINS, 5))),
        "free_energy": (along, level),
        "pile_up": (("chain", "bounded_site"), np.full((CHAINS, 1), 0.012)),
    }
    return {
        "posterior": xr.Dataset({"x": ((*along, "atom"), x)}, coords, attrs),
        "sample_stats": xr.Dataset({n: (along, v) for n, v in stats.items()}, coords),
        "mean_field": xr.Dataset(
            variables,
            {
                "chain": range(CHAINS),
                "draw": some,
                "bounded_site": ["x"],
                "stein_draw": [0, 1, 10, 100, 199],
            },
            {"temperature": TAU, "num_particles": ATOMS},
        ),
    }
