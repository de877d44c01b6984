"""The trajectory model: what it refuses, what its result holds, what it converges to."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import mmfld_ppl as mm
from mmfld_ppl.functionals.path_space import PathSpace
from mmfld_ppl.inference_data.groups import dataset
from models.bifurcation import TIMES as BIFURCATION_TIMES
from models.bifurcation import simulate
from models.trajectory import default_base, starting_cells, trajectory
from models.trajectory_result import with_trajectories
from tests.helpers import run, start

RNG = np.random.default_rng(0)
TIMES = [0.0, 1.0, 3.0]
SNAPSHOTS = [RNG.normal(m, 0.2, (n, 2)) for m, n in ((0.0, 5), (1.0, 1), (2.0, 4))]
SETTING = {"diffusivity": 0.1, "bandwidth": 0.3, "regularization": 0.1}
CELLS = 6


@pytest.fixture(scope="module")
def mcmc():
    first = starting_cells(
        jax.random.key(0), SNAPSHOTS, TIMES, cells=CELLS, bandwidth=0.3, chains=2
    )
    setting = {"times": TIMES, "cells": CELLS, **SETTING}
    kernel = mm.MMFLD(trajectory)
    return run(kernel, SNAPSHOTS, draws=4, init_params=first, model_kwargs=setting)


@pytest.fixture(scope="module")
def result(mcmc):
    path = PathSpace(SNAPSHOTS, TIMES, **SETTING)
    idata = mm.to_inference_data(mcmc)
    return with_trajectories(
        idata, path, at=[0.25, 2.0], draws=3, paths=7, coordinates=["gene a", "gene b"]
    )


def test_groups_of_a_result(mcmc, result):
    posterior, marginals = dataset(result, "posterior"), dataset(result, "marginals")
    assert dict(marginals.sizes) == {
        "chain": 2, "draw": 4, "time": 3, "particle": CELLS, "coordinate": 2,
    }  # fmt: skip
    np.testing.assert_array_equal(marginals["time"], TIMES)
    assert list(marginals["coordinate"].values) == ["gene a", "gene b"]
    np.testing.assert_array_equal(marginals["x"].values.reshape(2, 4, -1, 2), posterior["x"].values)
    assert "sample_stats" in result
    couplings = dataset(result, "couplings")
    assert couplings["coupling"].dims == ("chain", "draw", "gap", "particle", "particle_next")
    np.testing.assert_array_equal(couplings["draw"], [1, 2, 3])
    np.testing.assert_array_equal(couplings["gap"], TIMES[:-1])
    np.testing.assert_allclose(couplings["coupling"].sum("particle_next"), 1 / CELLS, rtol=1e-2)
    np.testing.assert_allclose(couplings["coupling"].sum("particle"), 1 / CELLS, atol=1e-3)
    assert float(couplings["marginal_error"].max()) < 1e-3
    cells = dataset(result, "snapshots")
    np.testing.assert_allclose(cells["x"], np.concatenate(SNAPSHOTS), rtol=1e-6)
    np.testing.assert_array_equal(cells["observed_time"], np.repeat(TIMES, (5, 1, 4)))


def test_the_summary_has_rows_for_each_time(mcmc, result):
    x = dataset(result, "marginals")["x"].mean("particle")
    table = mm.summary(result)
    assert list(table.index[table.index.str.startswith("mean")]) == [
        f"mean(x)[{time:.1f}, {k}]" for time in TIMES for k in range(2)
    ]
    found = table.loc[[f"mean(x)[{TIMES[-1]:.1f}, {k}]" for k in range(2)], "mean"]
    np.testing.assert_allclose(found, x.isel(time=-1).mean(("chain", "draw")), rtol=1e-5)
    assert "mean(x)[2, 1]" in mm.summary(mm.to_inference_data(mcmc)).index


def test_paths_follow_the_particles_and_the_lines_between(result):
    paths, marginals = dataset(result, "paths")["x"], dataset(result, "marginals")["x"]
    np.testing.assert_array_equal(paths["time"], [0, 0.25, 1, 2, 3])
    for time in TIMES:
        walked = paths.sel(time=time).values[1, 2]
        there = marginals.sel(time=time).values[1, 3]
        assert all(np.any(np.all(there == x, axis=1)) for x in walked)
    straight = 0.75 * paths.sel(time=0.0) + 0.25 * paths.sel(time=1.0)
    np.testing.assert_allclose(paths.sel(time=0.25), straight, atol=1e-5)
    between = dataset(result, "interpolation")["x"]
    assert between.dims == ("chain", "draw", "time_between", "particle", "coordinate")
    # Every particle is where some pair of particles of the two times has it.
    left, right = (marginals.sel(time=t).values[0, 3] for t in (1.0, 3.0))
    middles = (left[:, None] + right[None]).reshape(-1, 2) / 2
    for x in between.sel(time_between=2.0).values[0, 2]:
        assert np.min(np.abs(middles - x).sum(axis=1)) < 1e-5


def test_a_result_survives_a_file(result, tmp_path):
    import xarray as xr

    result.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    back = xr.open_dataset(tmp_path / "run.nc", group="couplings", engine="h5netcdf")
    xr.testing.assert_equal(back.load(), dataset(result, "couplings"))


def pairs(rng_scale, growth=None, bridges=False, count=4000, begin=0.0, at=(0.5, 1.5)):
    """A run of one draw with two cells at each of two times, without the run."""
    import xarray as xr

    from mmfld_ppl.inference_data.groups import from_groups

    points = np.array([[0.0], [1.0], [0.0], [1.0]])
    posterior = xr.Dataset({"x": (("chain", "draw", "cell", "x_dim_0"), points[None, None])})
    path = PathSpace(
        [np.zeros((1, 1))] * 2,
        [begin, begin + 2.0],
        diffusivity=rng_scale,
        bandwidth=1.0,
        regularization=1.0,
        growth=growth,
    )
    idata = from_groups({"posterior": posterior}, {})
    return with_trajectories(
        idata, path, at=begin + np.array(at), draws=1, paths=count, bridges=bridges
    ), path


def test_bridges_have_the_spread_of_brownian_ones():
    """Variance diffusivity * u (1 - u) * gap, covariance diffusivity * s (1 - u) * gap."""
    result, _ = pairs(1e-3, bridges=True)
    x = dataset(result, "paths")["x"].values[0, 0, :, :, 0]
    off = x[:, 1:3] - (np.outer(x[:, 0], [0.75, 0.25]) + np.outer(x[:, 3], [0.25, 0.75]))
    expected = 2e-3 * np.array([[0.1875, 0.0625], [0.0625, 0.1875]])
    found = np.cov(off.T)
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / len(x))
    assert np.all(np.abs(found - expected) < 5 * error)


def test_paths_of_a_growing_population_are_lines_of_descent():
    """Cells at 1 double twice as fast: two in three of the last cells come from there, and in
    between the share is what has grown so far."""
    result, _ = pairs(10.0, growth=lambda x, time: jnp.log(2.0) / 2 * x[0])
    x = dataset(result, "paths")["x"].values[0, 0, :, :, 0]
    assert abs(np.mean(x[:, 0]) - 2 / 3) < 5 * np.sqrt(2 / 9 / len(x))
    assert np.mean(x[:, 3]) == 0.5


def test_paths_follow_the_coupling():
    result, path = pairs(0.2)
    x = dataset(result, "paths")["x"].values[0, 0, :, :, 0]
    plan = dataset(result, "couplings")["coupling"].values[0, 0, 0]
    stay = plan[0, 0] + plan[1, 1]
    assert 0.6 < stay < 0.95
    error = np.sqrt(stay * (1 - stay) / len(x))
    assert abs(np.mean(x[:, 0] == x[:, 3]) - stay) < 5 * error


def test_times_that_single_precision_cannot_tell_apart():
    """Paths and interpolation are at the times as given: seconds since 1970, say."""
    begin, apart = 1.7e9, ("paths", "interpolation")
    (soon, _), (late, _) = (pairs(0.2, count=50, begin=b) for b in (0.0, begin))
    for group in apart:
        np.testing.assert_allclose(dataset(late, group)["x"], dataset(soon, group)["x"], atol=1e-5)
    np.testing.assert_array_equal(
        dataset(late, "paths")["time"], begin + np.array([0, 0.5, 1.5, 2])
    )


def test_interpolation_at_the_times_of_snapshots():
    """Which no power of two divides: a marginal itself, and no time twice."""
    result, _ = pairs(0.2, count=50, begin=0.7, at=(0.0, 2.0))
    np.testing.assert_array_equal(dataset(result, "paths")["time"], [0.7, 2.7])
    between = dataset(result, "interpolation")["x"].values[0, 0, :, :, 0]
    np.testing.assert_array_equal(np.sort(between), [[0.0, 1.0], [0.0, 1.0]])


def test_what_a_result_refuses(mcmc):
    idata, path = mm.to_inference_data(mcmc), PathSpace(SNAPSHOTS, TIMES, **SETTING)
    with pytest.raises(ValueError, match=r"from time 0 to 3, not at \[3.5\]: there is no extrap"):
        with_trajectories(idata, path, at=[1.0, 3.5])
    other = PathSpace([SNAPSHOTS[0]] * 4, [0, 1, 2, 3], **SETTING)
    with pytest.raises(ValueError, match="18 particles, not a multiple of the 4 times"):
        with_trajectories(idata, other)


def test_particles_start_at_cells_of_their_own_snapshot():
    snapshots = [np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[5.0, 6.0]])]
    params = starting_cells(jax.random.key(1), snapshots, [0, 1], cells=4, bandwidth=0.1)
    x = params["x"].reshape(2, 4, 2)
    near = np.round(x)
    assert np.all(np.sort(near[0, :, 0]) == [0, 0, 1, 1])
    np.testing.assert_array_equal(near[1], np.broadcast_to([5, 6], (4, 2)))
    assert len(np.unique(np.asarray(x[1, :, 0]))) == 4


def test_cells_without_mass_start_no_particle():
    cells = np.array([[9.0], [9.0], [0.0]])
    for masses, expected in (([0, 0, 1], {0}), ([0, 0.5, 0.5], {0, 9}), ([1, 0, 0], {9})):
        early = mm.Measure(cells, np.array(masses, float))
        snapshots = [early, np.zeros((2, 1))]
        key = jax.random.key(1)
        start = starting_cells(key, snapshots, [0, 1], cells=20, bandwidth=0.1)["x"]
        assert set(np.round(np.asarray(start[:20, 0])).astype(int).tolist()) == expected


def test_particles_start_within_half_a_bandwidth_of_cells():
    """Further away a cell hardly pulls: with a small bandwidth they would stay where they are."""
    snapshots = [np.array([[0.0, 100.0]]), np.array([[30.0, 0.0]])]
    params = starting_cells(jax.random.key(1), snapshots, [0, 1], cells=50, bandwidth=0.1)
    away = params["x"].reshape(2, 50, 2) - np.stack(snapshots)
    far = np.linalg.norm(away, axis=-1)
    assert 0.04 < far.max() <= 0.0501
    assert far.min() > 0


ORTHANT = [np.abs(z) + 0.1 for z in SNAPSHOTS]
SIMPLEX = [RNG.dirichlet(np.ones(3), n) for n in (5, 1, 4)]
BASES = {
    "orthant": (dist.Exponential(jnp.ones(2)).to_event(1), ORTHANT),
    "simplex": (dist.Dirichlet(jnp.ones(3)), SIMPLEX),
    "box": (mm.distributions.UniformBox(-jnp.ones(2), 4 * jnp.ones(2)), SNAPSHOTS),
    "orthant and simplex": (
        {"size": dist.Exponential(1.0), "shares": dist.Dirichlet(jnp.ones(3))},
        [np.concatenate([u[:, :1], p], axis=1) for u, p in zip(ORTHANT, SIMPLEX, strict=True)],
    ),
}


@pytest.mark.parametrize(
    "name",
    ["orthant and simplex", *(pytest.param(n, marks=pytest.mark.slow) for n in list(BASES)[:3])],
)
def test_supports(name):
    """Particles stay in the support of the base, and move."""
    base, snapshots = BASES[name]
    setting = {"times": TIMES, "cells": 4, "base": base, **SETTING}
    first = starting_cells(
        jax.random.key(0), snapshots, TIMES, cells=4, base=base, bandwidth=0.3, chains=2
    )
    mcmc = run(mm.MMFLD(trajectory), snapshots, draws=3, init_params=first, model_kwargs=setting)
    draws = mcmc.get_samples(group_by_chain=True)
    for site, law in (base if isinstance(base, dict) else {"x": base}).items():
        assert bool(jnp.all(law.support(draws[site])))
        assert not np.array_equal(draws[site][:, -1], first[site])
    assert draws["x"].shape == (2, 3, 12, snapshots[0].shape[1])


@pytest.mark.parametrize(
    ("snapshots", "options", "message"),
    [
        (
            [z - 1 for z in ORTHANT],
            {"base": dist.Exponential(jnp.ones(2)).to_event(1)},
            r"snapshot 0 \(time 0\): cell \d.*outside of the support .*Positive.*'x'",
        ),
        ([2 * z for z in SIMPLEX], {"base": dist.Dirichlet(jnp.ones(3))}, "outside .*Simplex"),
        (
            SNAPSHOTS,
            {"base": dist.Dirichlet(jnp.ones(3))},
            r"shape \(2,\) .*got event shape \(3,\)",
        ),
        (SNAPSHOTS, {"base": {"a": dist.Normal()}}, r"events of shape .*\(\).* shape \(2,\)"),
        ([z[:, 0] for z in SNAPSHOTS], {}, r"cells that are vectors.* s\[:, None\]"),
        (
            SNAPSHOTS,
            {"base": dist.Normal(jnp.zeros(2), 1.0)},
            r"base must be a law of one particle, got batch shape \(2,\).*to_event\(1\)",
        ),
        (SNAPSHOTS, {"cells": 1}, "cells=2 particles or more, got 1"),
        (SNAPSHOTS, {"times": [0.0, 2.0, 1.0]}, "must increase"),
        (SNAPSHOTS, {"temperature": 0.0}, "temperature must be one positive number"),
    ],
)
def test_misuse_is_explained(snapshots, options, message):
    setting = {"times": TIMES, "cells": 4, **SETTING, **options}
    with pytest.raises(ValueError, match=message):
        start(mm.MMFLD(trajectory), snapshots, **setting)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("box", "base must be a NumPyro distribution of one particle, or a constraint"),
        ({"a": constraints.real, "b": dist.Normal()}, r"base\['a'\] must be .* constraint Real"),
    ],
)
def test_a_base_that_is_no_law(base, message):
    with pytest.raises(TypeError, match=message):
        start(mm.MMFLD(trajectory), SNAPSHOTS, TIMES, cells=4, base=base, **SETTING)


def test_the_base_may_be_a_constraint():
    base = constraints.real_vector
    state = start(mm.MMFLD(trajectory), SNAPSHOTS, TIMES, cells=4, base=base, **SETTING)
    assert state.z["x"].shape == (12, 2)
    with pytest.raises(TypeError, match="uniform on the constraint .* has no draws: pass a law"):
        starting_cells(jax.random.key(0), SNAPSHOTS, TIMES, base=base, bandwidth=0.3)


def test_the_default_base_holds_the_data():
    path = PathSpace(SNAPSHOTS, TIMES, **SETTING)
    support = default_base(path).support
    assert bool(jnp.all(support(jnp.concatenate([jnp.asarray(z) for z in SNAPSHOTS]))))


def test_the_simulated_population_splits():
    """Starts as N(0, 0.1^2); two branches later; the second coordinate lags the drifting well by a
    twentieth of a unit of time."""
    rng = np.random.default_rng(1)
    early, late = (simulate(rng, 400, s) for s in BIFURCATION_TIMES[[0, -1]])
    assert abs(early.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * early.size)
    left = np.mean(late[:, 0] < 0)
    assert abs(left - 0.5) < 5 * 0.5 / np.sqrt(400)
    assert np.abs(late[:, 0]).mean() > 1
    # dX = -20 (X + s) ds + sqrt(tau) dB is stationary about -s + 1/20, of variance tau/40.
    error = np.sqrt(0.25 / 40 / 400)
    assert abs(late[:, 1].mean() - (0.05 - BIFURCATION_TIMES[-1])) < 5 * error
    assert abs(late[:, 5].std() - np.sqrt(0.25 / 40)) < 5 * error
