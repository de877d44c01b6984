"""What the particles of the barycenter model converge to: long runs."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
import scipy.sparse as sp
from numpyro.distributions import constraints as nc
from scipy.optimize import linprog
from scipy.stats import norm

import mmfld_ppl as mm
from benchmarks.barycenters import threes
from mmfld_ppl.inference_data import dataset
from models.consensus import consensus_posterior
from tests.models.helpers import MEANS, SDS, WEIGHTS, barycenter_variance, gaussian_atoms, sampled

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("epsilon", "tau", "debiased"), [(0.3, 0.15, False), (0.5, 0.2, True)])
def test_isotropic_gaussians(epsilon, tau, debiased):
    """Mean and variance at two sizes, extrapolated to infinitely many particles: the error is
    O(1/N)."""
    targets = [gaussian_atoms(m, s, count=25, width=4.5) for m, s in zip(MEANS, SDS, strict=True)]
    exact = barycenter_variance(epsilon, tau, SDS, WEIGHTS, debiased)
    found = {}
    for size in (40, 80):
        mcmc = sampled(
            targets, warmup=300, draws=1000, chains=8, thin=5, particles=size, epsilon=epsilon,
            temperature=tau, weights=WEIGHTS, debiased=debiased, base=nc.real_vector,
        )  # fmt: skip
        x = np.asarray(mcmc.get_samples(group_by_chain=True)["x"])[..., 0]
        # About the exact mean: no particle's variance goes into that of the average.
        found[size] = np.mean((x - WEIGHTS @ np.array(MEANS)) ** 2, axis=(1, 2))
    by_chain = 2 * found[80] - found[40]
    error = by_chain.std(ddof=1) / np.sqrt(len(by_chain))
    print(
        f"exact {exact:.4f}, { ({n: v.mean() for n, v in found.items()}) }, "
        f"extrapolated {by_chain.mean():.4f} +- {error:.4f}"
    )
    assert abs(by_chain.mean() - exact) < 5 * error
    assert error < 0.03 * exact


def test_one_dimension_is_the_average_of_quantiles():
    """Debiased, at falling temperatures, against the quantile average of skewed laws."""
    rng = np.random.default_rng(5)
    targets = [rng.gamma(2.0, 0.5, 60), 3 + rng.normal(size=60), 2 * rng.beta(0.7, 0.7, 60)]
    weights = np.array([0.5, 0.3, 0.2])
    average = weights @ np.sort(np.stack(targets), axis=1)
    measures = [mm.Measure.uniform(t[:, None]) for t in targets]
    distance = {}
    for tau in (0.04, 0.01):
        mcmc = sampled(
            measures, warmup=500, draws=1000, chains=4, thin=50, particles=60, epsilon=0.05,
            temperature=tau, weights=weights, debiased=True, base=nc.real_vector,
        )  # fmt: skip
        x = np.sort(np.asarray(mcmc.get_samples()["x"])[..., 0], axis=1)
        distance[tau] = np.mean((x.mean(axis=0) - average) ** 2)
    print(distance, np.var(average))
    assert distance[0.01] < 0.01 * np.var(average)


def linear_program(grid, targets):
    """The least mean squared distance to the targets of a measure on the grid."""
    n, count = len(grid), len(targets)
    costs, rows, right = [np.zeros(n)], [], []
    sizes = [len(b) for _, b in targets]
    for k, (y, b) in enumerate(targets):
        costs.append(ot.dist(grid, y).ravel() / count)
        m = len(b)
        before, after = n * sum(sizes[:k]), n * sum(sizes[k + 1 :])
        across = sp.kron(sp.eye(n), np.ones((1, m)))
        down = sp.kron(np.ones((1, n)), sp.eye(m))
        empty = [sp.csr_matrix((n, before)), sp.csr_matrix((n, after))]
        rows.append(sp.hstack([-sp.eye(n), empty[0], across, empty[1]]))
        empty = [sp.csr_matrix((m, n + before)), sp.csr_matrix((m, after))]
        rows.append(sp.hstack([empty[0], down, empty[1]]))
        right += [np.zeros(n), b]
    found = linprog(
        np.concatenate(costs), A_eq=sp.vstack(rows), b_eq=np.concatenate(right), method="highs-ipm"
    )
    assert found.status == 0
    return found.fun


def test_digits_against_the_linear_program():
    """The best measure on the 64 cell centres has the value .0050255812. Free atoms do better, at
    a low temperature; exact couplings (POT) take as many atoms to .0039."""
    targets = threes()
    centres = (np.arange(8) + 0.5) / 8
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    on_grid = linear_program(grid, targets)
    np.testing.assert_allclose(on_grid, 0.0050255812, rtol=1e-6)
    mcmc = sampled(
        targets, warmup=150, draws=100, chains=1, thin=50, particles=100, epsilon=0.004,
        temperature=1e-4,
    )  # fmt: skip
    x = np.asarray(mcmc.get_samples()["x"][-1], float)
    a = np.full(len(x), 1 / len(x))
    value = np.mean([ot.emd2(a, b, ot.dist(x, y)) for y, b in targets])
    print(f"on the grid {on_grid:.6f}, free {value:.6f}")
    assert 0.0035 < value < on_grid


def test_the_consensus_of_gaussian_subsets():
    """The barycenter of Gaussians of deviations s_k has the deviation sum_k weight_k s_k."""
    levels = (np.arange(200) + 0.5) / 200
    weights, sds = np.array([0.5, 0.3, 0.2]), np.array([1.0, 1.3, 0.8])
    parts = [{"x": 30 + k + s * norm.ppf(levels)} for k, s in enumerate(sds)]
    found = {}
    for size in (50, 100):
        run = consensus_posterior(
            parts, {"x": nc.real}, weights=jnp.asarray(weights), epsilon=0.5, particles=size,
            num_warmup=300, num_samples=1500, thinning=10, num_chains=8, key=jax.random.key(4),
        ).run  # fmt: skip
        x = dataset(run, "posterior")["x"].values
        found[size] = np.stack([x.mean(axis=(1, 2)), x.var(axis=(1, 2))])
    by_chain = 2 * found[100] - found[50]
    error = by_chain.std(axis=1, ddof=1) / np.sqrt(8)
    exact = np.array([30 + weights @ np.arange(3), weights @ [np.std(p["x"]) for p in parts]])
    exact[1] **= 2
    print(exact, {n: v.mean(axis=1) for n, v in found.items()}, by_chain.mean(axis=1), error)
    assert np.all(np.abs(by_chain.mean(axis=1) - exact) < 5 * error)
    assert np.all(error < 0.02)
