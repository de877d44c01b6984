"""Density matrix matching, the paper's second experiment, with every method's step tuned.

min |E X - S|_F^2 / 2 + E|X|_F^2 / (2 gamma) + tau KL on real symmetric density matrices of size
2, 4 and 8, or complex Hermitian ones, against the minimiser by quadrature (real, n = 2) or by
weighted draws. S has one eigenvalue above the others, which are equal; its eigenvectors do not
matter, since all else is invariant under rotations. Scores: free energies above the least one.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl import dynamics, mirrors
from mmfld_ppl.constraints.hermitian import hermitian_spectraplex, to_complex, to_real
from mmfld_ppl.distributions import UniformHermitianSpectraplex
from mmfld_ppl.projections import project_simplex, register_projection

from .. import command
from .compare import Candidate, Cell, above, compare, options, report, together
from .reference import spectraplex_reference
from .runs import Method, Problem, default_map, projected, with_burn_in

#: Size: the largest eigenvalue of S, temperatures, the share of the budget of gradients.
TARGETS = {
    2: (0.9, (0.02, 0.1), 1.0),
    4: (0.7, (0.02,), 0.5),
    8: (0.6, (0.02,), 0.4),
}
GAMMA = 2.0
#: Of each size, the parts into which the champion divides its particles after a burn-in.
PARTS = {2: 32, 4: 1, 8: 1}
CHAMPION = "adjusted"
BARRIER = 0.1


def problem(n: int, complex_entries: bool = False) -> Problem:
    """Parameters: the target S. Complex matrices are held as Re X + Im X, which keeps inner
    products, so that the same formulas hold for them."""

    def functional(parameters: dict[str, Array]) -> mm.functionals.Functional:
        return mm.functionals.OfMean(
            outer=lambda m: 0.5 * jnp.sum(jnp.square(m - parameters["target"])),
            potential=lambda x: jnp.sum(jnp.square(x)) / (2 * GAMMA),
        )

    def statistics(x: Float[Array, "n n"]) -> Float[Array, " p"]:
        rest = (1 - x[0, 0]) / jnp.sqrt(n - 1.0)
        return jnp.stack([x[0, 0], rest, jnp.sum(jnp.square(x))])

    law = UniformHermitianSpectraplex if complex_entries else mm.distributions.UniformSpectraplex
    return Problem(law(n), functional, statistics)


def cells(n: int, complex_entries: bool = False) -> list[Cell]:
    top, temperatures, _ = TARGETS[n]
    target = np.diag([top, *[(1 - top) / (n - 1)] * (n - 1)])
    parameters = {"target": jnp.asarray(target, jnp.float32)}
    field = "complex, " if complex_entries else ""
    return [
        Cell(
            f"n={n}, {field}tau={tau:g}",
            tau,
            parameters,
            above(spectraplex_reference(n, top, tau, GAMMA, complex_entries)),
        )
        for tau in temperatures
    ]


@register_projection(type(hermitian_spectraplex))
def _project(constraint, shape):
    def project(x):
        values, vectors = jnp.linalg.eigh(to_complex(x))
        scaled = vectors * project_simplex(values)[..., None, :]
        return to_real(jnp.matmul(scaled, jnp.conj(jnp.swapaxes(vectors, -1, -2))))

    return project


def candidates(
    base: dist.Distribution, sub_steps: int | None, complex_entries: bool = False
) -> list[Candidate]:
    """sub_steps: of methods that have some, which are left out if it is None. The von Neumann map
    is one of real matrices."""
    barrier, entropy = default_map(base), mirrors.VonNeumannSpectraplex()
    mirror = dynamics.Mirror
    burn_in = with_burn_in(barrier, PARTS[base.event_shape[0]])
    found = [
        Candidate(Method(CHAMPION, mirror(barrier), True), 3.0, (burn_in,)),
        Candidate(Method("one step, log det", mirror(barrier)), 3.0),
        Candidate(Method("one step, von Neumann", mirror(entropy)), 1.0),
        Candidate(Method("projected", projected(base)), 0.03),
        Candidate(Method("projected, barrier", projected(base, BARRIER)), 0.03),
    ]
    if sub_steps is not None:
        found += [
            Candidate(Method("sub-steps, log det", mirror(barrier, sub_steps)), 3.0),
            Candidate(Method("sub-steps, von Neumann", mirror(entropy, sub_steps)), 1.0),
        ]
    return [c for c in found if not (complex_entries and "von Neumann" in c.method.name)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser("paper spectraplex", __doc__)
    options(parser, gradients=160)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(TARGETS), help="n")
    parser.add_argument("--sub-steps", type=int, help="rows of so many, for n = 2")
    parser.add_argument("--complex", action="store_true", help="Hermitian matrices")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.gradients, arguments.sizes = [256], 40, [2]
    parts = []
    for n in arguments.sizes:
        print(f"n={n}")
        here = problem(n, arguments.complex)
        steps = arguments.sub_steps if n == 2 else None
        several = candidates(here.base, steps, arguments.complex)
        several = several[:4] if arguments.quick else several
        budget = int(TARGETS[n][2] * arguments.gradients)
        parts.append(compare(here, cells(n, arguments.complex), several, arguments, budget))
    name = "paper_spectraplex" + ("_complex" if arguments.complex else "")
    report(together(parts), CHAMPION, arguments.out / name, columns=4)
