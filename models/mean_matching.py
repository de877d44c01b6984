"""The paper's first two experiments: measures with a given mean, on simplex and spectraplex."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Complex, Float

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array
from mmfld_ppl.constraints.hermitian import to_real
from mmfld_ppl.distributions import UniformHermitianSpectraplex
from mmfld_ppl.functionals.checks import require_finite


def simplex_matching(
    target: Float[Array, " d"],
    *,
    particles: int = 1000,
    temperature: float | Array = 0.05,
    beta: float | Array = 0.0,
) -> None:
    r"""A measure on the simplex whose mean is near `target` (Gu and Kim 2025, first experiment).

        min over mu of  |E_mu x - q|^2 + beta E_mu sum_i log(1/x_i) + tau KL(mu | uniform)

    target: q, positive with sum one. beta >= 0 pushes mass off the boundary. temperature: tau.
    mu* is proportional to  prod_i x_i^(beta/tau) exp(-2 <m - q, x> / tau), m its mean.

    Sites: `x`, the particles, shape (particles, d).
    Raises ValueError for a target that is not made of finite numbers."""
    target = as_array("the target", target)
    require_finite("the target", target)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(target.shape[0])))
    loss = mm.functionals.OfMean(
        outer=lambda mean: jnp.sum((mean - target) ** 2),
        potential=lambda x: -beta * jnp.sum(jnp.log(x)),
    )
    mm.objective("loss", loss, x, temperature=temperature)


def spectraplex_matching(
    target: Float[Array, "n n"] | Complex[Array, "n n"],
    *,
    particles: int = 1000,
    temperature: float | Array = 0.1,
    gamma: float | Array = 2.0,
) -> None:
    r"""A measure on density matrices whose mean is near `target` (second experiment).

        min over mu of  |E_mu X - S|_F^2 / 2 + E_mu |X|_F^2 / (2 gamma) + tau KL(mu | uniform)

    target: S, positive semidefinite with trace one; symmetric for real density matrices, complex
    Hermitian for complex ones. gamma > 0: the larger, the purer the matrices.

    Sites: `x`, the particles, shape (particles, n, n); of complex matrices X the real arrays
    Re X + Im X, see `constraints.hermitian`.
    Raises ValueError for a target that is not made of finite numbers."""
    target = as_array("the target", target)
    require_finite("the target", target)
    n = target.shape[0]
    base = mm.distributions.UniformSpectraplex(n)
    if jnp.iscomplexobj(target):
        base, target = UniformHermitianSpectraplex(n), to_real(target)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", base)
    loss = mm.functionals.OfMean(
        outer=lambda mean: jnp.sum((mean - target) ** 2) / 2,
        potential=lambda x: jnp.sum(x**2) / (2 * gamma),
    )
    mm.objective("loss", loss, x, temperature=temperature)
