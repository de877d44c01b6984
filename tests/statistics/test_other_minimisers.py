"""Mean-field minimisers on a ball and on density matrices, and few particles against NUTS."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

import mmfld_ppl as mm
from examples.paper.exact import (
    disk_rule,
    finite_particle_bias,
    match_mean,
    spectraplex_matching,
)
from mmfld_ppl import distributions as convex

from .helpers import THRESHOLD, assert_law, compare, run_kernel
from .mean_field import CELLS, exact, matching, run_dynamics, simplex

pytestmark = pytest.mark.slow


def _ensemble(model, statistics, *, chains=8, warmup=500, draws=2000, **settings):
    """Averages over the particles, by name, of a run with everything adapted."""
    return run_kernel(
        mm.MMFLD(model, **settings),
        jax.random.key(0),
        chains=chains,
        warmup=warmup,
        draws=draws,
        record=lambda s: {name: jnp.mean(f(s.z["x"])) for name, f in statistics.items()},
    )


def _check(label, out, exact, least_ess=100):
    rows = [compare(f"{label} {name}", out[name], value) for name, value in exact.items()]
    print(*rows, sep="\n")
    assert_law(rows, least_ess=least_ess)


def test_matching_a_density_matrix() -> None:
    target, tau, gamma, size = np.array([[0.8, 0.2], [0.2, 0.2]]), 0.1, 2.0, 100

    def model():
        with mm.particles("atom", size):
            x = numpyro.sample("x", convex.UniformSpectraplex(2))
        F = mm.functionals.OfMean(
            outer=lambda m: 0.5 * jnp.sum(jnp.square(m - target.astype(np.float32))),
            potential=lambda x: jnp.sum(jnp.square(x)) / (2 * gamma),
        )
        mm.objective("F", F, x, temperature=tau)

    statistics = {
        "E z_1": lambda x: x[:, 0, 0] - 0.5,
        "E z_2": lambda x: x[:, 0, 1],
        "E z_1^2": lambda x: (x[:, 0, 0] - 0.5) ** 2,
        "E z_1 z_2": lambda x: (x[:, 0, 0] - 0.5) * x[:, 0, 1],
        "E det": lambda x: jnp.linalg.det(x),
    }
    mu = spectraplex_matching(target, tau, gamma)
    z = mu.points
    exact = {
        "E z_1": mu.mean[0],
        "E z_2": mu.mean[1],
        "E z_1^2": mu.weights @ z[:, 0] ** 2,
        "E z_1 z_2": mu.weights @ (z[:, 0] * z[:, 1]),
        "E det": mu.weights @ (0.25 - np.sum(z**2, axis=1)),
    }
    _check("spectraplex", _ensemble(model, statistics), exact)


def test_a_radial_potential_on_the_ball() -> None:
    q, tau, size = np.array([0.5, -0.3]), 0.05, 200

    def model():
        with mm.particles("atom", size):
            x = numpyro.sample("x", convex.UniformBall(2))
        # Pulls out to the sphere, where the barrier pushes back.
        F = mm.functionals.OfMean(
            outer=lambda m: jnp.sum(jnp.square(m - q.astype(np.float32))),
            potential=lambda x: -0.1 * jnp.sum(jnp.square(x)),
        )
        mm.objective("F", F, x, temperature=tau)

    mu = match_mean(disk_rule(1.0), q, tau, lambda x: -0.1 * np.sum(x**2, axis=-1))
    functions = {
        "E x_1": lambda x, np: x[:, 0],
        "E x_2": lambda x, np: x[:, 1],
        "E x_1 x_2": lambda x, np: x[:, 0] * x[:, 1],
        "E |x|^2": lambda x, np: np.sum(x**2, axis=1),
        "E log(1 - |x|^2)": lambda x, np: np.log1p(-np.sum(x**2, axis=1)),
    }
    statistics = {name: (lambda x, f=f: f(x, jnp)) for name, f in functions.items()}
    # Near the sphere the logarithm mixes slowly, and an effective draw costs many.
    out = _ensemble(model, statistics, draws=6000)
    exact = {name: mu.weights @ f(mu.points, np) for name, f in functions.items()}
    _check("ball", out, exact)


def _gibbs_mean(size: int) -> np.ndarray:
    """Of one particle under exp(-(N/tau) F) for N particles, up to O(1/N^2)."""
    mu = exact(*CELLS[0])
    return mu.mean + finite_particle_bias(mu, CELLS[0][0]) / size


def _few(size: int):
    tau, beta = CELLS[0]

    def model():
        with mm.particles("atom", size):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        mm.objective("F", matching(beta), x, temperature=tau)

    return model


def test_nuts_and_small_steps_draw_the_gibbs_measure_of_few_particles() -> None:
    size = 8
    nuts = MCMC(
        NUTS(_few(size)),
        num_warmup=300,
        num_samples=3000,
        num_chains=16,
        chain_method="vectorized",
        progress_bar=False,
    )
    nuts.run(jax.random.key(1))
    by_nuts = np.asarray(nuts.get_samples(group_by_chain=True)["x"]).mean(axis=2)
    (run,) = run_dynamics(
        mm.dynamics.Mirror(simplex()),
        [(*CELLS[0], 0.01)],
        particles=size,
        warmup=2000,
        draws=10000,
        chains=64,
    )
    exact_mean = _gibbs_mean(size)
    for label, draws in (("NUTS", by_nuts), ("small steps", run["moments"])):
        rows = [compare(f"{label} E x_{i + 1}", draws[..., i], exact_mean[i]) for i in range(3)]
        print(*rows, sep="\n")
        assert_law(rows)


def test_adapted_steps_differ_from_nuts_by_a_multiple_of_one_over_n() -> None:
    sizes, gaps, errors = (10, 40), [], []
    for size in sizes:
        means = run_kernel(
            mm.MMFLD(_few(size), step_size=0.2, adapt_step_size=False, adapt_metric=False),
            jax.random.key(0),
            chains=64,
            warmup=500,
            draws=8000,
            record=lambda s: {"mean": jnp.mean(s.z["x"], axis=0)},
        )["mean"]
        gibbs = _gibbs_mean(size)
        rows = [compare(f"N={size} E x_{i + 1}", means[..., i], gibbs[i]) for i in range(3)]
        print(*rows, sep="\n")
        gaps.append([size * (row.average - row.exact) for row in rows])
        errors.append([size * row.mcse for row in rows])
    few, many = np.asarray(gaps)
    z = (few - many) / np.hypot(*np.asarray(errors))
    print(f"N times the gap {few} and {many}, z of the difference {z}")
    assert np.all(np.abs(z) < THRESHOLD)
    assert np.all(np.abs(many) < 0.05)
