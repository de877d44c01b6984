"""Entropic transport between two beta laws."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.stats import beta

import mmfld_ppl as mm
from mmfld_ppl.functionals import kernels
from models.entropic_transport import entropic_transport

from ..convex import (
    gram,
    interval_rule,
    kernel_features,
    minimiser,
    product_rule,
    quantiles,
    sinkhorn,
)
from ..exact import Rule
from .problem import Problem


def transport_problem() -> Problem:
    """Two beta laws and the squared distance."""
    laws, epsilon, rho = (dist.Beta(2.0, 5.0), dist.Beta(4.0, 2.0)), 0.1, 5.0
    kernel, atoms = kernels.Gaussian(0.3), [quantiles(law, 60) for law in laws]
    line, features, targets, masses = interval_rule(0, 1, 50), [], [], []
    for law, z in zip(laws, atoms, strict=True):
        f = kernel_features(gram(kernel, np.append(line.points, z)), 1e-11) * np.sqrt(rho)
        features.append(f[: len(line.points)])
        targets.append(f[len(line.points) :].mean(axis=0))
        a, b = float(law.concentration1), float(law.concentration0)
        masses.append(line.weights * beta.pdf(line.points, a, b))
    pairs = product_rule(line, line)
    base = Rule(pairs.points, np.outer(*masses).reshape(-1))
    n = len(line.points)
    both = np.hstack([np.repeat(features[0], n, axis=0), np.tile(features[1], (n, 1))])
    cost = (pairs.points[:, 0] - pairs.points[:, 1]) ** 2
    exact = minimiser(base, both, np.concatenate(targets), epsilon, cost)
    plan = sinkhorn(cost.reshape(n, n), masses[0], masses[1], epsilon)
    return Problem(
        "transport",
        entropic_transport,
        (laws, tuple(mm.Measure.uniform(jnp.asarray(z, jnp.float32)) for z in atoms), kernel),
        {"cost": lambda x, y: (x - y) ** 2, "epsilon": epsilon, "penalty": rho},
        exact,
        ("x", "y"),
        {
            "E c": lambda z: (z[..., 0] - z[..., 1]) ** 2,
            "E x": lambda z: z[..., 0],
            "E xy": lambda z: z[..., 0] * z[..., 1],
        },
        pairs.weights,
        notes=(
            f"Sinkhorn's coupling, rho = infinity: E c = {np.sum(plan.reshape(-1) * cost):.4f}, "
            f"E xy = {np.sum(plan.reshape(-1) * pairs.points.prod(axis=1)):.4f}",
        ),
    )
