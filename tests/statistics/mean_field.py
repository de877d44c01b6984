"""Mean matching on the simplex, F(mu) = |E x - q|^2 + beta E sum_i log(1/x_i), in pure JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from examples.paper.exact import Solution, simplex_mean_matching
from mmfld_ppl import dynamics, functionals, mirrors

from .helpers import Comparison, compare

TARGET = (0.7, 0.2, 0.1)
#: (temperature, beta), from mild to hard.
CELLS = ((0.1, 0.1), (0.05, 0.0), (0.05, 0.01), (0.01, 0.0), (0.002, 0.0))


def matching(beta: Any, target: Any = TARGET) -> functionals.Functional:
    """F of the paper's first experiment."""
    q = jnp.asarray(target, jnp.float32)
    return functionals.OfMean(
        outer=lambda m: jnp.sum(jnp.square(m - q)),
        potential=lambda x: -beta * jnp.sum(jnp.log(x)),
    )


def exact(tau: float, beta: float, target: Sequence[float] = TARGET) -> Solution:
    """The minimiser, by quadrature."""
    return simplex_mean_matching(target, tau, beta)


def moments_of(particles: jax.Array) -> jax.Array:
    """Averages over the particles of x, of x^2 and of x_1 x_3."""
    x = particles
    values = jnp.concatenate([x, jnp.square(x), x[..., :1] * x[..., 2:]], axis=-1)
    return jnp.mean(values, axis=-2)


MOMENTS = ("x_1", "x_2", "x_3", "x_1^2", "x_2^2", "x_3^2", "x_1 x_3")


def exact_moments(solution: Solution) -> np.ndarray:
    """The same averages of mu*."""
    return solution.expect(lambda x: np.concatenate([x, x**2, x[..., :1] * x[..., 2:]], axis=-1))


def compare_moments(label: str, draws: np.ndarray, expected: np.ndarray) -> list[Comparison]:
    """`draws`: moments at every draw, (chains, draws, 7)."""
    rows = [
        compare(f"{label} E {name}", draws[..., i], expected[i]) for i, name in enumerate(MOMENTS)
    ]
    print(*rows, sep="\n")
    return rows


def extrapolate(label: str, few: list, many: list, ratio: float) -> list[Comparison]:
    """Removes a bias that is proportional to 1/N from averages at N and at `ratio` N particles."""
    rows = []
    for a, b in zip(few, many, strict=True):
        average = (ratio * b.average - a.average) / (ratio - 1)
        mcse = np.hypot(ratio * b.mcse, a.mcse) / (ratio - 1)
        z = (average - b.exact) / mcse
        rows.append(Comparison(f"{label} {b.name}", average, b.exact, min(a.ess, b.ess), mcse, z))
    print(*rows, sep="\n")
    return rows


def run_dynamics(
    transition: dynamics.Transition,
    settings: Sequence[tuple[float, float, float]],
    *,
    particles: int,
    warmup: int,
    draws: int,
    chains: int,
    metropolize: bool = True,
    target: Sequence[float] = TARGET,
    seed: int = 0,
) -> list[dict[str, np.ndarray]]:
    """Fixed steps in the pure layer, for each (temperature, beta, step).

    Gives "moments" (chains, draws, 7), "accept_prob", "collective_ratio", "nonfinite"."""

    def chain(key, tau, beta, h):
        field = dynamics.FunctionalField(matching(beta, target))
        langevin = dynamics.MeanFieldLangevin(field, transition, h, tau, metropolize=metropolize)
        key_start, key_warm, key_run = jax.random.split(key, 3)
        state = langevin.init(jax.random.dirichlet(key_start, jnp.ones(3), (particles,)), key_start)

        def step(state, key):
            state, info = langevin.step(key, state)
            return state, {"moments": moments_of(state.particles), **info._asdict()}

        # One loop for the warm-up and the draws, so that a step is compiled once.
        keys = [jax.random.split(key_warm, warmup), jax.random.split(key_run, draws)]
        out = jax.lax.scan(step, state, jnp.concatenate(keys))[1]
        return jax.tree.map(lambda x: x[warmup:], out)

    repeated = np.repeat(np.asarray(settings, np.float32), chains, axis=0)
    keys = jax.random.split(jax.random.key(seed), len(repeated))
    out = jax.tree.map(np.asarray, jax.jit(jax.vmap(chain))(keys, *repeated.T))
    return [
        {name: v[i * chains : (i + 1) * chains] for name, v in out.items()}
        for i in range(len(settings))
    ]


def simplex() -> mirrors.Simplex:
    """The default map of the simplex of size 3."""
    return mirrors.Simplex.of_size(3, jnp.float32)
