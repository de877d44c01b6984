"""How well the transport problems inside of an objective were solved."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..functionals.parts import parts
from ..latent import LatentProblem
from ..measures import Measure
from .geometry import Draws
from .proximal import KEY

#: Fields of a `SinkhornReport` that are stored.
FIELDS = ("marginal_error", "iterations", "converged")


def transport_statistics(problem: LatentProblem, coordinates: Draws) -> dict[str, tuple]:
    """Of the last draw of each chain, from the potentials of the draw before it, as in the run.

    `transport_marginal_error`, `transport_iterations` and `transport_converged` with dims chain and
    transport: a problem an input measure or time gap, in the order of the functional's `report`.
    Empty where the objective has no transport in it.

    problem: of the run. coordinates: of all of its sites, by chain and draw."""

    def solve(before: dict, after: dict) -> list:
        evaluated = [problem.evaluate(block, KEY)[1] for block in (before, after)]
        first, last = (Measure.uniform(stated.points) for stated in evaluated)
        found = []
        for part, (then, now) in parts(evaluated[1].functional, first, last):
            report = getattr(part, "report", None)
            if report is not None:
                found.append(report(now, part.linearize(then, part.init_carry(then)).carry))
        return found

    compiled, rows = jax.jit(solve), []
    for chain in range(next(iter(coordinates.values())).shape[0]):
        last = {n: jnp.asarray(x[chain][-2:]) for n, x in coordinates.items()}
        # A run of one draw has it twice.
        reports = compiled({n: x[0] for n, x in last.items()}, {n: x[-1] for n, x in last.items()})
        if not reports:
            return {}
        rows.append({n: np.concatenate([getattr(r, n) for r in reports]) for n in FIELDS})
    return {
        f"transport_{n}": (("chain", "transport"), np.stack([row[n] for row in rows]))
        for n in FIELDS
    }
