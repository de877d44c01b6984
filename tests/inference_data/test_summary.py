"""Tables of runs."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr

from mmfld_ppl.inference_data import chain_summary, dataset, summary, to_inference_data
from mmfld_ppl.inference_data.groups import from_groups


@pytest.fixture(scope="module")
def exported(mixed_run):
    return to_inference_data(mixed_run, dims={"gx": ["corner"]}, coords={"corner": list("abc")})


def test_rows_are_measures_not_particles(exported) -> None:
    corners = [f"[{c}]" for c in "abc"]
    assert list(summary(exported).index) == [
        "objective",
        "lp",
        "c",
        *(f"{f}(x){c}" for f in ("mean", "sd") for c in corners),
        "mean(g)",
        "sd(g)",
        *(f"{f}(gx){c}" for f in ("mean", "sd") for c in corners),
        "mean[0]",
        "mean[1]",
        "mean[2]",
    ]


@pytest.mark.parametrize(
    ("var_names", "rows"),
    [
        ("c", ["c"]),
        (["lp", "c"], ["lp", "c"]),
        (["~x", "~g", "~gx", "~mean"], ["objective", "lp", "c"]),
        (["c", "lp", "~lp"], ["c"]),
    ],
)
def test_variables_are_chosen_as_in_arviz(exported, var_names, rows) -> None:
    assert list(summary(exported, var_names=var_names).index) == rows


@pytest.mark.parametrize("unknown", ["z", "~z"])
def test_unknown_variables(exported, unknown) -> None:
    with pytest.raises(ValueError, match=r"var_names names \['z'\], which is none of"):
        summary(exported, var_names=[unknown])


def test_numbers_are_those_of_arviz(exported) -> None:
    table, posterior = summary(exported), dataset(exported, "posterior").astype(float)
    c, spread = posterior[["c"]], posterior["g"].std("atom").to_dataset(name="s")
    assert table.loc["c", "mean"] == pytest.approx(float(c["c"].mean()), rel=1e-5)
    assert table.loc["c", "ess_bulk"] == pytest.approx(float(az.ess(c)["c"]))
    # Two draws are equally far from a median, but for rounding: they may change places.
    assert table.loc["c", "r_hat"] == pytest.approx(float(az.rhat(c)["c"]), rel=1e-3)
    assert table.loc["sd(g)", "mcse_mean"] == pytest.approx(float(az.mcse(spread)["s"]))
    assert table.loc["sd(g)", "sd"] == pytest.approx(float(spread["s"].std(ddof=1)), rel=1e-4)


def test_one_chain_or_draw_may_be_selected_by_its_number(exported) -> None:
    for number, several in (({"chain": 1}, {"chain": [1]}), ({"draw": 2}, {"draw": [2]})):
        one, same = (summary(exported.isel(**at)) for at in (number, several))
        xr.testing.assert_equal(one.to_xarray(), same.to_xarray())


def test_particles_count_by_their_masses() -> None:
    rng, dims = np.random.default_rng(0), ("chain", "draw", "atom")
    x, mass = rng.normal(size=(2, 20, 8)), rng.exponential(size=(2, 20, 8))
    attrs = {"particle_plate": "atom", "mass_site": "mass"}
    posterior = xr.Dataset({"x": (dims, x), "mass": (dims, mass)}, attrs=attrs)
    table = summary(from_groups({"posterior": posterior}, {}))
    share = mass / mass.sum(-1, keepdims=True)
    mean = (share * x).sum(-1)
    sd = np.sqrt((share * (x - mean[..., None]) ** 2).sum(-1))
    assert table.loc["mean(x)", "mean"] == pytest.approx(mean.mean())
    assert table.loc["sd(x)", "mean"] == pytest.approx(sd.mean())
    assert table.loc["mean(mass)", "mean"] == pytest.approx(mass.mean())


def test_several_measures_have_rows_each() -> None:
    rng, dims = np.random.default_rng(0), ("chain", "draw", "atom")
    x, mass = rng.normal(size=(2, 20, 12, 2)), rng.exponential(size=(2, 20, 12))
    angle = (np.arange(12) // 4) * 2.0 + np.pi + 0.1 * rng.normal(size=(2, 20, 12))
    attrs = {"particle_plate": "atom", "mass_site": "mass", "num_particles": 12, "num_blocks": 3}
    attrs["supports"] = '{"angle": "Circular(lower_bound=-3.1415927, upper_bound=3.1415927)"}'
    posterior = xr.Dataset(
        {
            "x": ((*dims, "axis"), x),
            "angle": (dims, (angle + np.pi) % (2 * np.pi) - np.pi),
            "c": (dims[:2], x[..., 0, 0]),
            "mass": (dims, mass),
        },
        {"atom": range(12), "axis": ["u", "v"]},
        attrs,
    )
    table = summary(from_groups({"posterior": posterior}, {}))
    share = mass[..., 4:8] / mass[..., 4:8].sum(-1, keepdims=True)
    mean = (share * x[..., 4:8, 1]).sum(-1)
    assert table.loc["mean(x)[1, v]", "mean"] == pytest.approx(mean.mean())
    assert table.loc["mean(angle)[0]", "sd"] < 0.1 and table.loc["sd(angle)[0]", "mean"] < 0.2
    assert len(table) == 2 * (3 * 2 + 3 + 3) + 1
    # Where some are left out, none knows its block.
    some = from_groups({"posterior": posterior.isel(atom=slice(4))}, {})
    assert "mean(x)[u]" in summary(some).index
    none = from_groups({"posterior": posterior[["c"]]}, {})
    assert list(summary(none).index) == ["c"]


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_errors_in_any_unit(unit) -> None:
    x = np.random.default_rng(0).normal(size=(2, 50))
    rows = [
        summary(from_groups({"posterior": xr.Dataset({"x": (("chain", "draw"), v)})}, {}))
        for v in (x.astype(np.float32), (unit * x).astype(np.float32))
    ]
    for column in ("mean", "sd", "mcse_mean", "mcse_sd"):
        assert rows[1].loc["x", column] == pytest.approx(unit * rows[0].loc["x", column], rel=1e-4)


def test_chosen_variables(exported) -> None:
    assert list(summary(exported, var_names=["g", "lp"]).index) == ["mean(g)", "sd(g)", "lp"]
    with pytest.raises(ValueError, match="var_names names"):
        summary(exported, var_names=["F"])


def test_rounded_as_by_arviz(exported) -> None:
    rounded = summary(exported, round_to=2)
    assert rounded.equals(summary(exported).round(2)) and not rounded.equals(summary(exported))


def test_one_chain_has_no_r_hat(exported) -> None:
    one = to_one_chain(exported)
    table = summary(one)
    assert table["r_hat"].isna().all()
    assert table["ess_bulk"].notna().all()


def to_one_chain(idata):
    from mmfld_ppl.inference_data.groups import from_groups

    names = ("posterior", "sample_stats")
    return from_groups({g: dataset(idata, g).isel(chain=[0]) for g in names}, idata.attrs)


def test_another_kernel_has_fewer_rows(nuts_run) -> None:
    idata = to_inference_data(nuts_run)
    assert "mean(g)" in summary(idata).index
    assert "objective" not in summary(idata).index
    assert list(chain_summary(idata).columns) == ["diverging", "boundary_slack"]


def test_how_each_chain_ran(exported) -> None:
    table, stats = chain_summary(exported), dataset(exported, "sample_stats")
    assert list(table.index) == [0, 1]
    np.testing.assert_allclose(table["acceptance_rate"], stats["acceptance_rate"].mean("draw"))
    np.testing.assert_allclose(table["step_size"], stats["step_size"][:, -1])
    np.testing.assert_allclose(table["collective_ratio"], stats["collective_ratio"].mean("draw"))
    np.testing.assert_allclose(table["boundary_slack"], stats["boundary_slack"].min("draw"))
    assert table["diverging"].tolist() == [0, 0]
