"""Entropic optimal transport, the coupling itself being the unknown."""

from __future__ import annotations

from collections.abc import Callable

import numpyro
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals import MMD, OfMean
from mmfld_ppl.functionals.checks import as_probability
from mmfld_ppl.functionals.interaction import PairKernel
from mmfld_ppl.functionals.pushforward import Pushforward
from models.base_law import Base, base_law


def entropic_transport(
    laws: tuple[Base, Base],
    marginals: tuple[mm.Measure, mm.Measure],
    kernel: PairKernel,
    *,
    cost: Callable[[Array, Array], Float[Array, ""]],
    epsilon: float | Array = 0.05,
    penalty: float | Array = 10.0,
    particles: int = 500,
) -> None:
    r"""A coupling pi of two laws P and Q whose marginals are held by a kernel.

        min over pi of  E_pi[c(x, y)] + epsilon KL(pi | P x Q)
                        + (rho/2) (MMD^2(pi_x, P) + MMD^2(pi_y, Q))

    epsilon is the temperature, and the product of the laws the base. As rho grows, pi approaches
    the entropic coupling that Sinkhorn's algorithm computes on a grid. Particles need no grid, only
    densities of P and Q, on any supports that have mirror maps.

    laws: P and Q, distributions, or constraints for the uniform laws on them. marginals: what
    stands for each in its discrepancy: quantiles, nodes of a quadrature rule, or a sample, as a
    `Measure`. kernel: of two points of P, or of Q.
    cost: c, of one point of each. epsilon: in units of the cost. penalty: rho, of the cost over
    those of the kernel.

    Sites: `x` and `y`, the two ends of each particle.
    Raises ValueError for marginals that are no probabilities, and laws of points of another shape;
    TypeError for laws, marginals or kernels that are something else."""
    P, Q = (as_probability(f"marginal {k}", marginal) for k, marginal in enumerate(marginals))
    of_x, of_y = (
        base_law(law, nu.points.shape[1:], f"law {k}")
        for k, (law, nu) in enumerate(zip(laws, (P, Q), strict=True))
    )
    with mm.particles("pair", particles):
        x = numpyro.sample("x", of_x)
        y = numpyro.sample("y", of_y)
    loss = OfMean(potential=lambda pair: cost(pair["x"], pair["y"]))
    for name, target in (("x", P), ("y", Q)):
        held = MMD(target, kernel)
        loss = loss + penalty * Pushforward(held, lambda pair, name=name: pair[name])
    mm.objective("loss", loss, {"x": x, "y": y}, temperature=epsilon)
