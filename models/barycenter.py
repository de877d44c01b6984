"""Entropic Wasserstein barycenters of measures on a convex support."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals import SinkhornBarycenter
from mmfld_ppl.functionals.checks import as_targets
from models.base_law import Base, base_law
from models.supports import inwards, require_inside

Target = mm.Measure | tuple[Array, Array]

#: How far inside of the targets' atoms the particles start, of the way to the mean of all atoms.
INWARDS = 1e-2


def barycenter(
    targets: Sequence[Target],
    *,
    particles: int = 200,
    epsilon: float = 0.01,
    temperature: float = 0.002,
    weights: Float[Array, " k"] | None = None,
    debiased: bool = False,
    base: Base | None = None,
) -> None:
    r"""The (epsilon, tau) doubly regularised barycenter (Chizat 2023).

        min over mu of  sum_k weights[k] OT_epsilon(mu, targets[k]) + tau KL(mu | base)

    targets: a list of `Measure`s or (points, masses) pairs of any sizes, points (m, d) in the
      support of `base`, its boundary included. particles: atoms of mu. epsilon, temperature: both
      in units of squared distance. weights: of the targets, non-negative with sum one, equal by
      default.
    debiased: subtract OT_epsilon(mu, mu) / 2, which takes the blur of the transport out.
    base: the law of one particle before it sees the targets, a distribution or a constraint, for
      the uniform law on that support: Lebesgue measure, which needs no finite volume.
      `constraints.real_vector`, `positive`, `simplex`, `mm.constraints.ball(r)` and
      `mm.constraints.box(low, high)` are usual. Default: the unit box.

    Entropy spreads and the plain transport shrinks: of isotropic Gaussians of variance s^2 the
    barycenter has variance v with v - tau/2 + epsilon/4 = sqrt(v s^2 + epsilon^2/16), which is s^2
    up to epsilon^2/(16 s^2) for temperature = epsilon/2. The default temperature is lower, for a
    sharper picture: v is less than s^2, by about epsilon/2 - tau where s^2 is large against it.
    `debiased` puts sqrt(v^2 + epsilon^2/16) - tau/2 on the left, which is v = s^2 as the
    temperature falls to zero.

    Sites: `x`, the particles, shape (particles, d).
    Raises ValueError on targets outside of the support, and as `SinkhornBarycenter`; TypeError
    where `base` or a target is something else."""
    atoms = as_targets(targets)
    loss = SinkhornBarycenter(atoms, weights, epsilon=epsilon, debiased=debiased)
    shape = jnp.shape(loss.points)[2:]
    law = _unit_box(shape) if base is None else base_law(base, shape)
    require_inside({f"target {k}": target for k, target in enumerate(atoms)}, law.support)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", law)
    mm.objective("loss", loss, x, temperature=temperature)


def init_to_targets(targets: Sequence[Target]) -> Callable:
    """An init strategy: every particle of `barycenter` starts at an atom of a target, drawn by
    mass, a hundredth of the way towards the mean of all atoms, so that it is inside of the support.

        mm.MMFLD(barycenter, init_strategy=init_to_targets(targets))

    Raises ValueError and TypeError for targets as `SinkhornBarycenter` does."""
    atoms = [tuple(map(np.asarray, target)) for target in as_targets(targets)]
    points = np.concatenate([points[masses > 0] for points, masses in atoms])
    masses = np.concatenate([masses[masses > 0] / masses.sum() for _, masses in atoms])
    return functools.partial(_resample, inwards(points, points, INWARDS), masses / masses.sum())


def _resample(points: np.ndarray, masses: np.ndarray, site: dict | None = None) -> Any:
    if site is None:
        return functools.partial(_resample, points, masses)
    if site["type"] != "sample" or site["is_observed"]:
        return None
    count = site["fn"].shape(site["kwargs"]["sample_shape"])[0]
    key = site["kwargs"]["rng_key"]
    chosen = jax.random.choice(key, len(points), (count,), p=jnp.asarray(masses))
    return jnp.asarray(points)[chosen]


def _unit_box(shape: tuple[int, ...]) -> dist.Distribution:
    if not shape:
        raise ValueError(
            "the points of the targets are numbers, one an atom: give them a coordinate axis, "
            "points[:, None], or a base= of numbers"
        )
    return mm.distributions.UniformBox(jnp.zeros(shape), jnp.ones(shape))
