"""Pictures of particles of every kind of site, and of paths."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from PIL import Image

from mmfld_ppl import constraints
from mmfld_ppl.inference_data.groups import from_groups
from mmfld_ppl.plots.ellipses import ellipses, outline
from mmfld_ppl.plots.evolution import animate, particles_over_time
from mmfld_ppl.plots.line import density_between, line_density
from mmfld_ppl.plots.plane import particle_cloud, particle_density
from mmfld_ppl.plots.simplex import simplex, to_plane
from mmfld_ppl.plots.trajectories import trajectories

CHAINS, DRAWS, ATOMS = 2, 6, 40
SUPPORTS = {
    "g": "Positive(lower_bound=0.0)",
    "u": "Interval(lower_bound=-1.5, upper_bound=3e+0)",
    "z": "ball(radius=2.0)",
}


@pytest.fixture(scope="module")
def exported():
    rng = np.random.default_rng(0)
    shape = (CHAINS, DRAWS, ATOMS)
    root = rng.standard_normal((*shape, 3, 4))
    sites = {
        "g": rng.exponential(1.0, shape),
        "u": rng.uniform(-1.5, 3.0, shape),
        "z": rng.uniform(-1, 1, (*shape, 2)),
        "w": rng.standard_normal((*shape, 5)),
        "x": rng.dirichlet([3, 2, 1], shape),
        "s": root @ np.swapaxes(root, -1, -2),
    }
    posterior = {
        name: (("chain", "draw", "atom", *(f"{name}_dim_{k}" for k in range(v.ndim - 3))), v)
        for name, v in sites.items()
    }
    coords = {"chain": range(CHAINS), "draw": 10 * np.arange(DRAWS), "atom": range(ATOMS)}
    coords |= {
        f"{name}_dim_{k}": range(v.shape[3 + k])
        for name, v in sites.items()
        for k in range(v.ndim - 3)
    }
    attrs = {"particle_plate": "atom", "supports": json.dumps(SUPPORTS)}
    time = np.array([0.0, 0.5, 2.0])
    paths = rng.standard_normal((CHAINS, DRAWS, 7, len(time), 2))
    cells = {
        "x": (("observed_cell", "coordinate"), rng.standard_normal((9, 2))),
        "observed_time": ("observed_cell", np.repeat(time, 3)),
    }
    groups = {
        "posterior": xr.Dataset(posterior, coords, attrs),
        "paths": xr.Dataset(
            {"x": (("chain", "draw", "path", "time", "coordinate"), paths)},
            {"time": time, "coordinate": ["height", "weight"]},
        ),
        "snapshots": xr.Dataset(cells),
    }
    return from_groups(groups, {})


def test_every_function_draws_in_the_axes_that_it_is_given(exported) -> None:
    for function, options in (
        (line_density, {"site": "g"}),
        (ellipses, {}),
        (particles_over_time, {"site": "z"}),
        (particles_over_time, {"site": "u"}),
        (particle_cloud, {"site": "w", "coordinates": (3, 1)}),
        (trajectories, {}),
    ):
        _, ax = plt.subplots()
        assert function(exported, ax=ax, **options) is ax
        assert ax.has_data() and ax.get_xlabel() and ax.get_ylabel()
        ax.figure.canvas.draw()


def test_a_reflected_density_has_all_of_its_mass_and_no_dip_at_an_end() -> None:
    rng = np.random.default_rng(1)
    x, density = density_between(rng.random(400_000), 0.0, 1.0, 0.05)
    assert density.mean() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(density, 1.0, atol=0.03)
    points = rng.exponential(1.0, 400_000)
    x, density = density_between(points, 0.0, 20.0, 0.05)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-6)
    # A plain kernel would have half of it at 0.
    assert density[0] == pytest.approx(1.0, abs=0.06)


def test_the_view_ends_where_the_support_does(exported) -> None:
    ax = line_density(exported, site="u")
    for k in range(CHAINS):
        x, y = ax.lines[2 * k].get_xydata().T
        assert x[0] > -1.5 and x[-1] < 3.0 and x[-1] - x[0] == pytest.approx(4.5, rel=0.01)
        assert y.mean() * 4.5 == pytest.approx(1, abs=1e-6)
        rug = np.sort(ax.lines[2 * k + 1].get_xdata())
        np.testing.assert_array_equal(rug, np.sort(exported["posterior"]["u"].values[k, -1]))
    x = line_density(exported, site="g").lines[0].get_xdata()
    assert 0 < x[0] < 0.1


def test_vectors_of_length_one_are_numbers_and_have_masses() -> None:
    rng, dims = np.random.default_rng(0), ("chain", "draw", "atom")
    x = rng.choice([-2.0, 2.0], (1, 5, 200))
    posterior = xr.Dataset(
        {"y": ((*dims, "axis"), x[..., None]), "mass": (dims, np.where(x < 0, 3.0, 1.0))},
        attrs={"particle_plate": "atom", "mass_site": "mass"},
    )
    at, density = (
        line_density(from_groups({"posterior": posterior}, {}), bandwidth=0.3)
        .lines[0]
        .get_xydata()
        .T
    )
    share = density[at < 0].sum() / density.sum()
    assert share == pytest.approx(3 * np.mean(x < 0) / (1 + 2 * np.mean(x < 0)), abs=0.01)
    with pytest.raises(ValueError, match=r"a particle site of shape \(3\), and the run has 'y'"):
        simplex(from_groups({"posterior": posterior}, {}))


def test_an_ellipse_is_the_level_of_its_inverse(exported) -> None:
    matrix = np.array([[2.0, 0.7], [0.7, 0.5]])
    v = outline(matrix)
    np.testing.assert_allclose(np.einsum("am,ab,bm->m", v, np.linalg.inv(matrix), v), 1)
    singular = outline(np.array([[1.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(singular[0], singular[1], atol=1e-7)
    ax = ellipses(exported, most=5, coordinates=(2, 0))
    assert len(ax.lines) == CHAINS * 5 + 1
    block = exported["posterior"]["s"].values[0, -1, 0][np.ix_([2, 0], [2, 0])]
    np.testing.assert_allclose(ax.lines[0].get_xydata().T, outline(block))
    assert ax.get_ylabel() == "along 0"


def test_a_ball_has_its_boundary_and_vectors_two_of_their_coordinates(exported) -> None:
    ax = particle_cloud(exported, site="z")
    np.testing.assert_allclose(np.linalg.norm(ax.patches[0].get_xy(), axis=1), 2)
    assert ax.get_xlim()[1] > 2
    ax = particle_cloud(exported, site="w", coordinates=(3, 1))
    drawn = np.sort(np.asarray(ax.collections[0].get_offsets())[:, 0])
    expected = exported["posterior"]["w"].values[:, -1, :, 3]
    np.testing.assert_allclose(drawn, np.sort(expected.ravel()))
    assert ax.get_ylabel() == "w[1]"


TRIANGLE = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])


def in_a(support: str, x: np.ndarray):
    """A run of one draw of particles at x, (n, d), in a support stated so."""
    posterior = xr.Dataset(
        {"x": (("chain", "draw", "atom", "axis"), x[None, None])},
        {"axis": range(x.shape[1])},
        {"particle_plate": "atom", "supports": json.dumps({"x": support})},
    )
    return from_groups({"posterior": posterior}, {})


def box(low, high) -> str:
    return f"independent({constraints.box(low, high).base_constraint!r}, 1)"


@pytest.mark.parametrize(
    ("support", "coordinates", "corners"),
    [
        (box(0.0, 1.0), (0, 1), [[0, 0], [1, 1]]),
        (box([0.0, -0.5, 0.5], [1.0, 1.0, 2.0]), (2, 1), [[0.5, -0.5], [2, 1]]),
        # No particle is near the upper ends.
        (box(0.0, [1.0, 1.0, 50.0]), (1, 2), [[0, 0], [1, None]]),
        ("independent(Positive(lower_bound=0.0), 1)", (0, 1), [[0, 0], [None, None]]),
    ],
)
def test_a_box_has_the_sides_that_particles_may_feel(support, coordinates, corners) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.0, (50, 3)) * [1, 1, 2]
    x[0] = 0.1, 0.1, 0.6
    run = in_a(support, x)
    for ax in (
        particle_cloud(run, coordinates=coordinates),
        particle_density(run, coordinates=coordinates),
    ):
        outline = ax.patches[0].get_xy()
        view = np.stack([ax.get_xlim(), ax.get_ylim()], axis=1)
        found = [outline.min(axis=0), outline.max(axis=0)]
        for sign, ours, edge, expected in zip((-1, 1), found, view, corners, strict=True):
            for our, end, number in zip(ours, edge, expected, strict=True):
                if number is None:
                    assert sign * (our - end) > 0
                else:
                    assert our == number and sign * (end - our) > 0


def test_a_polygon_has_its_border_and_no_density_outside() -> None:
    rows, b = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 2.0], [1.0, 2.0]]), [0.0, 0.0, 2.0, 5.0]
    x = np.random.default_rng(0).dirichlet(np.ones(3), 20_000) @ TRIANGLE
    ax = particle_density(in_a(repr(constraints.polytope(rows, b)), x), bandwidth=0.05)
    outline = ax.patches[0].get_xy()[:-1]
    np.testing.assert_allclose(sorted(outline.tolist()), sorted(TRIANGLE.tolist()), atol=1e-5)
    density = ax.images[0].get_array()
    left, right, bottom, top = ax.images[0].get_extent()
    share = 1 / ((right - left) * (top - bottom))
    assert np.mean(~density.mask) == pytest.approx(share, rel=0.02)
    # Uniform, up to the border.
    assert density.min() > 0.7 and density.mean() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(
    "support",
    [
        "independent(Circular(lower_bound=-3.1415927, upper_bound=3.1415927), 1)",
        "Cat((Interval(lower_bound=0.0, upper_bound=1.0), Real()))",
        "independent(Interval(lower_bound=[0. 0. ... 0. 0.], upper_bound=[1. ... 2.]), 1)",
        "",
    ],
)
def test_what_has_no_border_in_the_plane(support) -> None:
    run = in_a(support, np.random.default_rng(0).uniform(0.0, 0.4, (20, 2)))
    assert not particle_cloud(run).patches


def test_particles_of_several_draws_have_the_colours_of_time(exported) -> None:
    ax = particles_over_time(exported, site="x", draws=3)
    points = np.asarray(ax.collections[0].get_offsets())
    colours = ax.collections[0].get_facecolors()
    assert len(points) == 3 * CHAINS * ATOMS
    legend = ax.get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["0", "20", "50"]
    last = legend.get_lines()[-1].get_color()
    ours = points[np.all(np.isclose(colours[:, :3], last[:3]), axis=1)]
    expected = to_plane(exported["posterior"]["x"].values[:, -1].reshape(-1, 3))
    np.testing.assert_allclose(np.sort(ours, axis=0), np.sort(expected, axis=0))


def of_animation(run):
    _, ax = plt.subplots()
    moving = animate(run, frames=1, ax=ax)
    moving._draw_was_started = True  # Nothing is shown, of which it would warn.
    return ax


@pytest.mark.parametrize("draw", [particles_over_time, of_animation])
@pytest.mark.parametrize(
    "support",
    [
        repr(constraints.polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 2.0]], [0.0, 0.0, 2.0])),
        "ball(radius=2.0)",
        box(0.0, 1.0),
        "independent(Positive(lower_bound=0.0), 1)",
        "",
    ],
)
def test_particles_in_time_are_in_the_border_of_a_cloud(draw, support) -> None:
    x = np.random.default_rng(0).dirichlet(np.full(3, 6.0), 50) @ [[0, 0], [0.9, 0], [0, 0.9]]
    run = in_a(support, x)
    ours, cloud = draw(run), particle_cloud(run)
    assert len(ours.patches) == len(cloud.patches) == bool(support)
    for one, other in zip(ours.patches, cloud.patches, strict=True):
        np.testing.assert_array_equal(one.get_xy(), other.get_xy())
    np.testing.assert_array_equal(ours.get_xlim(), cloud.get_xlim())
    np.testing.assert_array_equal(ours.get_ylim(), cloud.get_ylim())


@pytest.mark.parametrize("site", ["z", "x", "g"])
def test_an_animation_of_every_draw(exported, site, tmp_path) -> None:
    file = tmp_path / "run.gif"
    animate(exported, site=site, frames=2).save(file, writer="pillow", dpi=30)
    with Image.open(file) as image:
        assert image.n_frames == 2


def test_the_first_coordinates_of_a_longer_vector_may_be_spelled_out() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 10, 5))
    posterior = xr.Dataset(
        {"x": (("chain", "draw", "atom", "axis"), x)},
        {"chain": range(2), "draw": range(3), "axis": range(5)},
        {"particle_plate": "atom"},
    )
    ax = particle_cloud(from_groups({"posterior": posterior}, {}), coordinates=(0, 1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x[0]", "x[1]")


def test_paths_over_snapshots_in_their_units(exported) -> None:
    ax = trajectories(exported, units=[1.0, 10.0], most=5)
    paths = exported["paths"]["x"].values
    assert len(ax.lines) == 5
    np.testing.assert_allclose(ax.lines[1].get_xydata(), paths[1, -1, 0] * [1, 10])
    cells = exported["snapshots"]["x"].values * [1, 10]
    np.testing.assert_allclose(np.asarray(ax.collections[0].get_offsets()), cells)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "weight")
    # The legend says which colour is which time.
    legend = ax.get_legend()
    names = [t.get_text() for t in legend.get_texts()]
    assert legend.get_title().get_text() == "time" and names == ["0", "0.5", "2", "paths"]
    ax.figure.canvas.draw()
    ours = [to_rgba(dot.get_color()) for dot in legend.get_lines()[:3]]
    np.testing.assert_allclose(ax.collections[0].get_facecolors()[::3], ours)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (
            line_density,
            {"site": "z"},
            r"takes 'z', a particle site of shape \(\)",
        ),
        (line_density, {}, "site= must say"),
        (ellipses, {"coordinates": (0, 3)}, r"coordinates \(0, 3\)"),
        (particle_cloud, {"site": "w", "coordinates": (0, 5)}, "two of 0 to 4"),
        (particles_over_time, {"site": "s"}, "numbers, of points in the plane"),
        (animate, {}, "site= must be one particle site"),
        (trajectories, {"units": [1.0]}, "2 coordinates need as many units"),
    ],
)
def test_what_cannot_be_drawn(exported, function, options, words) -> None:
    with pytest.raises(ValueError, match=words):
        function(exported, **options)
