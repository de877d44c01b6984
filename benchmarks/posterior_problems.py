"""Posteriors on constrained supports whose exact means are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions import constraints as nc
from scipy import stats
from scipy.special import digamma

import mmfld_ppl as mm


class Problem(NamedTuple):
    """model: a NumPyro model of `args`. read: the parameters whose worst counts, as one vector,
    from the values of the sites. mean: their exact posterior means. charts: other models of the
    same posterior, by the name of their chart. draws: after the warm-up, in each chain.
    correlated: whether a dense metric has something to know."""

    name: str
    model: Callable
    args: tuple
    read: Callable[[dict], Any]
    mean: np.ndarray
    charts: dict[str, Callable] = {}
    draws: int = 2000
    correlated: bool = False


def problems() -> list[Problem]:
    rng = np.random.default_rng(0)
    return [
        *(shares(rng, size, dense) for size in (3, 30, 300) for dense in (True, False)),
        scales(rng, 30),
        regression(rng, 10),
        ordered(rng, 5),
        matrix(rng, 3),
        matrix(rng, 10),
        truncated(rng, 10, 2000),
        truncated(rng, 100, 300),
        heavy(10),
        edges(10),
        dirichlet(10, 0.1),
        regression(rng, 10, 0.99),
    ]


def shares(rng: np.random.Generator, size: int, dense: bool) -> Problem:
    """Dirichlet-multinomial: 20 counts a category, or one for every two categories."""
    prior = np.ones(size) if dense else np.full(size, 0.5)
    truth = rng.dirichlet(np.ones(size))
    total = 20 * size if dense else max(size // 2, 2)
    counts = rng.multinomial(total, truth)

    def model(counts):
        x = numpyro.sample("x", dist.Dirichlet(jnp.asarray(prior, jnp.float32)))
        numpyro.sample("n", dist.Multinomial(total, probs=x), obs=counts)

    def log_ratios(counts):
        """The same in isometric log-ratio coordinates: NumPyro's own chart of the zero sums."""
        chart = dist.transforms.biject_to(nc.zero_sum(1))
        free = dist.ImproperUniform(nc.real_vector, (), (size - 1,))
        z = numpyro.sample("z", free)
        log_x = jax.nn.log_softmax(chart(z))
        x = numpyro.deterministic("x", jnp.exp(log_x))
        # The volume of the simplex in these coordinates is the product of the shares.
        numpyro.factor("volume", jnp.sum(prior * log_x))
        numpyro.sample("n", dist.Multinomial(total, probs=x), obs=counts)

    concentration = prior + counts
    kind = "dense" if dense else "sparse"
    return Problem(
        f"shares {size} {kind}",
        model,
        (jnp.asarray(counts),),
        lambda z: z["x"],
        concentration / concentration.sum(),
        {"ILR": log_ratios},
    )


def scales(rng: np.random.Generator, groups: int) -> Problem:
    """Variances of groups of 2 to 40 observations each, over three orders of magnitude."""
    shape, scale = 2.0, 1.0
    sizes = rng.integers(2, 41, groups)
    truth = np.exp(rng.normal(0, 1.5, groups))
    squares = np.array([v * rng.chisquare(n) for v, n in zip(truth, sizes, strict=True)])

    def model(sizes, squares):
        v = numpyro.sample("v", dist.InverseGamma(shape, scale).expand([groups]).to_event(1))
        numpyro.factor("y", -0.5 * jnp.sum(sizes * jnp.log(v) + squares / v))

    mean = (scale + squares / 2) / (shape + sizes / 2 - 1)
    args = (jnp.asarray(sizes, jnp.float32), jnp.asarray(squares, jnp.float32))
    return Problem(f"variances {groups}", model, args, lambda z: z["v"], mean)


def regression(rng: np.random.Generator, size: int, correlation: float = 0.5) -> Problem:
    """Correlated predictors, a positive variance: normal and inverse gamma."""
    rows, shape, scale = 200, 3.0, 2.0
    factor = np.linalg.cholesky((1 - correlation) * np.eye(size) + correlation)
    X = rng.normal(size=(rows, size)) @ factor.T * np.geomspace(0.1, 10, size)
    y = X @ rng.normal(size=size) + 2 * rng.normal(size=rows)

    def model(X, y):
        v = numpyro.sample("v", dist.InverseGamma(shape, scale))
        prior = dist.Normal(0, 3 * jnp.sqrt(v)).expand([size]).to_event(1)
        b = numpyro.sample("b", prior)
        numpyro.sample("y", dist.Normal(X @ b, jnp.sqrt(v)).to_event(1), obs=y)

    precision = X.T @ X + np.eye(size) / 9
    b = np.linalg.solve(precision, X.T @ y)
    residual = y @ y - b @ precision @ b
    v = (scale + residual / 2) / (shape + rows / 2 - 1)
    return Problem(
        f"regression {size}" if correlation == 0.5 else f"regression {size} at {correlation}",
        model,
        (jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32)),
        lambda z: jnp.concatenate([z["b"], z["v"][..., None]], -1),
        np.append(b, v),
        correlated=True,
    )


def ordered(rng: np.random.Generator, categories: int) -> Problem:
    """Cutpoints of an ordinal response, with the prior that Dirichlet probabilities imply."""
    counts = rng.multinomial(60, rng.dirichlet(np.ones(categories)))
    flat = dist.ImproperUniform(nc.ordered_vector, (), (categories - 1,))

    def model(counts):
        c = numpyro.sample("c", flat)
        log_below, log_above = jax.nn.log_sigmoid(c), jax.nn.log_sigmoid(-c)
        # log(s(b) - s(a)) = log s(b) + log s(-a) + log(1 - exp(a - b)), free of cancellation.
        between = log_below[1:] + log_above[:-1] + jnp.log(-jnp.expm1(-jnp.diff(c)))
        log_p = jnp.concatenate([log_below[:1], between, log_above[-1:]])
        numpyro.factor("p", jnp.sum(log_below + log_above))
        numpyro.factor("y", jnp.sum(counts * log_p))

    below = np.cumsum(counts + 1)[:-1]
    mean = digamma(below) - digamma(np.sum(counts + 1) - below)
    args = (jnp.asarray(counts, jnp.float32),)
    return Problem(f"cutpoints {categories - 1}", model, args, lambda z: z["c"], mean)


def matrix(rng: np.random.Generator, size: int) -> Problem:
    """The precision matrix of 3 size observations under a Wishart prior."""
    rows = 3 * size
    spread = np.linalg.cholesky(0.7 ** np.abs(np.subtract.outer(range(size), range(size))))
    y = rng.normal(size=(rows, size)) @ spread.T * np.geomspace(0.5, 2, size)
    free, rate = size + 2.0, np.eye(size)

    def model(scatter):
        law = dist.Wishart(jnp.asarray(free), rate_matrix=jnp.asarray(rate, jnp.float32))
        W = numpyro.sample("W", law)
        log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(W))))
        numpyro.factor("y", 0.5 * (rows * log_det - jnp.sum(W * scatter)))

    scatter = y.T @ y
    lower = np.tril_indices(size)
    mean = (free + rows) * np.linalg.inv(rate + scatter)
    args = (jnp.asarray(scatter, jnp.float32),)
    read = lambda z: z["W"][..., lower[0], lower[1]]  # noqa: E731
    return Problem(f"precision {size}x{size}", model, args, read, mean[lower])


def truncated(rng: np.random.Generator, size: int, draws: int) -> Problem:
    """A normal cut by a skewed box: x = L u for independent truncated u, two facets each."""
    L = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(range(size), range(size))))
    L = L * np.geomspace(0.5, 2, size)[:, None]
    lower, upper = rng.uniform(-1, 1, size), rng.uniform(1.5, 3, size)
    inverse = np.linalg.inv(L)
    support = mm.constraints.polytope(
        np.vstack([inverse, -inverse]), np.concatenate([upper, -lower])
    )

    def model(L):
        x = numpyro.sample("x", dist.ImproperUniform(support, (), (size,)))
        u = solve_triangular(L, x, lower=True)
        numpyro.factor("normal", -0.5 * jnp.sum(jnp.square(u)))

    mean = L @ stats.truncnorm.mean(lower, upper)
    args = (jnp.asarray(L, jnp.float32),)
    return Problem(f"polytope {size}", model, args, lambda z: z["x"], mean, draws=draws)


def heavy(size: int) -> Problem:
    """Priors of scales with heavy tails, of which the logarithms are read."""

    def model():
        numpyro.sample("cauchy", dist.HalfCauchy(1.0).expand([size]).to_event(1))
        numpyro.sample("normal", dist.LogNormal(0.0, 3.0).expand([size]).to_event(1))

    def read(z):
        return jnp.log(jnp.concatenate([z["cauchy"], z["normal"]], -1))

    return Problem(f"heavy tails {2 * size}", model, (), read, np.zeros(2 * size))


def edges(size: int) -> Problem:
    """Much of the mass at the ends of intervals and of half-lines."""

    def model():
        numpyro.sample("share", dist.Beta(0.5, 0.5).expand([size]).to_event(1))
        numpyro.sample("rate", dist.Gamma(0.2, 1.0).expand([size]).to_event(1))

    mean = np.repeat([0.5, 0.2], size)
    read = lambda z: jnp.concatenate([z["share"], z["rate"]], -1)  # noqa: E731
    return Problem(f"edges {2 * size}", model, (), read, mean)


def dirichlet(size: int, concentration: float) -> Problem:
    """Shares most of which are next to nothing: no counts at all."""

    def model():
        numpyro.sample("x", dist.Dirichlet(jnp.full(size, concentration)))

    name = f"shares {size} empty"
    return Problem(name, model, (), lambda z: z["x"], np.full(size, 1 / size))
