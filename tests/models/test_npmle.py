"""The grid solvers, which certify themselves, against published optima and each other."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm, poisson

from models.npmle import entropic, maximum_likelihood

# Velocities of 82 galaxies, km/s (Roeder 1990).
GALAXIES = np.array("""
9172 9350 9483 9558 9775 10227 10406 16084 16170 18419 18552 18600 18927 19052 19070
19330 19343 19349 19440 19473 19529 19541 19547 19663 19846 19856 19863 19914 19918 19973
19989 20166 20175 20179 20196 20215 20221 20415 20629 20795 20821 20846 20875 20986 21137
21492 21701 21814 21921 21960 22185 22209 22242 22249 22314 22374 22495 22746 22747 22888
22914 23206 23241 23263 23484 23538 23542 23666 23706 23711 24129 24285 24289 24366 24717
24990 25633 26690 26995 32065 32789 34279
""".split(), float) / 1000  # fmt: skip


def galaxy_densities(cells=401):
    grid = np.linspace(GALAXIES.min(), GALAXIES.max(), cells)
    return norm.logpdf(GALAXIES, grid[:, None])


def test_galaxies():
    assert len(GALAXIES) == 82
    best = maximum_likelihood(galaxy_densities())
    np.testing.assert_allclose(-82 * best.loss, -199.3501, atol=5e-5)
    assert best.gradient.max() < 1e-5
    assert abs(best.gradient[best.weights > 1e-3]).max() < 1e-5


def test_doctor_visits():
    sm = pytest.importorskip("statsmodels.api")
    visits = sm.datasets.randhie.load_pandas().data["mdvis"].to_numpy(float)
    assert len(visits) == 20190
    values, counts = np.unique(visits, return_counts=True)
    grid = np.r_[0.001, np.arange(1, 1601) * 0.05]
    best = maximum_likelihood(poisson.logpmf(values, grid[:, None]), counts)
    np.testing.assert_allclose(-20190 * best.loss, -43960.2442, atol=20190 * 1e-8)


def test_thousands_of_atoms_next_to_one_another():
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.choice([20.0, 90.0, 260.0], size=100, p=[0.5, 0.3, 0.2]))
    log_k = poisson.logpmf(counts, np.exp(np.linspace(-6, 7.5, 6000))[:, None])
    assert maximum_likelihood(log_k).loss < maximum_likelihood(log_k[::2]).loss + 1e-8


@pytest.mark.parametrize("tau", [1.0, 0.1, 1e-3])
def test_the_entropic_minimiser_obeys_its_fixed_point(tau):
    log_k = galaxy_densities(101)
    log_b = norm.logpdf(np.linspace(-1, 1, 101), 0.3, 0.5)
    found = entropic(log_k, log_b, tau)
    log_w = log_b + np.exp(log_k - found.log_p).mean(axis=1) / tau
    np.testing.assert_allclose(found.weights, np.exp(log_w - logsumexp(log_w)), atol=1e-7)
    np.testing.assert_allclose(found.loss, -np.mean(np.log(found.weights @ np.exp(log_k))))


@pytest.mark.parametrize("tau", [1.0, 0.05])
def test_with_masses_too(tau):
    """Each atom and its mass have the density of their base times exp(mass D / tau); the mass is
    integrated out by a quadrature here, and by hand in the solver."""
    log_k = galaxy_densities(101)
    log_b = norm.logpdf(np.linspace(-1, 1, 101), 0.3, 0.5)
    found = entropic(log_k, log_b, tau, masses=True)
    mass = np.geomspace(1e-6, 200, 4000)
    ratio = np.exp(log_k - found.log_p).mean(axis=1)

    def reweighted(total):
        d = ratio / total - 1
        inner = np.exp(-mass * (1 - d[:, None] / tau))
        first, zeroth = (np.trapezoid(inner * f, mass, axis=1) for f in (mass, 1.0))
        b = np.exp(log_b - logsumexp(log_b))
        return (b * first) / (b * zeroth).sum()

    # The total mass is what makes the weights a fixed point; D is below tau.
    low, high = ratio.max() / (1 + tau), 2.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if reweighted(middle).sum() < middle else (middle, high)
    np.testing.assert_allclose(reweighted(middle) / middle, found.weights, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(found.mass, middle, rtol=1e-3)


def test_as_the_temperature_falls_the_optimum_is_approached():
    log_k = galaxy_densities(101)
    best = maximum_likelihood(log_k).loss
    losses = np.array([entropic(log_k, np.zeros(101), tau).loss for tau in (1e-1, 1e-2, 1e-3)])
    gaps = losses - best
    assert np.all(gaps > 0) and np.all(gaps[1:] < gaps[:-1])
    assert gaps[-1] < 1e-3 * np.log(101)  # the optimum has a divergence of at most log 101


def test_counts_are_ties():
    log_k = galaxy_densities(51)[:, :10]
    counts = np.array([1, 2, 1, 1, 3, 1, 1, 2, 1, 1])
    for solve in (maximum_likelihood, lambda k, c=None: entropic(k, np.zeros(51), 0.05, c)):
        counted, repeated = solve(log_k, counts), solve(np.repeat(log_k, counts, axis=1))
        np.testing.assert_allclose(counted.loss, repeated.loss, rtol=1e-9)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_datum_that_does_not_occur_changes_nothing(elsewhere):
    log_k = galaxy_densities(41)
    log_k[:, [0, -1]] = -np.inf if elsewhere else log_k[:, [0, -1]]
    counts = np.r_[0.0, np.ones(80), 0.0]
    for solve in (maximum_likelihood, lambda k, c=None: entropic(k, np.zeros(41), 0.1, c)):
        best, fewer = solve(log_k, counts), solve(log_k[:, 1:-1])
        np.testing.assert_allclose(best.loss, fewer.loss, rtol=1e-12)
        np.testing.assert_allclose(best.weights, fewer.weights, atol=1e-12)
        np.testing.assert_allclose(best.log_p[1:-1], fewer.log_p, rtol=1e-9)
        assert best.log_p.shape == (82,) and np.isinf(best.log_p[0]) == elsewhere


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([1, -1, 1], "3 data need as many counts, none negative"),
        ([1, 1], "3 data need as many counts"),
        ([0, 0, 0], "some positive"),
        ([1, 1, 1], r"no finite density at any atom for the data \[1\]"),
    ],
)
def test_data_without_an_estimator(counts, words):
    log_k = np.array([[-0.7, -np.inf, 0.0], [-2.3, -np.inf, -1.6]])
    for solve in (maximum_likelihood, lambda k, c: entropic(k, np.zeros(2), 0.1, c)):
        with pytest.raises(ValueError, match=words):
            solve(log_k, counts)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_densities_that_are_not_defined(value):
    log_k = np.array([[-0.7, value, 0.0], [-2.3, -1.0, -1.6]])
    for solve in (maximum_likelihood, lambda k: entropic(k, np.zeros(2), 0.1)):
        with pytest.raises(ValueError, match=r"NaN or \+inf at an atom for the data \[1\]"):
            solve(log_k)


def test_the_entropic_estimator_needs_a_temperature():
    with pytest.raises(ValueError, match="must be positive, got 0.0; without an entropy it is"):
        entropic(np.zeros((2, 3)), np.zeros(2), 0.0)
    with pytest.raises(ValueError, match="log_base must be numbers or -inf, got 1 NaN"):
        entropic(np.zeros((2, 3)), np.array([0.0, np.nan]), 0.1)
