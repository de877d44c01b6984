"""Mean matching on the simplex, the paper's first experiment, with every method's step tuned.

min |E x - q|^2 + beta E sum log(1/x_i) + tau KL on three, ten and fifty coordinates, q in the
middle and near the boundary, against the exact minimiser. The scores are free energies above its
own, in nats (see `reference`).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl import dynamics, mirrors

from .. import command
from .compare import Candidate, Cell, above, compare, options, report, together
from .reference import simplex_reference
from .runs import Method, Problem, default_map, projected, with_burn_in

#: Groups of equal entries of q: their sizes, their values; temperatures; beta.
TARGETS = {
    "q=(.5, .3, .2)": ((1, 1, 1), (0.5, 0.3, 0.2), (0.002, 0.02, 0.2), 1e-3),
    "q=(.9, .08, .02)": ((1, 1, 1), (0.9, 0.08, 0.02), (0.002, 0.02, 0.2), 1e-3),
    "d=10": ((1, 3, 6), (0.46, 0.12, 0.03), (0.002, 0.02, 0.2), 1e-4),
    "d=10, near": ((1, 3, 6), (0.8, 0.05, 0.05 / 6), (0.002, 0.02, 0.2), 1e-4),
    "d=50": ((1, 9, 40), (0.3, 0.04, 0.0085), (0.002, 0.02, 0.2), 1e-4),
    "d=50, near": ((1, 9, 40), (0.5, 0.04, 0.0035), (0.002, 0.02, 0.2), 1e-4),
}
#: Of each size, the share of the budget of gradients that it gets.
SHARES = {3: 1.0, 10: 0.5, 50: 0.25}
#: Of each size, the parts into which the champion divides its particles after a burn-in.
PARTS = {3: 32, 10: 32, 50: 1}
CHAMPION = "adjusted"
BARRIER = 0.1


def problem(counts: Sequence[int]) -> Problem:
    """Parameters: target q and beta."""
    member = np.repeat(np.eye(len(counts)), counts, axis=0) / np.sqrt(counts)
    group = jnp.asarray(member, jnp.float32)

    def functional(parameters: dict[str, Array]) -> mm.functionals.Functional:
        return mm.functionals.OfMean(
            outer=lambda m: jnp.sum(jnp.square(m - parameters["target"])),
            potential=lambda x: -parameters["beta"] * jnp.sum(jnp.log(x)),
        )

    def statistics(x: Float[Array, " d"]) -> Float[Array, " p"]:
        return jnp.append(x @ group, -jnp.sum(jnp.log(x)))

    return Problem(dist.Dirichlet(jnp.ones(sum(counts))), functional, statistics)


def parameters(values: Sequence[float], counts: Sequence[int], beta: float) -> dict[str, Array]:
    """What the functional of `problem` takes."""
    target = jnp.asarray(np.repeat(values, counts), jnp.float32)
    return {"target": target, "beta": jnp.asarray(beta, jnp.float32)}


def cells(names: Sequence[str], temperatures: Sequence[float] | None = None) -> list[Cell]:
    """temperatures: those wanted, all by default."""
    found = []
    for name in names:
        counts, values, its_own, beta = TARGETS[name]
        for tau in its_own:
            if temperatures is not None and tau not in temperatures:
                continue
            reference = simplex_reference(values, counts, tau, beta)
            own = parameters(values, counts, beta)
            found.append(Cell(f"{name}, tau={tau:g}", tau, own, above(reference)))
    return found


def candidates(base: dist.Distribution, sub_steps: int | None) -> list[Candidate]:
    """sub_steps: of methods that have some, which are left out if it is None."""
    barrier, entropy = default_map(base), mirrors.EntropySimplex()
    mirror = dynamics.Mirror
    size = base.event_shape[0]
    ways = (with_burn_in(barrier, PARTS[size]),)
    if size > 3:
        # Under the barrier the faces are infinitely far away, and many coordinates are near them.
        ways += (with_burn_in(barrier, PARTS[size], entropy),)
    found = [
        Candidate(Method(CHAMPION, mirror(barrier), True), 3.0, ways),
        Candidate(Method("one step, log barrier", mirror(barrier)), 3.0),
        Candidate(Method("one step, entropy", mirror(entropy)), 1.0),
        Candidate(Method("projected", projected(base)), 0.03),
        Candidate(Method("exact, entropy", mirror(entropy, "exact")), 1.0),
        Candidate(Method("projected, barrier", projected(base, BARRIER)), 0.03),
    ]
    if sub_steps is not None:
        found += [
            Candidate(Method("sub-steps, log barrier", mirror(barrier, sub_steps)), 3.0),
            Candidate(Method("sub-steps, entropy", mirror(entropy, sub_steps)), 1.0),
        ]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser("paper simplex", __doc__)
    options(parser, gradients=240)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SHARES), help="d")
    parser.add_argument("--temperatures", type=float, nargs="+", help="some of them")
    parser.add_argument("--sub-steps", type=int, help="rows of so many, for d = 3")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.gradients, arguments.sizes = [256], 60, [3]
    parts = []
    for d in arguments.sizes:
        print(f"d={d}")
        names = [name for name, (counts, *_) in TARGETS.items() if sum(counts) == d]
        here = problem(TARGETS[names[0]][0])
        several = candidates(here.base, arguments.sub_steps if d == 3 else None)
        several = several[:4] if arguments.quick else several
        budget = int(SHARES[d] * arguments.gradients)
        parts.append(
            compare(here, cells(names, arguments.temperatures), several, arguments, budget)
        )
    report(together(parts), CHAMPION, arguments.out / "paper_simplex", columns=3)
