"""A sample, and a density without its normaliser, by kernels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.stats import beta

import mmfld_ppl as mm
from mmfld_ppl.functionals import kernels
from mmfld_ppl.functionals.stein import KSD
from models.quantisation import quantisation
from models.stein import stein

from ..convex import gram, interval_rule, kernel_features, minimiser, quantiles
from .problem import Problem


def mmd_problem() -> Problem:
    """A Gaussian kernel, and the quantiles of a beta law."""
    atoms, tau, rule = quantiles(dist.Beta(2.0, 5.0), 40), 0.1, interval_rule(0, 1)
    kernel = kernels.Gaussian(0.15)
    f = kernel_features(gram(kernel, np.append(rule.points, atoms)))
    count = len(rule.points)
    return Problem(
        "MMD",
        quantisation,
        (mm.Measure.uniform(jnp.asarray(atoms, jnp.float32)), kernel, dist.Uniform()),
        {"temperature": tau},
        minimiser(rule, f[:count], f[count:].mean(axis=0), tau),
        ("x",),
        {"E x": lambda z: z[..., 0], "E x^2": lambda z: z[..., 0] ** 2},
        rule.weights,
        (rule.points, beta.pdf(rule.points, 2, 5)),
        (f"the target has E x = {atoms.mean():.4f}",),
    )


def cut_normal(x: jax.Array) -> jax.Array:
    """log p of a point of [0, 1]: a normal law whose mean is outside, so that it ends at 0 where
    it is largest."""
    return -((x[0] + 0.1) ** 2) / (2 * 0.3**2)


def stein_problem() -> Problem:
    """The right shoulder of a normal law."""
    tau, rule = 0.05, interval_rule(0, 1)
    kernel, base = (
        kernels.InverseMultiquadric(0.2),
        mm.distributions.UniformBox(np.zeros(1, np.float32), np.ones(1, np.float32)),
    )
    geometry = mm.mirrors.mirror_map(base.support, base.event_shape)
    with jax.enable_x64(True):
        F = KSD(cut_normal, kernel, geometry)
        lifted = jax.vmap(F.lift)(jnp.asarray(rule.points[:, None]))
        h = np.asarray(jax.vmap(jax.vmap(F.pair, (None, 0)), (0, None))(lifted, lifted))
        p = rule.weights * np.exp(
            np.asarray(jax.vmap(cut_normal)(jnp.asarray(rule.points[:, None])))
        )
    f = kernel_features((h + h.T) / 2)
    return Problem(
        "KSD",
        stein,
        (cut_normal, kernel, base),
        {"temperature": tau},
        minimiser(rule, f, np.zeros(f.shape[1]), tau),
        ("x",),
        {"E x": lambda z: z[..., 0], "E x^2": lambda z: z[..., 0] ** 2},
        rule.weights,
        (rule.points, p / p.sum() / rule.weights),
        (f"p has E x = {p @ rule.points / p.sum():.4f}",),
    )
