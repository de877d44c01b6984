"""Small models that several tests share, at module level so that kernels can be pickled."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

import mmfld_ppl as mm

WEIGHTS = jnp.array([0.6, 0.3, 0.1])


def coin(heads=7, tosses=10):
    """One latent variable and a deterministic function of it."""
    p = numpyro.sample("p", dist.Beta(2.0, 3.0))
    numpyro.deterministic("odds", p / (1 - p))
    numpyro.sample("heads", dist.Binomial(tosses, p), obs=heads)


def line(x, y=None):
    """A regression on however many columns."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Normal(x @ slope, 0.5), obs=y)


def switch(seen=1.0):
    """A discrete variable, and a continuous one whose law it switches."""
    c = numpyro.sample("c", dist.Bernoulli(0.3))
    x = numpyro.sample("x", dist.Normal(jnp.where(c == 1, 2.0, 0.0), 1.0))
    numpyro.deterministic("twice", 2 * x)
    numpyro.sample("seen", dist.Normal(x, 1.0), obs=seen)


def switch_posterior(seen=1.0):
    """(P(c = 1), E[x]) given `seen`."""
    evidence = jnp.exp(dist.Normal(jnp.array([0.0, 2.0]), 2**0.5).log_prob(seen))
    joint = jnp.array([0.7, 0.3]) * evidence
    p = joint / joint.sum()
    return p[1], p @ (jnp.array([0.0, 2.0]) + seen) / 2


def bounded():
    """Supports that depend on other latent variables."""
    top = numpyro.sample("top", dist.Gamma(3.0, 2.0))
    numpyro.sample("low", dist.TruncatedNormal(0.0, 1.0, high=top))
    numpyro.sample("part", dist.Uniform(0.0, top).expand([2]).to_event(1))


def moments(target):
    """A functional of two named features: squared distances of their means from a target."""
    return mm.functionals.OfMean(
        outer=lambda m: sum(jnp.sum((m[k] - v) ** 2) for k, v in target.items())
    )


def pull(size=5, temperature=0.5, dim=None, base=None):
    """Particles on a line, pulled to 1."""
    with mm.particles("atom", size, dim=dim):
        x = numpyro.sample("x", base or dist.Normal(0.0, 1.0))
    mm.objective("F", moments({"x": 1.0}), {"x": x}, temperature=temperature)


TARGET = {"w": WEIGHTS, "rate": jnp.array(2.0)}


def cloud(size=6, temperature=0.3):
    """Particles on a simplex times a half-line, pulled to a mean."""
    with mm.particles("atom", size):
        w = numpyro.sample("w", dist.Dirichlet(jnp.ones(3)))
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.deterministic("mean_rate", jnp.mean(rate))
    mm.objective("F", moments(TARGET), {"w": w, "rate": rate}, temperature=temperature)


def centred_cloud(size=6, temperature=0.3, seen=1.0):
    """Global latent variables, one of which bounds the particles, beside the particles."""
    centre = numpyro.sample("centre", dist.Normal(0.0, 1.0))
    reach = numpyro.sample("reach", dist.Gamma(4.0, 2.0))
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Uniform(0.0, reach))
    numpyro.deterministic("spread", jnp.max(x) - jnp.min(x))
    numpyro.sample("seen", dist.Normal(centre, 0.5), obs=seen)
    pull = mm.functionals.OfMean(outer=lambda m: (m - centre) ** 2)
    mm.objective("F", pull, x, temperature=temperature)
