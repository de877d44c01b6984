"""Pictures of particles that have masses: as of equal ones, so many in each place."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from mmfld_ppl import plots
from mmfld_ppl.inference_data.groups import dataset, from_groups
from mmfld_ppl.plots.density import grid_density, scott_bandwidth
from mmfld_ppl.plots.ellipses import outline
from mmfld_ppl.plots.line import spread_bandwidth

DIMS = ("chain", "draw", "atom")


@pytest.fixture(scope="module")
def exported():
    """Half of the particles near 0, and half near 3 with next to no mass."""
    rng, shape = np.random.default_rng(0), (2, 6, 80)
    real = rng.random(shape) < 0.5
    near = rng.normal(0, 0.3, (*shape, 2))
    sites = {
        "number": np.where(real, near[..., 0], near[..., 0] + 3),
        "plane": np.where(real[..., None], near, near + 3),
        "matrix": np.where(real[..., None, None], np.eye(2), 25 * np.eye(2)),
        "mass": np.where(real, 1.0, 1e-6),
    }
    variables = {
        n: ((*DIMS, *(f"{n}_dim_{k}" for k in range(v.ndim - 3))), v) for n, v in sites.items()
    }
    coords = {"chain": range(2), "draw": range(6)}
    coords |= {f"{n}_dim_{k}": [0, 1] for n, v in sites.items() for k in range(v.ndim - 3)}
    attrs = {"particle_plate": "atom", "mass_site": "mass", "supports": "{}"}
    return from_groups({"posterior": xr.Dataset(variables, coords, attrs)}, {})


def test_a_density_of_masses_is_that_of_repeated_points() -> None:
    rng = np.random.default_rng(1)
    points, counts = rng.normal(size=(30, 2)), rng.integers(1, 5, 30)
    repeated, extent = np.repeat(points, counts, axis=0), (-4.0, 4.0, -4.0, 4.0)
    weighted = grid_density(points, extent, 0.5, 40, weights=counts).values
    np.testing.assert_allclose(weighted, grid_density(repeated, extent, 0.5, 40).values)
    assert scott_bandwidth(points, np.full(30, 7.0)) == pytest.approx(scott_bandwidth(points))


def test_what_has_no_mass_leaves_no_ink(exported) -> None:
    ax = plots.particle_density(exported, site="plane")
    image = ax.images[0].get_array()
    left, right, bottom, top = ax.images[0].get_extent()
    x, y = (np.linspace(*e, n) for e, n in (((left, right), 160), ((bottom, top), 160)))
    assert image[y > 1.7][:, x > 1.7].max() < 1e-3 * image.max()


@pytest.mark.parametrize("draw", [plots.particle_cloud, plots.particles_over_time])
def test_dots_have_areas_in_proportion_to_masses(exported, draw) -> None:
    dots = draw(exported, site="plane").collections[0]
    far = np.asarray(dots.get_offsets())[:, 0] > 1.5
    assert dots.get_sizes()[far].max() < 1e-5 * dots.get_sizes()[~far].min()


def test_bands_and_distribution_functions_are_those_of_the_mass(exported) -> None:
    ax = plots.particles_over_time(exported, site="number")
    assert np.all(np.abs(ax.lines[0].get_ydata()) < 0.2)
    assert all(c.get_paths()[0].vertices[:, 1].max() < 1 for c in ax.collections)
    moving = plots.animate(exported, site="number", frames=2)
    line = moving._func(1)[0]
    x, share = line.get_data()
    assert share[x < 1.5].max() > 0.98 and np.all(np.diff(share) >= 0)
    plt.close("all")


def test_the_mean_of_matrices_is_that_of_the_mass(exported) -> None:
    mean = plots.ellipses(exported, site="matrix").lines[-1].get_xydata().T
    np.testing.assert_allclose(mean, outline(np.eye(2)), rtol=1e-3, atol=1e-3)


def test_draws_count_the_same_whatever_their_mass_in_all(exported) -> None:
    posterior = dataset(exported, "posterior")
    unit = xr.DataArray([[1.0] * 6, [1e3, 1e-3] * 3], dims=DIMS[:2])
    scaled = posterior.assign(mass=posterior["mass"] * unit)
    pictures = [_numbers_drawn(run) for run in (exported, from_groups({"posterior": scaled}, {}))]
    for one, other in zip(*pictures, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8)


def _numbers_drawn(run) -> list[np.ndarray]:
    density = plots.line_density(run, site="number")
    plane = plots.particle_density(run, site="plane")
    bands = plots.particles_over_time(run, site="number")
    dots = plots.particle_cloud(run, site="plane").collections[0]
    matrices = plots.ellipses(run, site="matrix")
    found = [line.get_ydata() for line in (density.lines[0], bands.lines[0], matrices.lines[-1])]
    plt.close("all")
    return [*found, plane.images[0].get_array(), dots.get_sizes()]


def test_the_view_and_bandwidth_are_those_of_the_mass(exported) -> None:
    assert plots.line_density(exported, site="number").get_xlim()[1] < 2.0
    rng = np.random.default_rng(2)
    points, masses = np.r_[rng.normal(size=500), np.full(500, 40.0)], np.repeat([1.0, 0.0], 500)
    assert spread_bandwidth(points, masses) == pytest.approx(spread_bandwidth(points[:500]))


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_a_draw_without_masses_leaves_the_others(exported, bad) -> None:
    posterior = dataset(exported, "posterior").copy(deep=True)
    posterior["mass"].values[0, 3] = bad
    _numbers_drawn(from_groups({"posterior": posterior}, {}))
