"""Simulation-based calibration (Talts et al. 2018): ranks of the truth among posterior draws.

Parameters come from the prior, data from the parameters; then the rank of a quantity of the true
parameters among thinned posterior draws is uniform. All replicates run at once, each a chain with
its own data and its own adaptation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import Predictive

from mmfld_ppl import MMFLD
from mmfld_ppl import distributions as convex

from .helpers import assert_uniform, run_kernel

pytestmark = pytest.mark.slow

REPLICATES = 400
#: Draws of each posterior; with the truth among them there are RANKS possible ranks.
RANKS = 32


class Case(NamedTuple):
    """A model of data `y`, what to rank, and how many steps lie between two draws."""

    model: Callable
    quantities: Mapping[str, Callable]
    thin: int = 20
    warmup: int = 600


def _simplex(y=None):
    x = numpyro.sample("x", dist.Dirichlet(jnp.array([0.7, 1.0, 2.0])))
    numpyro.sample("y", dist.Multinomial(10, x), obs=y)


def _positive(y=None):
    rate = numpyro.sample("rate", dist.Gamma(1.5, 0.5))
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    numpyro.sample("y", dist.Gamma(2.0, rate / scale).expand([4]).to_event(1), obs=y)


def _interval(y=None):
    p = numpyro.sample("p", dist.Beta(0.7, 1.5))
    q = numpyro.sample("q", dist.Uniform(-1.0, 3.0))
    numpyro.sample("y", dist.Normal(p * q, 0.5).expand([3]).to_event(1), obs=y)


def _ordered(y=None):
    cuts = dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand([3]).to_event(1), dist.transforms.OrderedTransform()
    )
    cuts = numpyro.sample("cuts", cuts)
    numpyro.sample("y", dist.OrderedLogistic(jnp.full(8, 0.5), cuts).to_event(1), obs=y)


def _positive_definite(y=None):
    scale = jnp.array([[1.0, 0.4], [0.4, 0.5]])
    precision = numpyro.sample("precision", dist.Wishart(4.0, scale))
    mvn = dist.MultivariateNormal(jnp.zeros(2), precision_matrix=precision)
    numpyro.sample("y", mvn.expand([5]).to_event(1), obs=y)


def _ball(y=None):
    x = numpyro.sample("x", convex.UniformBall(2, radius=1.5))
    numpyro.sample("y", dist.Normal(x, jnp.array([0.5, 1.0])).to_event(1), obs=y)


def _hierarchy(y=None):
    top = numpyro.sample("top", dist.Normal(1.0, 2.0))
    low = numpyro.sample("low", dist.Normal(top, 1.0).expand([4]).to_event(1))
    numpyro.sample("y", dist.StudentT(5.0, low, 0.7).to_event(1), obs=y)


def _dependent(y=None):
    a = numpyro.sample("a", dist.Gamma(3.0, 1.0))
    b = numpyro.sample("b", dist.Uniform(0.0, a).expand([2]).to_event(1))
    numpyro.sample("y", dist.Poisson(b).to_event(1), obs=y)


CASES = {
    "simplex": Case(
        _simplex, {"x_1": lambda d: d["x"][..., 0], "x_2 x_3": lambda d: d["x"][..., 1:].prod(-1)}
    ),
    "positive": Case(
        _positive, {"rate": lambda d: d["rate"], "ratio": lambda d: d["rate"] / d["scale"]}
    ),
    "interval": Case(
        _interval, {"p": lambda d: d["p"], "q": lambda d: d["q"], "p q": lambda d: d["p"] * d["q"]}
    ),
    "ordered": Case(
        _ordered,
        {
            "cut 1": lambda d: d["cuts"][..., 0],
            "last gap": lambda d: d["cuts"][..., 2] - d["cuts"][..., 1],
        },
    ),
    "positive definite": Case(
        _positive_definite,
        {
            "corner": lambda d: d["precision"][..., 0, 0],
            "determinant": lambda d: np.linalg.det(d["precision"]),
            "coupling": lambda d: d["precision"][..., 0, 1],
        },
    ),
    "ball": Case(
        _ball,
        {"x_1": lambda d: d["x"][..., 0], "radius": lambda d: np.linalg.norm(d["x"], axis=-1)},
    ),
    "real": Case(
        _hierarchy,
        {"top": lambda d: d["top"], "spread": lambda d: d["low"].std(axis=-1)},
    ),
    "dependent": Case(
        _dependent,
        {
            "a": lambda d: d["a"],
            "b_1": lambda d: d["b"][..., 0],
            "b_2 / a": lambda d: d["b"][..., 1] / d["a"],
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_ranks_are_uniform(name: str) -> None:
    case = CASES[name]
    prior = Predictive(case.model, num_samples=REPLICATES)(jax.random.key(1))
    truth = jax.tree.map(np.asarray, prior)
    draws = run_kernel(
        MMFLD(case.model),
        jax.random.key(0),
        chains=REPLICATES,
        warmup=case.warmup,
        draws=RANKS - 1,
        thin=case.thin,
        args=(prior["y"],),
        batched_args=True,
    )
    for label, quantity in case.quantities.items():
        values = quantity(draws)
        # Ranks among draws that hang together are not uniform, however right the posterior.
        print(f"lag-one correlation {_lag_one(values):.2f}", end="  ")
        assert _lag_one(values) < 0.15
        ranks = np.sum(values < quantity(truth)[:, None], axis=1)
        assert_uniform(f"{name}: {label}", ranks, RANKS, bins=8)


def _lag_one(values: np.ndarray) -> float:
    """Correlation of successive draws, averaged over the replicates."""
    x = values - values.mean(axis=1, keepdims=True)
    # A series of n independent draws has -1/n on average, since its mean is taken out.
    correlations = np.sum(x[:, 1:] * x[:, :-1], axis=1) / np.sum(x**2, axis=1)
    return float(correlations.mean() + 1 / values.shape[1])
