"""The barycenter model: closed forms, quantiles, supports, and what its result says."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.distributions import constraints as nc

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from models.barycenter import barycenter, init_to_targets
from models.barycenter_result import input_summary, with_transport
from tests.helpers import (
    # noqa: F401
    start,
)
from tests.models.helpers import (
    MEANS,
    SDS,
    WEIGHTS,
    barycenter_variance,
    gaussian_atoms,
    grid_barycenter,
    sampled,
)

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(("epsilon", "tau"), [(0.2, 0.1), (0.5, 0.6)])
def test_the_closed_form_is_the_fixed_point_on_a_grid(epsilon, tau, debiased):
    targets = [gaussian_atoms(m, s) for m, s in zip(MEANS, SDS, strict=True)]
    grid = np.linspace(-4.0, 4.5, 60)
    mu = grid_barycenter(grid, targets, WEIGHTS, epsilon, tau, debiased)
    mean = mu @ grid
    np.testing.assert_allclose(mean, WEIGHTS @ np.array(MEANS), atol=1e-4)
    expected = barycenter_variance(epsilon, tau, SDS, WEIGHTS, debiased)
    np.testing.assert_allclose(mu @ (grid - mean) ** 2, expected, rtol=1e-3)


SUPPORTS = {
    "box": (mm.constraints.box(jnp.zeros(3), jnp.ones(3)), RNG.dirichlet(np.ones(3), 8)),
    "ball": (mm.constraints.ball(2.0), RNG.normal(size=(8, 3)) / 4),
    "simplex, by a law of one's own": (
        dist.Dirichlet(jnp.full(3, 2.0)),
        RNG.dirichlet(np.ones(3), 8),
    ),
    "positive orthant": (nc.positive, RNG.gamma(1.0, size=(8, 3))),
    "unconstrained": (nc.real_vector, 50 + RNG.normal(size=(8, 3))),
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_supports(name):
    base, points = SUPPORTS[name]
    targets = [mm.Measure.uniform(points[:5]), (points[5:], np.array([0.2, 0.5, 0.3]))]
    scale = points.var(axis=0).sum()
    mcmc = sampled(
        targets, warmup=20, draws=10, chains=2, base=base, particles=9,
        epsilon=0.2 * scale, temperature=0.1 * scale,
    )  # fmt: skip
    x = mcmc.get_samples(group_by_chain=True)["x"]
    assert x.shape == (2, 10, 9, 3)
    support = base.support if isinstance(base, dist.Distribution) else base
    assert np.all(support(x))
    assert not np.any(mcmc.get_extra_fields()["diverging"])
    assert np.std(np.asarray(x)[:, -1] - np.asarray(x)[:, 0]) > 0


def test_atoms_on_the_boundary_are_allowed_and_particles_start_inside():
    corners = (np.eye(3), np.full(3, 1 / 3))
    kernel = mm.MMFLD(barycenter, init_strategy=init_to_targets([corners]))
    state = start(kernel, [corners], base=nc.simplex, particles=4, epsilon=0.5, temperature=0.1)
    x = np.asarray(state.z["x"])
    assert np.all(x > 0.001) and np.all(x.max(axis=1) > 0.99)


INSIDE = (np.array([[0.2, 0.3], [0.4, 0.9]]), np.array([0.5, 0.5]))
OUTSIDE = (np.array([[0.2, 0.3], [0.4, 1.5]]), np.array([0.5, 0.5]))


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ([INSIDE, OUTSIDE], {}, r"1 of the 2 atoms of target 1 .*0.4 1.5.*base="),
        ([INSIDE, (INSIDE[0] * np.nan, INSIDE[1])], {}, "target 1 must be finite"),
        ([INSIDE], {"base": nc.simplex}, "2 of the 2 atoms of target 0 are outside"),
        ([INSIDE], {"base": nc.positive_definite}, "events of 2 axes"),
        ([([0.2, 0.4], [0.5, 0.5])], {}, r"are numbers, one an atom.*points\[:, None\]"),
        ([INSIDE], {"base": dist.Normal(jnp.zeros(2), 1)}, r"batch shape \(2,\).*to_event\(1\)"),
        ([INSIDE], {"base": dist.Normal(0.0, 1)}, r"event shape \(2,\) .* got event shape \(\)"),
        ([INSIDE, (np.zeros((0, 2)), np.zeros(0))], {}, "target 1 has no atoms"),
        ([INSIDE, INSIDE], {"weights": np.array([1.5, -0.5])}, "minimum -0.5"),
        ([INSIDE, INSIDE], {"weights": np.array([0.5, 0.6])}, "sum 1.1"),
        ([INSIDE], {"temperature": 0.0}, "temperature must be one positive number"),
    ],
)
def test_misuse_is_explained(targets, options, message):
    with pytest.raises(ValueError, match=message):
        start(mm.MMFLD(barycenter), targets, particles=3, **options)


def test_a_base_that_is_neither():
    with pytest.raises(TypeError, match="distribution of one particle, or a constraint"):
        start(mm.MMFLD(barycenter), [INSIDE], base="simplex")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (list(INSIDE), r"target 0 must be a Measure or .* got ndarray; Measure.uniform"),
        (mm.Measure(*INSIDE), r"a list of targets, got one Measure: pass \[target\]"),
    ],
)
def test_targets_that_are_none(targets, message):
    for stated in (init_to_targets, lambda t: start(mm.MMFLD(barycenter), t, particles=3)):
        with pytest.raises(TypeError, match=message):
            stated(targets)


def test_targets_may_be_data_frames():
    frame = pd.DataFrame(INSIDE[0], index=[5, 6]), pd.Series(INSIDE[1], index=[5, 6])
    kernel = mm.MMFLD(barycenter, init_strategy=init_to_targets([frame, INSIDE]))
    weights = pd.Series([0.5, 0.5], index=[1, 2])
    start(kernel, [frame, tuple(a.tolist() for a in INSIDE)], particles=3, weights=weights)


def test_an_atom_without_mass_may_be_anywhere():
    far = (np.array([[0.2, 0.3], [-999.0, 1e6]]), np.array([1.0, 0.0]))
    start(mm.MMFLD(barycenter), [INSIDE, far], particles=3)
    kernel = mm.MMFLD(barycenter, init_strategy=init_to_targets([INSIDE, far]))
    start(kernel, [INSIDE, far], particles=3)


@pytest.fixture(scope="module")
def finished():
    targets = [INSIDE, (RNG.uniform(size=(3, 2)), np.array([0.2, 0.3, 0.5]))]
    setting = {"epsilon": 0.1, "weights": np.array([0.75, 0.25]), "debiased": True}
    mcmc = sampled(targets, warmup=10, draws=8, chains=2, particles=5, **setting)
    idata = mm.to_inference_data(mcmc)
    extended = with_transport(
        idata, targets, **setting, labels=["a", "b"], draws=3, couplings=True, max_iterations=5000
    )
    return idata, extended, targets, setting


def test_the_result_has_what_each_input_costs(finished):
    _, extended, targets, setting = finished
    transport = dataset(extended, "transport")
    assert transport["transport_cost"].dims == ("chain", "draw", "input")
    assert transport.sizes == {"chain": 2, "draw": 3, "input": 2, "atom": 5, "input_atom": 3}
    assert transport["input"].values.tolist() == ["a", "b"]
    loss = mm.functionals.SinkhornBarycenter(targets, **setting)
    x = dataset(extended, "posterior")["x"].sel(draw=transport["draw"][1]).values[1]
    report = loss.report(mm.Measure.uniform(x))
    at = transport.isel(chain=1, draw=1)
    np.testing.assert_allclose(at["transport_cost"], report.transport_cost[:2], rtol=1e-3)
    np.testing.assert_allclose(at["self_value"], report.value[2], rtol=1e-3)
    assert transport["converged"].all() and transport["self_converged"].all()
    objective = at["weight"].values @ at["value"].values - at["self_value"].values / 2
    stats = dataset(extended, "sample_stats")["objective"]
    np.testing.assert_allclose(
        objective, stats.sel(draw=transport["draw"][1])[1], rtol=0.02, atol=2e-4
    )


def test_couplings_have_the_right_marginals(finished):
    _, extended, targets, _ = finished
    plans = dataset(extended, "transport")["coupling"]
    assert plans.dims == ("chain", "input", "atom", "input_atom")
    np.testing.assert_allclose(plans.sum("input_atom"), 0.2, rtol=1e-4)
    np.testing.assert_allclose(plans.sel(input="b").sum("atom")[0], targets[1][1], atol=2e-3)
    assert not plans.sel(input="a")[..., 2].any()


def test_the_result_survives_a_file(finished, tmp_path):
    idata, extended, _, _ = finished
    extended.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    import arviz as az

    back = az.from_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    assert mm.summary(back).equals(mm.summary(idata))
    table = input_summary(back)
    assert list(table.index) == ["a", "b"] and table["converged"].all()
    np.testing.assert_allclose(table["weight"], [0.75, 0.25])


def test_a_result_of_something_else(finished):
    idata, _, targets, _ = finished
    with pytest.raises(ValueError, match="no particles at site 'y'"):
        with_transport(idata, targets, epsilon=0.1, site="y")
    with pytest.raises(ValueError, match="2 inputs need as many labels"):
        with_transport(idata, targets, epsilon=0.1, labels=["a"])
