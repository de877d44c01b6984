"""Whether atoms are in a support, where they may lie on its boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpyro.distributions.constraints import Constraint

from mmfld_ppl.arrays import is_known

#: Atoms may lie on the boundary of a support, and as far outside as rounding puts them: they are
#: judged after a step of this length, of the way to the mean of all atoms.
ON_BOUNDARY = 1e-4


def inwards(points: np.ndarray, everything: np.ndarray, step: float) -> np.ndarray:
    """Points moved this part of the way to the mean of all points: from the boundary of a convex
    set into its interior."""
    return points + step * (everything.mean(axis=0) - points)


def require_inside(targets: Mapping[str, tuple[Any, Any]], support: Constraint) -> None:
    """Raises ValueError for an atom with mass that is outside of the closed support, of points and
    masses by name. What is traced is not checked."""
    if not all(map(is_known, jax.tree.leaves((dict(targets), support)))):
        return
    atoms = {
        name: np.asarray(points)[np.asarray(masses) > 0]
        for name, (points, masses) in targets.items()
    }
    everything = np.concatenate(list(atoms.values()))
    for name, points in atoms.items():
        with jax.ensure_compile_time_eval():
            inside = np.asarray(support(inwards(points, everything, ON_BOUNDARY)))
        if not inside.all():
            raise ValueError(
                f"{np.sum(~inside)} of the {len(points)} atoms of {name} are outside of the "
                f"particles' support {support!r}, the first at {points[np.argmin(inside)]}: pass "
                "base= with a larger support, as mm.constraints.box(low, high) or "
                "constraints.real_vector, or rescale the targets"
            )
