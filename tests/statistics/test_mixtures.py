"""Mixing measures at a moderate temperature, against a convex solver on a fine grid."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.infer import init_to_sample
from scipy import stats

import mmfld_ppl as mm
from mmfld_ppl.functionals.kernels import Gaussian
from models.mixture import mixture
from models.npmle import entropic
from models.quantisation import quantisation

from .helpers import assert_law, compare, run_kernel
from .mean_field import extrapolate

pytestmark = pytest.mark.slow

VISITS = np.repeat(np.arange(12.0), [62, 36, 28, 19, 17, 9, 8, 6, 5, 4, 3, 3])
GRID = (np.arange(6000) + 0.5) / 200
BASE = dist.Gamma(1.0, 0.2)
SIZES = (25, 100)


def averages(functions, site):
    """Over the particles of a state, with their masses where they have some."""

    def record(state):
        mass = state.z.get("mass", 1.0)
        values = {name: jnp.mean(mass * f(state.z[site], jnp)) for name, f in functions.items()}
        return values | {"mass": jnp.mean(mass)}

    return record


def held_to(exact, functions, model, site, taus, draws=2000):
    """Averages at two numbers of particles, and what is left when an error of order 1/N is taken
    out, against the exact ones by name."""
    by_size = []
    for size in SIZES:
        out = run_kernel(
            mm.MMFLD(lambda size=size: model(size), init_strategy=init_to_sample),
            jax.random.key(0),
            chains=16,
            warmup=1000,
            draws=draws,
            record=averages(functions, site),
        )
        by_size.append([compare(f"N={size} {n}", out[n], value) for n, value in exact.items()])
    print(*by_size[0], *by_size[1], sep="\n")
    rows = extrapolate(f"tau={taus}", *by_size, SIZES[1] / SIZES[0])
    assert_law(rows, least_ess=100)


@pytest.mark.unoptimised
@pytest.mark.parametrize(("tau", "masses"), [(0.1, False), (0.01, False), (0.1, True)])
def test_a_poisson_mixture(tau, masses) -> None:
    functions = {
        "E theta": lambda t, np: t,
        "E theta^2": lambda t, np: t**2,
        "E exp(-theta)": lambda t, np: np.exp(-t),
        "E 1/(1 + theta)": lambda t, np: 1 / (1 + t),
    }
    log_k = stats.poisson.logpmf(VISITS, GRID[:, None])
    fitted = entropic(log_k, stats.gamma.logpdf(GRID, 1, scale=5), tau, masses=masses)
    exact = {name: fitted.mass * fitted.weights @ f(GRID, np) for name, f in functions.items()}
    if masses:
        exact["mass"] = fitted.mass

    def model(size):
        law = dist.Exponential(1.0) if masses else None
        mixture(VISITS, dist.Poisson, BASE, masses=law, particles=size, temperature=tau)

    held_to(exact, functions, model, "theta", tau)


def test_a_smoothed_sample() -> None:
    """The measure nearest to a sample under a Gaussian kernel, by a fixed point on a grid."""
    sample, h, tau = np.array([0.1, 0.15, 0.2, 0.6, 0.65]), 0.15, 0.02
    x = (np.arange(400) + 0.5) / 400

    def k(a, b):
        return np.exp(-((a[:, None] - b) ** 2) / (2 * h**2))

    pull, own = k(x, sample).mean(axis=1), k(x, x)
    w = np.full(len(x), 1 / len(x))
    for _ in range(4000):
        log_w = -(own @ w - pull) / tau
        new = np.exp(log_w - log_w.max())
        change = new / new.sum() - w
        w = w + 0.02 * change
    assert np.abs(change).sum() < 1e-8
    functions = {
        "E x": lambda x, np: x,
        "E x^2": lambda x, np: x**2,
        "E cos 6x": lambda x, np: np.cos(6 * x),
    }
    exact = {name: w @ f(x, np) for name, f in functions.items()}
    target = mm.Measure.uniform(jnp.asarray(sample, jnp.float32))

    def model(size):
        quantisation(target, Gaussian(h), dist.Uniform(), particles=size, temperature=tau)

    # Masses cross slowly from one heap of the sample to the other.
    held_to(exact, functions, model, "x", tau, draws=10_000)
