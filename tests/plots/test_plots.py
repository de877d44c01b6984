"""Pictures: what is drawn, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mpltern  # noqa: F401  (registers the ternary projection)
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from mmfld_ppl import Measure, plots
from mmfld_ppl.inference_data.groups import dataset, from_groups
from mmfld_ppl.plots.density import centres, grid_density
from mmfld_ppl.plots.plane import grid_steps
from mmfld_ppl.plots.simplex import SIDE, to_plane, to_simplex

CHAINS, DRAWS, ATOMS = 2, 5, 30
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def exported():
    rng = np.random.default_rng(0)
    shape = (CHAINS, DRAWS, ATOMS)
    sites = {"z": rng.random((*shape, 2)), "x": rng.dirichlet([3, 2, 1], shape)}
    posterior = {
        name: (("chain", "draw", "atom", f"{name}_dim_0"), value) for name, value in sites.items()
    }
    coords = {"chain": range(CHAINS), "draw": range(DRAWS)}
    coords |= {"z_dim_0": range(2), "x_dim_0": range(3), "atom": range(ATOMS)}
    names = ("objective", "step_size")
    stats = {name: (("chain", "draw"), rng.random((CHAINS, DRAWS))) for name in names}
    groups = {
        "posterior": xr.Dataset(posterior, coords, {"particle_plate": "atom"}),
        "sample_stats": xr.Dataset(stats),
    }
    return from_groups(groups, {})


def grid_measure(side: int = 4) -> tuple[np.ndarray, np.ndarray]:
    at = (np.arange(side) + 0.5) / side
    points = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    weights = np.arange(1.0, side**2 + 1)
    return points[2:], weights[2:] / weights[2:].sum()  # an empty corner is still on the grid


def test_a_line_a_chain_and_a_reference(exported) -> None:
    ax = plots.trace_objective(exported, reference=0.5)
    objective = exported["sample_stats"]["objective"].values
    for line, values in zip(ax.lines, objective, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "chain 0",
        "chain 1",
        "reference",
    ]
    assert ax.get_xlabel() and ax.get_ylabel()


def test_functions_draw_in_the_axes_that_they_are_given(exported) -> None:
    for function in (
        plots.trace_objective,
        plots.particle_cloud,
        plots.particle_density,
        plots.simplex,
    ):
        kind = "ternary" if function is plots.simplex else None
        _, ax = plt.subplots(subplot_kw={"projection": kind})
        assert function(exported, ax=ax) is ax
        assert ax.has_data()
        ax.figure.canvas.draw()


def test_the_cloud_has_every_particle_of_one_draw(exported) -> None:
    ax = plots.particle_cloud(exported, draw=2, extent=(0, 1, 0, 2))
    drawn = np.asarray(ax.collections[0].get_offsets())
    expected = exported["posterior"]["z"].values[:, 2].reshape(-1, 2)
    order = [np.lexsort(points.T) for points in (drawn, expected)]
    np.testing.assert_allclose(drawn[order[0]], expected[order[1]])
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 1), (0, 2))
    assert ax.get_xlabel() == "z[0]"


def test_a_barycenter_beside_its_inputs(exported) -> None:
    points, weights = grid_measure()
    scattered = Measure(np.random.default_rng(1).random((7, 2)), np.full(7, 1 / 7))
    axes = plots.barycenter(exported, [(points, weights), scattered], labels=["grid", "free"])
    assert set(axes) == {"inputs", "particles", "density", "objective"}
    grid, free = axes["inputs"]
    assert grid.get_title() == "grid"
    image = grid.images[0]
    assert image.get_array().shape == (4, 4)
    # Row 0 is at the bottom, and the cells without an atom are empty.
    np.testing.assert_allclose(image.get_array().ravel()[2:], weights)
    np.testing.assert_allclose(image.get_array().ravel()[:2], 0)
    np.testing.assert_allclose(image.get_extent(), (0, 1, 0, 1))
    assert len(free.collections[0].get_offsets()) == 7
    axes["objective"].figure.canvas.draw()


TRIANGLE = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
BOX = "independent(Interval(lower_bound=0.0, upper_bound=1.0), 1)"
POLYGON = f"polytope(corners={TRIANGLE.tolist()})"


def held_in(exported, support: str, z: np.ndarray):
    """The run with its particles at z, (ATOMS, 2), in a support stated so."""
    dims = ("chain", "draw", "atom", "z_dim_0")
    posterior = dataset(exported, "posterior").assign(z=(dims, np.tile(z, (CHAINS, DRAWS, 1, 1))))
    posterior = posterior.assign_attrs(supports=json.dumps({"z": support}))
    groups = {"posterior": posterior, "sample_stats": dataset(exported, "sample_stats")}
    return from_groups(groups, {})


@pytest.mark.parametrize(
    ("support", "low", "high"),
    [
        (POLYGON, [0, 0], [2, 1]),
        ("ball(radius=2.0)", [-2, -2], [2, 2]),
        # Its sides are far from the particles, and near to the inputs.
        (BOX, [0, 0], [1, 1]),
    ],
)
@pytest.mark.parametrize("on_grid", [True, False])
def test_the_panels_of_a_barycenter_have_one_view_and_the_whole_border(
    exported, support, low, high, on_grid
) -> None:
    rng = np.random.default_rng(3)
    run = held_in(exported, support, rng.uniform(0.3, 0.4, (ATOMS, 2)))
    free = np.array([[0.1, 0.1], [0.9, 0.4], [0.2, 0.8]]), np.full(3, 1 / 3)
    axes = plots.barycenter(run, [grid_measure()] * 2 if on_grid else [free] * 2)
    panels = [*axes["inputs"], axes["particles"], axes["density"]]
    left, right, bottom, top = *panels[0].get_xlim(), *panels[0].get_ylim()
    assert left < low[0] and bottom < low[1] and right > high[0] and top > high[1]
    for ax in panels:
        outline = ax.patches[0].get_xy()
        np.testing.assert_allclose(outline.min(axis=0), low, atol=2e-3)
        np.testing.assert_allclose(outline.max(axis=0), high, atol=2e-3)
        assert (*ax.get_xlim(), *ax.get_ylim()) == (left, right, bottom, top)
    # It is the only frame of the small ones.
    assert not any(spine.get_visible() for spine in axes["inputs"][0].spines.values())


def test_a_barycenter_in_the_whole_plane_has_frames_and_no_border(exported) -> None:
    axes = plots.barycenter(exported, [grid_measure()])
    assert not axes["inputs"][0].patches and not axes["particles"].patches
    assert all(spine.get_visible() for spine in axes["inputs"][0].spines.values())


def test_a_view_that_is_given_has_the_sides_in_it(exported) -> None:
    run = held_in(exported, BOX, np.random.default_rng(3).uniform(0.3, 0.4, (ATOMS, 2)))
    assert not plots.particle_cloud(run).patches
    for draw in (plots.particle_cloud, plots.particle_density):
        outline = draw(run, extent=(-0.1, 0.6, -0.1, 1.1)).patches[0].get_xy()
        np.testing.assert_array_equal([outline.min(axis=0), outline.max(axis=0)], [[0, 0], [1, 1]])


def test_a_picture_of_parts_is_saved_as_any_other(exported, tmp_path) -> None:
    for drawn in (
        plots.barycenter(exported, [grid_measure()]),
        plots.trace_moves(exported),
        plots.trace_objective(exported),
    ):
        drawn.figure.savefig(tmp_path / "picture.png")
    fig = plt.figure(layout="constrained")
    part = fig.subfigures(1, 2)[1]
    assert plots.trace_moves(exported, fig=part).figure is fig
    assert plots.barycenter(exported, [grid_measure()], fig=part).figure is fig


def test_a_barycenter_of_many_inputs_in_a_given_figure(exported) -> None:
    fig = plt.figure(layout="constrained")
    axes = plots.barycenter(exported, [grid_measure()] * 12, fig=fig)
    assert len(axes["inputs"]) == 12
    assert axes["density"].get_figure(root=True) is fig


def test_marks_on_the_simplex(exported) -> None:
    ax = plots.simplex(exported, labels=["a", "b", "c"], marks={"q": np.array([0.2, 0.3, 0.5])})
    at = ax.get_legend_handles_labels()[0][0].get_xydata()[0]
    np.testing.assert_allclose(to_simplex(at), [0.2, 0.3, 0.5], atol=1e-12)
    corners = (ax.get_llabel(), ax.get_rlabel(), ax.get_tlabel())
    assert corners == ("a", "b", "c")
    # mpltern's own methods put the point in the same place.
    theirs = ax.plot([0.5], [0.2], [0.3], "o")[0].get_xydata()[0]
    np.testing.assert_allclose(theirs, at, atol=1e-12)


def test_the_triangle_and_the_simplex_are_one() -> None:
    x = np.random.default_rng(2).dirichlet(np.ones(3), 50)
    np.testing.assert_allclose(to_simplex(to_plane(x)), x, atol=1e-12)
    corners = to_plane(np.eye(3))
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, SIDE)
    with pytest.raises(ValueError, match="sum to one"):
        to_plane(np.array([0.5, 0.5, 0.5]))


def test_a_density_has_the_mass_of_its_points_and_no_edge() -> None:
    rng = np.random.default_rng(3)
    extent, cells = (0.0, 1.0, 0.0, 2.0), 64
    x, y = centres(extent, cells)
    cell = (x[1] - x[0]) * (y[1] - y[0])
    points = rng.normal((0.5, 1.0), 0.05, (2000, 2))
    density = grid_density(points, extent, 0.02, cells)
    assert density.values.sum() * cell == pytest.approx(1, abs=1e-3)
    assert y[np.unravel_index(density.values.argmax(), (cells, cells))[0]] == pytest.approx(
        1, abs=0.1
    )
    # Uniform points on part of the rectangle: flat up to its edges, and nothing beyond.
    inside = np.broadcast_to(x < 0.5, (cells, cells))
    uniform = rng.random((400_000, 2)) * (0.5, 2.0)
    flat = grid_density(uniform, extent, 0.05, cells, inside).values
    assert np.isnan(flat[~inside]).all()
    np.testing.assert_allclose(flat[inside], 1.0, atol=0.15)


@pytest.mark.parametrize(
    ("points", "steps"),
    [
        (grid_measure()[0], [0.25, 0.25]),
        (grid_measure()[0].astype(np.float32) * [1, 2], [0.25, 0.5]),
        (np.random.default_rng(0).random((20, 2)), None),
        (np.array([[0.0, 0.0], [0.0, 1.0]]), None),
        (np.array([[0.0, 0.2], [1.0, 0.7]]), None),
        (np.arange(6.0).reshape(3, 2), None),
        (np.random.default_rng(0).random((50_000, 2)).astype(np.float32), None),
        (np.random.default_rng(0).random((60, 2)).round(2), None),
    ],
)
def test_grids_are_found(points, steps) -> None:
    found = grid_steps(points)
    assert found is None if steps is None else np.allclose(found, steps)


def test_one_draw_is_a_point(exported) -> None:
    ax = plots.trace_objective(exported.isel(draw=[0]))
    assert {line.get_marker() for line in ax.lines} == {"o"}


def test_the_simplex_takes_ternary_axes_only(exported) -> None:
    with pytest.raises(ValueError, match="import mpltern"):
        plots.simplex(exported, ax=plt.subplots()[1])


def test_legends_stand_beside_the_lines(exported) -> None:
    ax = plots.trace_objective(exported, reference=0.5)
    ax.figure.canvas.draw()
    assert not ax.get_legend().get_window_extent().overlaps(ax.patch.get_window_extent())


def test_every_function_has_its_picture() -> None:
    page = (DOCS / "pictures.md").read_text()
    assert not [name for name in plots.__all__ if f"`mm.plots.{name}(" not in page]
    images = re.findall(r"\]\((images/.*?)\)", page)
    assert images and not [image for image in images if not (DOCS / image).is_file()]


def without_particles():
    x = xr.Dataset({"x": (("chain", "draw"), np.ones((2, 3)))})
    return from_groups({"posterior": x, "sample_stats": x}, {})


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (
            plots.particle_cloud,
            {"site": "y"},
            r"takes 'y', a particle site of shape \(any\), and the run has 'z' of shape \(2,\)",
        ),
        (plots.simplex, {"site": "z"}, r"takes 'z', a particle site of shape \(3\)"),
        (plots.barycenter, {"inputs": []}, "needs inputs"),
        (plots.barycenter, {"inputs": [grid_measure()], "labels": []}, "as many labels, got 0"),
        (plots.barycenter, {"inputs": [(np.ones((3, 1)), np.ones(3))]}, r"got \(3, 1\) and \(3,\)"),
    ],
)
def test_what_cannot_be_drawn(exported, function, options, words) -> None:
    with pytest.raises(ValueError, match=words):
        function(exported, **options)


def test_runs_that_lack_what_is_drawn() -> None:
    with pytest.raises(ValueError, match="no objective"):
        plots.trace_objective(without_particles())
    with pytest.raises(ValueError, match="no particles"):
        plots.simplex(without_particles())
    with pytest.raises(ValueError, match="no group 'sample_stats'"):
        plots.trace_objective(from_groups({"posterior": xr.Dataset()}, {}))
