"""Pictures of the stored diagnostics."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from mmfld_ppl.inference_data.groups import from_groups
from mmfld_ppl.plots.boundary import boundary_slack
from mmfld_ppl.plots.fixed_point import fixed_point
from mmfld_ppl.plots.free_energy import trace_free_energy
from mmfld_ppl.plots.moves import trace_moves
from mmfld_ppl.plots.objective import trace_objective
from mmfld_ppl.plots.particle_number import particle_number
from mmfld_ppl.plots.stein import trace_stein
from tests.inference_data.made_up import CHAINS, made_up


@pytest.fixture(scope="module")
def exported():
    groups = made_up()
    shares = np.array([0.01, 0.05, 0.5])
    slack = np.tile(shares, (CHAINS, 1, 1))
    groups["mean_field"] = groups["mean_field"].assign(
        slack=(("chain", "bounded_site", "quantile"), slack),
        proximal_slack=(("chain", "bounded_site", "quantile"), 2 * slack),
    )
    groups["mean_field"] = groups["mean_field"].assign_coords(
        quantile=shares, subsample=["quarter", "half", "all", "pooled"]
    )
    return from_groups(groups, {})


def left(*statistics: str, **attrs):
    """A run with these statistics of its measures alone."""
    groups = made_up()
    groups["mean_field"] = groups["mean_field"][list(statistics)].assign_attrs(attrs)
    groups["sample_stats"] = groups["sample_stats"][["objective"]]
    return from_groups(groups, {})


def test_a_line_a_chain_and_the_range_of_the_minimum(exported) -> None:
    ax = trace_free_energy(exported)
    assert len(ax.lines) == CHAINS
    low, high = ax.patches[0].get_y(), ax.patches[0].get_y() + ax.patches[0].get_height()
    energy = exported["mean_field"]["free_energy"]
    assert high == pytest.approx(float(energy.mean()))
    # The gap and two of its standard errors.
    assert high - low == pytest.approx(0.0002 + 2 * 0.001)


def test_panels_of_the_moves(exported) -> None:
    axes = trace_moves(exported)
    assert set(axes) == {"acceptance_rate", "collective_ratio"}
    assert all(len(ax.lines) >= CHAINS for ax in axes.values())


def test_many_draws_are_a_line_of_means_in_a_band() -> None:
    drawn = np.random.default_rng(0).normal(size=(CHAINS, 1101))
    groups = {"sample_stats": xr.Dataset({"objective": (("chain", "draw"), drawn)})}
    ax = trace_objective(from_groups(groups, {}))
    for line, band, values in zip(ax.lines, ax.collections, drawn, strict=True):
        at, mean = line.get_xydata().T
        assert len(at) == 367 and at[0] == 1 and at[-1] == 1099
        np.testing.assert_allclose(mean, values.reshape(-1, 3).mean(1))
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (values.min(), values.max())


def test_slack_against_that_of_the_fixed_point(exported) -> None:
    ax = boundary_slack(exported)
    ours, theirs = ax.lines[0].get_xdata(), ax.lines[1].get_xdata()
    np.testing.assert_allclose(theirs, 2 * np.asarray(ours))


def test_the_discrepancy_of_draws(exported) -> None:
    ax = trace_stein(exported)
    along = exported["mean_field"]["stein_along"]
    for line, values in zip(ax.lines, along.values, strict=False):
        np.testing.assert_array_equal(line.get_xdata(), along["stein_draw"])
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert ax.lines[CHAINS].get_ydata()[0] == pytest.approx(0.002)


def test_the_objective_by_size(exported) -> None:
    ax = particle_number(exported)
    x, y = ax.lines[0].get_xydata().T
    assert np.all(np.diff(x) < 0) and np.all(np.diff(y) < 0)
    assert {t.get_text() for t in ax.texts} == {"quarter", "half", "all", "pooled"}


@pytest.mark.parametrize("draw", [boundary_slack, trace_stein, particle_number, trace_moves])
def test_what_is_dashed_has_a_name(draw, exported) -> None:
    drawn = draw(exported)
    for ax in drawn.values() if isinstance(drawn, dict) else [drawn]:
        dashed = {line.get_label() for line in ax.lines if line.get_linestyle() == "--"}
        named = ax.get_legend().get_texts() if ax.get_legend() else []
        # Of several with one meaning one is named; the others' labels begin with an underscore.
        named_dashes = {label for label in dashed if not label.startswith("_")}
        assert bool(dashed) == bool(named_dashes)
        assert named_dashes <= {text.get_text() for text in named}


def test_gap_and_discrepancy_of_each_chain(exported) -> None:
    axes = fixed_point(exported)
    assert set(axes) == {"gap", "stein"} and axes.figure.axes == list(axes.values())
    assert all([t.get_text() for t in ax.get_xticklabels()] == list("0123") for ax in axes.values())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (trace_moves, "none of the statistics"),
        (boundary_slack, "has a boundary"),
        (trace_stein, "at most 64 numbers"),
    ],
)
def test_runs_that_lack_what_is_drawn(function, words) -> None:
    with pytest.raises(ValueError, match=words):
        function(left("optimality_gap"))


@pytest.mark.parametrize("function", [boundary_slack, fixed_point, particle_number, trace_stein])
@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"global_sites": "'c'"}, "The particles follow 'c'"),
        ({"num_blocks": 3}, "one of 3 measures"),
        ({"num_particles": 5}, "has 5 particles, too few"),
    ],
)
def test_measures_that_were_not_pooled(function, attrs, words) -> None:
    with pytest.raises(ValueError, match=words):
        function(left("free_energy", **attrs))
