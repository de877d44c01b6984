"""A density that is known up to its normaliser, by particles that feel its score alone."""

from __future__ import annotations

from collections.abc import Callable

import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals.interaction import PairKernel
from mmfld_ppl.functionals.stein import KSD
from models.base_law import distribution


def stein(
    log_density: Callable[[Float[Array, " d"]], Float[Array, ""]],
    kernel: PairKernel,
    base: dist.Distribution,
    *,
    particles: int = 200,
    temperature: float | Array = 1e-2,
) -> None:
    r"""A measure on the support of the base that a kernel Stein discrepancy cannot tell from p.

        min over mu of  (1/2) KSD^2(mu, p) + tau KL(mu | base)

    Samples of p are not needed, and p may be zero outside of the support: the operator is that of
    the mirror map of the support, which asks nothing of p at the boundary. At a small tau the
    particles stand for p better than as many draws of it; a larger one mixes p with the base.

    log_density: log p up to a constant, of one point. kernel: positive definite, smooth where
    points meet. base: a law of vectors, on the support of p. temperature: tau, in units of the
    Stein kernel.

    Sites: `x`, shape (particles, d).
    Raises ValueError for a support without a mirror map, or a batch of laws; TypeError for a base
    that is no distribution, and for a kernel that is a class."""
    base = distribution(base)
    geometry = mm.mirrors.mirror_map(base.support, base.event_shape)
    if geometry is None:
        raise ValueError(
            f"the support {base.support!r} of the base has no mirror map: register one, as the "
            "page on extending shows"
        )
    with mm.particles("atom", particles):
        x = numpyro.sample("x", base)
    loss = KSD(log_density, kernel, geometry)
    mm.objective("loss", loss, x, temperature=temperature)
