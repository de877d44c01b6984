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
from jax.core import Tracer
from jaxtyping import Array, Float
from numpyro.distributions.constraints import Constraint

import mmfld_ppl as mm
from mmfld_ppl.functionals import SinkhornBarycenter

Target = mm.Measure | tuple[Array, Array]

#: Atoms may lie on the boundary of a support, and as far outside as rounding puts them: they are
#: judged after a step of this length, of the way to the mean of all atoms.
ON_BOUNDARY = 1e-4
#: Of the same way, how far inside of the targets' atoms the particles start.
INWARDS = 1e-2


def barycenter(
    targets: Sequence[Target],
    *,
    particles: int = 200,
    epsilon: float = 0.01,
    temperature: float = 0.002,
    weights: Float[Array, " k"] | None = None,
    debiased: bool = False,
    base: dist.Distribution | Constraint | None = None,
) -> None:
    r"""The (epsilon, tau) doubly regularised barycenter (Chizat 2023).

        min over mu of  sum_k weights[k] OT_epsilon(mu, targets[k]) + tau KL(mu | base)

    targets: `Measure`s or (points, masses) pairs of any sizes, points (m, d) in the support of
      `base`, its boundary included. particles: atoms of mu. epsilon, temperature: both in units of
      squared distance. weights: of the targets, non-negative with sum one, equal by default.
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
    where `base` is something else."""
    loss = SinkhornBarycenter(targets, weights, epsilon=epsilon, debiased=debiased)
    law = base_law(base, jnp.shape(loss.points)[2:])
    require_inside(targets, law.support)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", law)
    mm.objective("loss", loss, x, temperature=temperature)


def init_to_targets(targets: Sequence[Target]) -> Callable:
    """An init strategy: every particle of `barycenter` starts at an atom of a target, drawn by
    mass, a hundredth of the way towards the mean of all atoms, so that it is inside of the support.

        mm.MMFLD(barycenter, init_strategy=init_to_targets(targets))"""
    atoms = [tuple(map(np.asarray, _atoms(target))) for target in targets]
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


def base_law(
    base: dist.Distribution | Constraint | None, event_shape: tuple[int, ...]
) -> dist.Distribution:
    """The law of one particle of this shape."""
    if base is None:
        if not event_shape:
            raise ValueError(
                "the points of the targets are numbers, one an atom: give them a coordinate axis, "
                "points[:, None], or a base= of numbers"
            )
        return mm.distributions.UniformBox(jnp.zeros(event_shape), jnp.ones(event_shape))
    if isinstance(base, Constraint):
        if base.event_dim > len(event_shape):
            raise ValueError(
                f"base={base!r} has events of {base.event_dim} axes, the points of the targets are "
                f"of shape {event_shape}"
            )
        return dist.ImproperUniform(base, (), event_shape)
    if not isinstance(base, dist.Distribution):
        raise TypeError(
            "base must be a NumPyro distribution of one particle, or a constraint for the uniform "
            f"law on it, got {base!r}"
        )
    if base.batch_shape or base.event_shape != event_shape:
        raise ValueError(
            f"base must be a law of one particle, of event shape {event_shape} as the points of "
            f"the targets have, got batch shape {base.batch_shape} and event shape "
            f"{base.event_shape}; .to_event() makes events of batch axes"
        )
    return base


def require_inside(targets: Sequence[Target], support: Constraint) -> None:
    """Raises ValueError for an atom with mass that is outside of the closed support. What is traced
    is not checked."""
    pairs = [_atoms(target) for target in targets]
    leaves = [*jax.tree.leaves(support), *(array for pair in pairs for array in pair)]
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return
    atoms = [np.asarray(points)[np.asarray(masses) > 0] for points, masses in pairs]
    everything = np.concatenate(atoms)
    for k, points in enumerate(atoms):
        with jax.ensure_compile_time_eval():
            inside = np.asarray(support(inwards(points, everything, ON_BOUNDARY)))
        if not inside.all():
            raise ValueError(
                f"{np.sum(~inside)} of the {len(points)} atoms of target {k} are outside of the "
                f"particles' support {support!r}, the first at {points[np.argmin(inside)]}: pass "
                "base= with a larger support, as mm.constraints.box(low, high) or "
                "constraints.real_vector, or rescale the targets"
            )


def inwards(points: np.ndarray, everything: np.ndarray, step: float) -> np.ndarray:
    """Points moved this part of the way to the mean of all points: from the boundary of a convex
    set into its interior."""
    return points + step * (everything.mean(axis=0) - points)


def _atoms(target: Target) -> tuple[Array, Array]:
    points, masses = (target.points, target.weights) if isinstance(target, mm.Measure) else target
    return points, masses
