"""Nearest-neighbour entropies and divergences against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints as nc
from scipy import stats

from mmfld_ppl import constraints as mc
from mmfld_ppl import distributions as md
from mmfld_ppl.diagnostics import (
    clustered_mean,
    entropy,
    free_energy,
    relative_entropy,
    surprise,
    unconstrained,
)


def free(support, x) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        z, log_det = jax.vmap(lambda v: unconstrained(support, v))(jnp.asarray(x, float))
        return np.asarray(z), np.asarray(log_det)


def entropy_of(support, x) -> tuple[float, float]:
    """Of x, through its free coordinates: H(x) = H(z) + E log |det dx/dz|."""
    z, log_det = free(support, x)
    terms = surprise(z) + log_det
    return terms.mean(), terms.std() / np.sqrt(len(terms))


RNG = np.random.default_rng(11)
CASES = {
    "gamma": (nc.positive, RNG.gamma(3.0, 2.0, 4000), stats.gamma(3.0, scale=2.0).entropy()),
    "beta": (nc.unit_interval, RNG.beta(2.0, 5.0, 4000), stats.beta(2, 5).entropy()),
    "uniform": (nc.interval(-1.0, 3.0), RNG.uniform(-1, 3, 4000), np.log(4)),
    "flat simplex": (nc.simplex, RNG.dirichlet(np.ones(3), 4000), -np.log(2)),
    "simplex": (
        nc.simplex,
        RNG.dirichlet([3.0, 2.0, 1.0, 0.5], 4000),
        stats.dirichlet([3.0, 2.0, 1.0, 0.5]).entropy(),
    ),
    "normal": (
        nc.real_vector,
        RNG.multivariate_normal([0, 5], [[4.0, 1.9], [1.9, 1.0]], 4000),
        stats.multivariate_normal([0, 5], [[4.0, 1.9], [1.9, 1.0]]).entropy(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_entropies_of_known_laws(name: str) -> None:
    support, x, exact = CASES[name]
    value, error = entropy_of(support, x)
    # The estimate is biased by less than this at n = 4000.
    assert abs(value - exact) < 5 * error + 0.01, (value, error, exact)
    assert error < 0.05


@pytest.mark.parametrize(
    ("support", "law"),
    [
        (nc.simplex, dist.Dirichlet(jnp.ones(3))),
        (mc.spectraplex, md.UniformSpectraplex(2)),
        (mc.ball(2.0), md.UniformBall(2, 2.0)),
    ],
    ids=["simplex", "spectraplex", "ball"],
)
def test_a_uniform_law_is_its_own_base(support, law) -> None:
    x = law.sample(jax.random.key(0), (3000,))
    z, log_det = free(support, x)
    log_base = np.asarray(law.log_prob(x)) + log_det
    found = free_energy(0.0, 0.5, z, log_base)
    assert abs(found.divergence) < 5 * found.error / 0.5 + 0.01
    assert found.value == pytest.approx(0.5 * found.divergence)


@pytest.mark.parametrize("n", [500, 4000])
def test_the_error_is_the_spread_of_repetitions(n: int) -> None:
    rng = np.random.default_rng(5)
    found = np.array([entropy(rng.standard_normal((n, 2))) for _ in range(40)])
    ratio = found[:, 0].std(ddof=1) / found[:, 1].mean()
    assert 0.7 < ratio < 1.4, ratio


def test_the_unit_of_length_counts() -> None:
    x = np.random.default_rng(6).standard_normal((1000, 3))
    shift = entropy(x * [1e-3, 1.0, 1e3] + 7).value - entropy(x).value
    assert shift == pytest.approx(0.0, abs=1e-6)
    assert entropy(2 * x).value - entropy(x).value == pytest.approx(3 * np.log(2))


def test_measures_without_a_density() -> None:
    x = np.random.default_rng(7).standard_normal((200, 2))
    line = np.stack([x[:, 0], 2 * x[:, 0]], axis=1)
    constant = np.stack([x[:, 0], np.ones(200)], axis=1)
    edge = np.where(np.arange(200)[:, None] == 3, -np.inf, x)
    atoms = np.concatenate([x, np.repeat(x[:1], 20, axis=0)])
    for points in (line, constant, edge, atoms):
        assert entropy(points).value == -np.inf
        assert relative_entropy(points, np.zeros(len(points)), x, np.zeros(200)).value == np.inf
        # A reference of this kind says nothing about a law with a density.
        gap = relative_entropy(x, np.zeros(200), points, np.zeros(len(points)))
        assert np.all(np.isnan(gap))


def test_a_particle_is_no_neighbour_of_itself() -> None:
    # Ten draws of 300 particles that hardly move between them.
    rng = np.random.default_rng(8)
    start = rng.standard_normal((300, 2))
    draws = start + 1e-4 * rng.standard_normal((10, 300, 2))
    points, labels = draws.reshape(-1, 2), np.tile(np.arange(300), 10)
    exact = np.log(2 * np.pi * np.e)
    value, error = entropy(points, labels=labels)
    assert abs(value - exact) < 5 * error
    assert error > 0.5 * entropy(start).error
    assert entropy(points).value < exact - 5


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="entropies need 7 distinct points, got 6"):
        entropy(np.ones((12, 1)), labels=np.arange(12) % 6)


def test_divergences_of_known_pairs() -> None:
    # KL(N(a, s^2) | N(0, 1)) = (s^2 + a^2 - 1) / 2 - log s, from energies up to a constant.
    rng = np.random.default_rng(9)
    reference = rng.standard_normal((4000, 1))
    for shift, scale in ((0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (1.0, 2.0)):
        x = shift + scale * rng.standard_normal((4000, 1))
        exact = (scale**2 + shift**2 - 1) / 2 - np.log(scale)
        found = relative_entropy(x, x[:, 0] ** 2 / 2 + 3, reference, reference[:, 0] ** 2 / 2 + 3)
        assert abs(found.value - exact) < 5 * found.error, (shift, scale, found, exact)
        assert found.error < 0.1


def test_biases_cancel_in_many_dimensions() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((2, 2000, 12))
    energy = lambda v: np.sum(v**2, axis=1) / 2  # noqa: E731
    found = relative_entropy(x, energy(x), y, energy(y))
    exact = 6 * np.log(2 * np.pi * np.e)
    assert abs(entropy(x).value - exact) > 5 * entropy(x).error
    assert abs(found.value) < 5 * found.error


def test_clusters_widen_an_error() -> None:
    rng = np.random.default_rng(12)
    shared = rng.standard_normal(50)
    terms, labels = np.repeat(shared, 20), np.repeat(np.arange(50), 20)
    assert clustered_mean(terms, labels).error == pytest.approx(clustered_mean(shared).error, 1e-2)
    assert clustered_mean(terms).error < 0.3 * clustered_mean(shared).error
    both = clustered_mean(terms, labels, np.tile(np.arange(20), 50))
    assert both.error == pytest.approx(clustered_mean(shared).error, 1e-2)
