"""A measure by few points: maximum mean discrepancy with entropy."""

from __future__ import annotations

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl.functionals.checks import as_probability, is_known
from mmfld_ppl.functionals.interaction import MMD, PairKernel


def quantisation(
    target: mm.Measure | tuple[Array, Array],
    kernel: PairKernel,
    base: dist.Distribution,
    *,
    particles: int = 100,
    temperature: float | Array = 1e-4,
) -> None:
    r"""A measure on the support of the base that looks like the target to a kernel.

        min over mu of  (1/2) MMD^2(mu, target) + tau KL(mu | base)

    As tau falls, the particles become points that stand for the target better than as many draws of
    it; a larger tau smooths the target into a density.

    target: a sample as `mm.Measure.uniform(sample)`, or any points with masses that sum to one.
    kernel: one of `mmfld_ppl.functionals.kernels`, or a symmetric function of two points.
    temperature: tau, in units of the kernel.

    Sites: `x`, the particles. Start at points of the target, by `init_to_targets([target])` of
    `models.barycenter`: far from it a kernel with short tails does not pull.
    Raises ValueError for a target that is not a probability on the support of the base."""
    nu = as_probability("the target", target)
    _require_inside(nu, base)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", base)
    mm.objective("loss", MMD(nu, kernel), x, temperature=temperature)


def _require_inside(target: mm.Measure, base: dist.Distribution) -> None:
    if not is_known(target.points):
        return
    if target.points.shape[1:] != base.event_shape:
        raise ValueError(
            f"the target has points of shape {target.points.shape[1:]}, the base has events of "
            f"shape {base.event_shape}: take a base whose events are like the points of the target"
        )
    with jax.ensure_compile_time_eval():
        outside = np.flatnonzero(~np.asarray(jax.vmap(base.support)(target.points)))
    if outside.size:
        point = np.asarray(target.points)[outside[0]].tolist()
        raise ValueError(
            f"{outside.size} points of the target are outside of the support {base.support!r} of "
            f"the base, the first in row {outside[0]}: {point}; take a base on a larger "
            "support, or leave these points out"
        )
