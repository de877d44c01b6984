"""Models with known moments, at least one for every family of supports.

The targets are asymmetric where the support allows it, and the expectations are a mean, a second
moment, a logarithm that weighs the boundary, a tail: a wrong sign or Jacobian moves one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints as nc
from scipy import stats
from scipy.integrate import quad
from scipy.special import digamma, ive

from mmfld_ppl import mirrors

Expectations = Mapping[str, tuple[Callable, float]]


class Law(NamedTuple):
    """A model and what is known of it: name -> (function of the draws by site, expectation).

    The rest is how to run: steps after the warm-up, of which every `thin`-th is kept, and settings
    of the kernel."""

    model: Callable
    expectations: Expectations
    steps: int = 2000
    warmup: int = 500
    thin: int = 4
    chains: int = 256
    settings: Mapping[str, Any] = {}


def _mean_of(law, function: Callable) -> float:
    """E g(X) of a continuous scipy law, over its quantiles so that poles at the ends are mild."""
    return quad(lambda u: function(law.ppf(u)), 0, 1, limit=400)[0]


def _scalar(site: str, law, distance: Callable) -> Expectations:
    """`distance`: of x from the boundary."""
    low, high = law.ppf(0.1), law.ppf(0.85)
    return {
        f"E {site}": (lambda d: d[site], law.mean()),
        f"E {site}^2": (lambda d: d[site] ** 2, law.var() + law.mean() ** 2),
        f"E log distance {site}": (
            lambda d: np.log(distance(d[site])),
            _mean_of(law, lambda x: np.log(distance(x))),
        ),
        f"P({site} < {low:.3g})": (lambda d: d[site] < low, 0.1),
        f"P({site} > {high:.3g})": (lambda d: d[site] > high, 0.15),
    }


def _dirichlet(a) -> Law:
    a = np.asarray(a)
    total, first, last = a.sum(), a[0], a[-1]
    tail = stats.beta(first, total - first).ppf(0.9)
    spread = np.sum(a * (a + 1)) / (total * (total + 1))
    return Law(
        lambda: numpyro.sample("x", dist.Dirichlet(jnp.asarray(a, jnp.float32))),
        {
            "E x_1": (lambda d: d["x"][..., 0], first / total),
            "E x_d": (lambda d: d["x"][..., -1], last / total),
            "E x_1^2": (
                lambda d: d["x"][..., 0] ** 2,
                first * (first + 1) / (total * (total + 1)),
            ),
            "E x_1 x_d": (
                lambda d: d["x"][..., 0] * d["x"][..., -1],
                first * last / (total * (total + 1)),
            ),
            "E |x|^2": (lambda d: np.sum(d["x"] ** 2, axis=-1), spread),
            "E log x_1": (lambda d: np.log(d["x"][..., 0]), digamma(first) - digamma(total)),
            "E mean log x": (
                lambda d: np.mean(np.log(d["x"]), axis=-1),
                np.mean(digamma(a)) - digamma(total),
            ),
            f"P(x_1 > {tail:.3g})": (lambda d: d["x"][..., 0] > tail, 0.1),
        },
    )


def _half_lines() -> Law:
    def model():
        numpyro.sample("gamma", dist.Gamma(2.5, 4.0))
        numpyro.sample("small_shape", dist.Gamma(0.6, 0.1))
        numpyro.sample("half_normal", dist.HalfNormal(3.0))
        numpyro.sample("above", dist.TruncatedNormal(0.0, 1.0, low=1.5))
        numpyro.sample("below", dist.TruncatedNormal(1.0, 2.0, high=2.0))

    above, below = stats.truncnorm(1.5, np.inf), stats.truncnorm(-np.inf, 0.5, 1, 2)
    return Law(
        model,
        {
            **_scalar("gamma", stats.gamma(2.5, scale=1 / 4), lambda x: x),
            **_scalar("small_shape", stats.gamma(0.6, scale=10), lambda x: x),
            **_scalar("half_normal", stats.halfnorm(scale=3), lambda x: x),
            **_scalar("above", above, lambda x: x - 1.5),
            **_scalar("below", below, lambda x: 2 - x),
        },
    )


def _intervals() -> Law:
    def model():
        numpyro.sample("small_shape", dist.Beta(0.5, 2.0))
        numpyro.sample("at_one", dist.Beta(3.0, 0.4))
        numpyro.sample("uniform", dist.Uniform(-1.0, 3.0))
        numpyro.sample("normal", dist.TruncatedNormal(0.0, 1.0, low=0.5, high=2.0))

    return Law(
        model,
        {
            **_scalar("small_shape", stats.beta(0.5, 2), lambda x: x),
            # float32 keeps no distance from 1 below 6e-8, which the logarithm would see.
            **_scalar("at_one", stats.beta(3, 0.4), lambda x: x),
            **_scalar("uniform", stats.uniform(-1, 4), lambda x: 3 - x),
            **_scalar("normal", stats.truncnorm(0.5, 2), lambda x: x - 0.5),
        },
    )


def _circle() -> Law:
    """An angle at the place where [-pi, pi] ends, beside another that goes round."""

    def model():
        numpyro.sample("near", dist.VonMises(3.1, 20.0))
        numpyro.sample("wide", dist.VonMises(2.0, 1.0))

    def moments(site: str, mode: float, concentration: float) -> Expectations:
        first, second = (ive(k, concentration) / ive(0, concentration) for k in (1, 2))
        return {
            f"E cos {site}": (lambda d: np.cos(d[site]), first * np.cos(mode)),
            f"E sin {site}": (lambda d: np.sin(d[site]), first * np.sin(mode)),
            f"E cos 2 {site}": (lambda d: np.cos(2 * d[site]), second * np.cos(2 * mode)),
            f"E sin 2 {site}": (lambda d: np.sin(2 * d[site]), second * np.sin(2 * mode)),
        }

    return Law(model, {**moments("near", 3.1, 20.0), **moments("wide", 2.0, 1.0)})


def _half_cauchy() -> Law:
    law = stats.halfcauchy(scale=2)
    tails = {
        f"P(x > {q:.3g})": (lambda d, q=q: d["x"] > q, law.sf(q)) for q in law.isf((0.9, 0.5, 0.1))
    }
    return Law(
        lambda: numpyro.sample("x", dist.HalfCauchy(2.0)),
        {
            **tails,
            "E x / (x + 2)": (lambda d: d["x"] / (d["x"] + 2), 0.5),
            # log(x / 2) has the hyperbolic secant law.
            "E log x": (lambda d: np.log(d["x"]), np.log(2)),
            "E log(x / 2)^2": (lambda d: np.log(d["x"] / 2) ** 2, np.pi**2 / 4),
        },
    )


def _heavy_tails() -> Law:
    """Wide in the logarithm, to both sides or to one."""
    known = {
        "log_normal": stats.lognorm(3.0),
        "inverse_gamma": stats.invgamma(1.0),
        "pareto": stats.pareto(1.5, scale=2.0),
        "small_shape": stats.gamma(0.2),
        "at_both_ends": stats.beta(0.3, 0.5),
    }

    def model():
        numpyro.sample("log_normal", dist.LogNormal(0.0, 3.0))
        numpyro.sample("inverse_gamma", dist.InverseGamma(1.0, 1.0))
        numpyro.sample("pareto", dist.Pareto(2.0, 1.5))
        numpyro.sample("small_shape", dist.Gamma(0.2, 1.0))
        numpyro.sample("at_both_ends", dist.Beta(0.3, 0.5))

    expectations: dict[str, tuple[Callable, float]] = {}
    for site, law in known.items():
        log = _mean_of(law, np.log)
        expectations[f"E log {site}"] = (lambda d, s=site: np.log(d[s]), log)
        for p in (0.05, 0.5, 0.95):
            q = law.ppf(p)
            expectations[f"P({site} < {q:.3g})"] = (lambda d, s=site, q=q: d[s] < q, p)
    return Law(model, expectations)


def _dependent() -> Law:
    def model():
        a = numpyro.sample("a", dist.Gamma(3.0, 1.0))
        numpyro.sample("b", dist.Uniform(0.0, a).expand([2]).to_event(1))

    a = stats.gamma(3)
    return Law(
        model,
        {
            "E a": (lambda d: d["a"], 3.0),
            "E log a": (lambda d: np.log(d["a"]), digamma(3)),
            "E b_1": (lambda d: d["b"][..., 0], 1.5),
            "E b_1^2": (lambda d: d["b"][..., 0] ** 2, 4.0),
            "E b_1 b_2": (lambda d: d["b"][..., 0] * d["b"][..., 1], 3.0),
            "E a b_2": (lambda d: d["a"] * d["b"][..., 1], 6.0),
            "E log b_2": (lambda d: np.log(d["b"][..., 1]), digamma(3) - 1),
            "E b_1 / a": (lambda d: d["b"][..., 0] / d["a"], 0.5),
            "P(b_1 > 2)": (lambda d: d["b"][..., 0] > 2, _mean_of(a, lambda a: max(0, 1 - 2 / a))),
        },
    )


def _ordered() -> Law:
    def model():
        x = numpyro.sample("x", dist.ImproperUniform(nc.ordered_vector, (), (4,)))
        numpyro.factor("gumbel", dist.Gumbel().log_prob(x).sum())
        t = numpyro.sample("t", dist.ImproperUniform(nc.positive_ordered_vector, (), (3,)))
        numpyro.factor("exponential", -0.5 * t.sum())

    def order(k: int, function: Callable) -> float:
        """Expectation of the k-th smallest of four Gumbel variables."""
        law, rank = stats.gumbel_r(), stats.beta(k, 5 - k)
        return _mean_of(rank, lambda u: function(law.ppf(u)))

    def gap(k: int) -> Callable:
        return lambda d: np.diff(d["t"], prepend=0, axis=-1)[..., k - 1]

    # The k-th gap of three exponential variables of rate r is exponential of rate r (4 - k).
    gaps = {}
    for k in (1, 2, 3):
        rate = 0.5 * (4 - k)
        width = gap(k)
        gaps[f"E gap {k}"] = (width, 1 / rate)
        gaps[f"E log gap {k}"] = (lambda d, g=width: np.log(g(d)), digamma(1) - np.log(rate))
    return Law(
        model,
        {
            "E x_1": (lambda d: d["x"][..., 0], order(1, lambda x: x)),
            "E x_2^2": (lambda d: d["x"][..., 1] ** 2, order(2, lambda x: x**2)),
            "E x_3": (lambda d: d["x"][..., 2], order(3, lambda x: x)),
            "E x_4": (lambda d: d["x"][..., 3], order(4, lambda x: x)),
            "P(x_4 > 3)": (lambda d: d["x"][..., 3] > 3, 1 - stats.gumbel_r.cdf(3) ** 4),
            **gaps,
        },
    )


def _zero_sum() -> Law:
    tilt = np.array([0.5, -0.2, 0.3, 0.0])

    def model():
        x = numpyro.sample("x", dist.ZeroSumNormal(2.0, event_shape=(4,)))
        numpyro.factor("tilt", jnp.asarray(tilt, jnp.float32) @ x)

    mean, variance = 4 * (tilt - tilt.mean()), 4 * 3 / 4
    return Law(
        model,
        {
            **{f"E x_{i + 1}": (lambda d, i=i: d["x"][..., i], mean[i]) for i in range(4)},
            "E x_1^2": (lambda d: d["x"][..., 0] ** 2, mean[0] ** 2 + variance),
            "E x_1 x_2": (lambda d: d["x"][..., 0] * d["x"][..., 1], mean[0] * mean[1] - 1),
            "P(x_2 > 1)": (
                lambda d: d["x"][..., 1] > 1,
                stats.norm(mean[1], variance**0.5).sf(1),
            ),
        },
    )


def _correlated() -> Law:
    """A Gaussian with correlations of .99 in the logarithm of a half-line, the logit of an
    interval, two lines, and the first entry and the logarithm of the gap of an ordered pair, beside
    a simplex that knows nothing of them."""
    sd = np.array([0.5, 1.0, 3.0, 0.1, 2.0, 0.3])
    covariance = sd[:, None] * (0.99 + 0.01 * np.eye(6)) * sd
    precision = jnp.asarray(np.linalg.inv(covariance), jnp.float32)

    def model():
        s = numpyro.sample("s", dist.ImproperUniform(nc.positive, (), ()))
        u = numpyro.sample("u", dist.ImproperUniform(nc.interval(-1.0, 2.0), (), ()))
        b = numpyro.sample("b", dist.ImproperUniform(nc.real_vector, (), (2,)))
        o = numpyro.sample("o", dist.ImproperUniform(nc.ordered_vector, (), (2,)))
        numpyro.sample("x", dist.Dirichlet(jnp.array([2.0, 1.0, 3.0])))
        gap = jnp.log(o[1] - o[0])
        z = jnp.stack([jnp.log(s), jnp.log(u + 1) - jnp.log(2 - u), *b, o[0], gap])
        volume = -jnp.log(s) + jnp.log(1 / (u + 1) + 1 / (2 - u)) - gap
        numpyro.factor("copula", volume - 0.5 * z @ precision @ z)

    def logit(d):
        return np.log(d["u"] + 1) - np.log(2 - d["u"])

    def gap(d):
        return np.log(d["o"][..., 1] - d["o"][..., 0])

    expectations = {
        "E log s": (lambda d: np.log(d["s"]), 0.0),
        "E log^2 s": (lambda d: np.log(d["s"]) ** 2, covariance[0, 0]),
        "E logit^2 u": (lambda d: logit(d) ** 2, covariance[1, 1]),
        "E log s logit u": (lambda d: np.log(d["s"]) * logit(d), covariance[0, 1]),
        "E logit u b_1": (lambda d: logit(d) * d["b"][..., 0], covariance[1, 2]),
        "E (b_1 / 3 - 10 b_2)^2": (
            lambda d: (d["b"][..., 0] / 3 - 10 * d["b"][..., 1]) ** 2,
            0.02,
        ),
        "E log^2 (o_2 - o_1)": (lambda d: gap(d) ** 2, covariance[5, 5]),
        "E o_1 log (o_2 - o_1)": (lambda d: d["o"][..., 0] * gap(d), covariance[4, 5]),
        "P(s < 1)": (lambda d: d["s"] < 1, 0.5),
        "E x_1": (lambda d: d["x"][..., 0], 1 / 3),
    }
    return Law(model, expectations, settings={"dense_mass": True})


def laws() -> dict[str, Law]:
    """Every law of this file by name."""
    half_cauchy = _half_cauchy()
    pure = {"mirror_maps": {"x": mirrors.LogBarrier(jnp.zeros(()))}}
    return {
        "dirichlet": _dirichlet((0.5, 1.0, 3.0)),
        "dirichlet in 50 dimensions": _dirichlet(np.full(50, 4.0))._replace(
            warmup=3000, steps=2500
        ),
        "sparse dirichlet": _dirichlet((0.15, 0.4, 6.0, 1.2))._replace(warmup=1000),
        "half-lines": _half_lines()._replace(warmup=1000),
        "circle": _circle()._replace(steps=1000, thin=1),
        "intervals": _intervals()._replace(warmup=1000),
        "half-cauchy": half_cauchy._replace(warmup=1000),
        "half-cauchy, pure log barrier": half_cauchy._replace(settings=pure, steps=10000, thin=5),
        "heavy tails": _heavy_tails()._replace(warmup=1000),
        "correlated": _correlated(),
        "dependent support": _dependent(),
        "ordered": _ordered(),
        "zero-sum": _zero_sum()._replace(steps=1000, thin=1),
    }
