"""A measure by few points: maximum mean discrepancy with entropy."""

from __future__ import annotations

import numpy as np
import numpyro
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl.functionals.checks import as_atoms
from mmfld_ppl.functionals.interaction import MMD, PairKernel
from models.base_law import Base, base_law
from models.supports import require_inside


def quantisation(
    target: mm.Measure | tuple[Array, Array],
    kernel: PairKernel,
    base: Base,
    *,
    particles: int = 100,
    temperature: float | Array = 1e-4,
) -> None:
    r"""A measure on the support of the base that looks like the target to a kernel.

        min over mu of  (1/2) MMD^2(mu, target) + tau KL(mu | base)

    As tau falls, the particles become points that stand for the target better than as many draws of
    it; a larger tau smooths the target into a density.

    target: a sample as `mm.Measure.uniform(sample)`, or any points with masses that sum to one.
    base: the law of one particle before it sees the target, a distribution or a constraint, for the
      uniform law on that support, which holds the target: its atoms with mass.
    kernel: one of `mmfld_ppl.functionals.kernels`, or a symmetric function of two points.
    temperature: tau, in units of the kernel.

    Sites: `x`, the particles. Start at points of the target, by `init_to_targets([target])` of
    `models.barycenter`: far from it a kernel with short tails does not pull.
    Raises ValueError for a target that is not a probability on the support of the base; TypeError
    where target, kernel or base are something else."""
    nu = as_atoms("the target", target)
    law = base_law(base, np.shape(nu[0])[1:])
    require_inside({"the target": nu}, law.support)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", law)
    mm.objective("loss", MMD(nu, kernel), x, temperature=temperature)
