"""Symmetric tensors of order three as sums of few powers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array, is_known
from mmfld_ppl.functionals.checks import require_finite


def tensor(
    target: Float[Array, "d d d"],
    *,
    scale: float | Array,
    particles: int = 500,
    temperature: float | Array = 1e-3,
) -> None:
    r"""A measure on the unit ball of R^d whose third moment is near `target`.

        min over mu of  |c E_mu[x (x) x (x) x] - T|_F^2 + tau KL(mu | uniform on the ball)

    As tau falls the particles gather at the factors of  T = sum_j w_j a_j (x) a_j (x) a_j,
    |a_j| = 1: no rank has to be chosen. Where the factors are orthonormal and c = sum_j |w_j|, the
    nuclear norm of T, no other measure on the ball has the moment T / c (a polynomial that is 1 at
    the factors, at most 1 on the ball, says so: sum_j <a_j, x>^3). A smaller c cannot reach T, a
    larger one leaves room for others. A weight below 0 is that of the factor -a_j.

    target: T, symmetric. scale: c > 0. temperature: tau, in units of the squared norm of T.

    Sites: `x`, shape (particles, d). `factors` reads weights and factors from them.
    Raises ValueError for a target that is not a finite symmetric tensor of order three."""
    target = as_array("the target", target)
    _check(target)
    with mm.particles("atom", particles):
        x = numpyro.sample("x", mm.distributions.UniformBall(jnp.shape(target)[0]))
    loss = mm.functionals.OfMean(
        outer=lambda moment: jnp.sum((scale * moment - target) ** 2), feature=cube
    )
    mm.objective("loss", loss, x, temperature=temperature)


def cube(x: Float[Array, " d"]) -> Float[Array, "d d d"]:
    """x (x) x (x) x."""
    return x[:, None, None] * x[:, None] * x


def from_factors(
    weights: Float[np.ndarray, " r"], factors: Float[np.ndarray, "r d"]
) -> Float[np.ndarray, "d d d"]:
    """sum_j w_j a_j (x) a_j (x) a_j."""
    return np.einsum("r,ri,rj,rk->ijk", weights, factors, factors, factors)


def factors(
    points: Float[np.ndarray, "n d"], rank: int, scale: float, *, rounds: int = 50
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r d"]]:
    """Weights and unit factors, largest weight first, of particles at a low temperature.

    The particles are divided by direction, each counting by its cube |x|^3: a factor is the mean
    direction of a part, its weight c times the share of its cubes. Raises ValueError where fewer
    directions than `rank` differ."""
    x = np.asarray(points, float)
    lengths = np.linalg.norm(x, axis=1)
    directions = x / lengths[:, None]
    masses = lengths**3 / len(x)
    found = directions[[np.argmax(masses)]]
    while len(found) < rank:  # the heaviest direction that is far from those found
        apart = np.clip(1 - (directions @ found.T).max(axis=1), 0, 1)
        if not np.any(apart * masses > 1e-12 * masses.sum()):
            raise ValueError(
                f"the particles have {len(found)} directions that differ, and rank={rank} factors "
                "are asked for: take a smaller rank, or more particles"
            )
        found = np.vstack([found, directions[np.argmax(apart * masses)]])
    part = np.zeros(len(x), int)
    for _ in range(rounds):
        part = (directions @ found.T).argmax(axis=1)
        sums = np.array([masses[part == j] @ directions[part == j] for j in range(rank)])
        found = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    weights = scale * np.bincount(part, masses, rank)
    order = np.argsort(-weights)
    return weights[order], found[order]


def _check(target: Array | np.ndarray) -> None:
    if jnp.ndim(target) != 3 or len(set(jnp.shape(target))) != 1:
        raise ValueError(f"the target must be of shape (d, d, d), got {jnp.shape(target)}")
    require_finite("the target", target)
    if not is_known(target):
        return
    known = np.asarray(target)
    worst = max(np.abs(known - known.transpose(p)).max() for p in ((1, 0, 2), (0, 2, 1)))
    if worst > 1e-4 * np.abs(known).max():
        raise ValueError(
            f"the target must be symmetric in its three indices, it is off by {worst:.2g}: average "
            "it over the permutations of its indices"
        )
