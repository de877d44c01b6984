"""The problems that the paper names: each model is held to its exact minimiser."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.distributions import constraints
from numpyro.handlers import seed, trace
from numpyro.infer import init_to_sample

import mmfld_ppl as mm
from examples.paper import problems
from examples.paper.convex import sinkhorn
from mmfld_ppl.constraints.by_type import base_of
from models.base_law import distribution
from models.entropic_transport import entropic_transport
from models.mean_matching import simplex_matching
from models.spikes import sparse_on_grid, spikes
from models.stein import stein
from models.tensor import factors, from_factors, tensor
from tests.helpers import run

MAKERS = {make.__name__.removesuffix("_problem"): make for make in problems.PROBLEMS}


@functools.cache
def made(name: str) -> problems.Problem:
    return MAKERS[name]()


@pytest.fixture(params=MAKERS)
def problem(request) -> problems.Problem:
    return made(request.param)


def as_sites(problem: problems.Problem, points: np.ndarray):
    """Rows of coordinates as the model has its particles."""
    if problem.name in ("spikes", "transport"):
        return dict(zip(problem.sites, points.T, strict=True))
    scalar = problem.name == "MMD"
    return points if points.ndim == 2 or scalar else points[:, None]


def test_the_minimiser_is_a_fixed_point(problem, x64):
    """log mu* = log base - dF/dmu(mu*) / tau + constant: the model's functional, temperature and
    base measure at the nodes, and the weights that quadrature found there."""
    stated = trace(seed(problem.model, jax.random.key(0))).get_trace(
        *problem.args, **problem.setting, particles=1
    )
    objective = stated["loss"]["infer"]["objective"]
    exact = problem.exact
    keep = exact.weights > 1e-6 * exact.weights.max()
    points = as_sites(problem, exact.points)
    tangent = objective.functional.linearize(mm.Measure(points, jnp.asarray(exact.weights))).tangent
    some = jax.tree.map(lambda leaf: jnp.asarray(leaf)[keep], points)
    variation = np.asarray(objective.functional.first_variation(tangent, some))
    log_base = sum(
        np.asarray(stated[name]["fn"].log_prob(some[name] if isinstance(some, dict) else some))
        for name in problem.sites
    )
    excess = np.log(exact.weights[keep] / problem.base[keep]) - log_base
    excess += variation / float(objective.temperature)
    assert np.ptp(excess) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["tensor", "spikes", "mmd", "transport"], indirect=True)
def test_particles_have_the_means_of_the_minimiser(problem):
    pairwise = problem.name in problems.PAIRWISE
    mcmc = run(
        mm.MMFLD(problem.model, init_strategy=init_to_sample),
        *problem.args,
        warmup=400,
        draws=60,
        thinning=20,
        chains=12,
        model_kwargs={**problem.setting, "particles": 200 if pairwise else 400},
    )
    draws = mcmc.get_samples(group_by_chain=True)
    sites = [np.asarray(draws[name], float) for name in problem.sites]
    points = np.concatenate([z.reshape(*z.shape[:3], -1) for z in sites], axis=-1)
    for row in problems.compare(problem, points):
        assert abs(row.z) < 5, row


def test_factors_are_read_from_particles():
    rng = np.random.default_rng(0)
    truth = np.linalg.qr(rng.normal(size=(5, 5)))[0][:3]
    counts, lengths = np.array([60, 30, 10]), np.array([0.9, 0.95, 1.0])
    x = np.repeat(lengths[:, None] * truth, counts, axis=0)
    x = x + 0.01 * rng.normal(size=x.shape)
    weights, found = factors(rng.permutation(x), 3, scale=2.0)
    np.testing.assert_allclose(weights, 2 * counts / 100 * lengths**3, atol=0.03)
    np.testing.assert_allclose(np.sum(found * truth, axis=1), 1, atol=1e-3)
    again = from_factors(weights, found)
    np.testing.assert_allclose(again, from_factors(2 * counts / 100 * lengths**3, truth), atol=0.03)


def test_more_factors_than_directions_are_refused():
    with pytest.raises(ValueError, match="have 2 directions that differ, and rank=3"):
        factors(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), 3, 1.0)


def test_sparse_masses_satisfy_the_conditions_of_optimality():
    """The slope of the loss in a mass is zero where there is mass and nowhere negative."""
    rng = np.random.default_rng(1)
    sensors, grid, penalty = np.linspace(0, 1, 20), np.linspace(0, 1, 51), 0.05
    columns = np.exp(-((sensors[:, None] - grid) ** 2) / (2 * 0.08**2))
    observed = columns[:, [12, 35]] @ [1.0, 0.5] + 0.02 * rng.normal(size=20)
    masses, value = sparse_on_grid(sensors, observed, width=0.08, penalty=penalty, grid=grid)
    misfit = columns @ masses - observed
    slope = columns.T @ misfit + penalty
    assert slope.min() > -1e-6 and np.abs(slope[masses > 1e-6]).max() < 1e-6
    np.testing.assert_allclose(value, misfit @ misfit / 2 + penalty * masses.sum())


def test_the_coupling_on_a_grid_is_optimal():
    """Its marginals, and the only form that an entropic coupling can have."""
    rng = np.random.default_rng(2)
    cost, a, b = rng.uniform(size=(6, 5)), rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(5))
    plan = sinkhorn(cost, a, b, 0.2)
    np.testing.assert_allclose(plan.sum(axis=1), a, atol=1e-11)
    np.testing.assert_allclose(plan.sum(axis=0), b, atol=1e-11)
    log = np.log(plan / (a[:, None] * b)) + cost / 0.2
    rest = log - log.mean(axis=0) - log.mean(axis=1, keepdims=True) + log.mean()
    np.testing.assert_allclose(rest, 0, atol=1e-9)


def stated(model, *args, **setting):
    return seed(model, jax.random.key(0))(*args, **setting)


def test_misuse_is_explained():
    skew = np.zeros((2, 2, 2))
    skew[0, 0, 1] = 1.0
    with pytest.raises(ValueError, match=r"shape \(d, d, d\), got \(2, 3\)"):
        stated(tensor, np.ones((2, 3)), scale=1.0)
    with pytest.raises(ValueError, match="symmetric in its three indices"):
        stated(tensor, skew, scale=1.0)
    with pytest.raises(ValueError, match="vectors of one length"):
        stated(spikes, np.ones(3), np.ones(4), width=0.1, largest=1.0)
    with pytest.raises(ValueError, match="width must be one positive"):
        stated(spikes, np.ones(3), np.ones(3), width=0.0, largest=1.0)
    with pytest.raises(ValueError, match="has no mirror map"):
        sphere = dist.ProjectedNormal(jnp.ones(3))
        stated(stein, lambda x: x[0], lambda x, y: x @ y, sphere)
    with pytest.raises(TypeError, match="base must be .* got the constraint .*neither a shape nor"):
        stated(stein, lambda x: x[0], lambda x, y: x @ y, constraints.real_vector)
    law = dist.Uniform()
    with pytest.raises(TypeError, match="marginal 1 must be a Measure"):
        marginals = (mm.Measure.uniform(jnp.ones(2)), jnp.ones(2))
        stated(entropic_transport, (law, law), marginals, lambda x, y: x * y, cost=lambda x, y: x)
    marginals = (mm.Measure.uniform(jnp.ones(2)),) * 2
    with pytest.raises(TypeError, match="law 1 must be a NumPyro distribution .* got 0.5"):
        stated(entropic_transport, (law, 0.5), marginals, lambda x, y: x * y, cost=lambda x, y: x)


@pytest.mark.parametrize(
    ("constraint", "law"),
    [
        (constraints.positive, dist.Exponential(1.0)),
        (constraints.real_vector, dist.Normal(0, jnp.ones(2)).to_event(1)),
        (constraints.simplex, dist.Dirichlet(jnp.ones(3))),
        (mm.constraints.box(0.0, np.ones(2)), dist.Uniform(0, jnp.ones(2)).to_event(1)),
        (mm.constraints.ball(1.0), mm.distributions.UniformBall(2)),
        (
            mm.constraints.polytope(np.r_[np.eye(2), -np.eye(2)], np.ones(4)),
            mm.distributions.UniformPolytope(np.r_[np.eye(2), -np.eye(2)], np.ones(4)),
        ),
        (mm.constraints.spectraplex, mm.distributions.UniformSpectraplex(2)),
        (mm.constraints.hermitian_spectraplex, mm.distributions.UniformHermitianSpectraplex(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_constraint_without_draws_has_a_law_by_name(constraint, law):
    inner = law.base_dist if isinstance(law, dist.Independent) else law
    with pytest.raises(TypeError, match=rf"such as .*\b{type(inner).__name__}\("):
        distribution(constraint)
    assert type(base_of(law.support)) is type(base_of(constraint))
    assert distribution(law) is law


def test_data_may_be_lists_and_data_frames():
    for model, data, setting in (
        (tensor, [np.ones((2, 2, 2)).tolist()], {"scale": 1.0}),
        (spikes, [pd.Series([0.5, 1.0], index=[5, 6]), [0.2, 0.4]], {"width": 0.1, "largest": 1.0}),
        (simplex_matching, [pd.Series([0.3, 0.7], index=[5, 6])], {}),
    ):
        found, expected = (
            trace(seed(model, jax.random.key(0))).get_trace(*given, particles=3, **setting)["loss"]
            for given in (data, map(np.asarray, data))
        )
        np.testing.assert_allclose(found["fn"].log_factor, expected["fn"].log_factor, rtol=1e-5)
