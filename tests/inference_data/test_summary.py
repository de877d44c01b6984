"""Tables of runs."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest

from mmfld_ppl.inference_data import chain_summary, dataset, summary, to_inference_data


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


def test_numbers_are_those_of_arviz(exported) -> None:
    table, posterior = summary(exported), dataset(exported, "posterior")
    c, spread = posterior[["c"]], posterior["g"].std("atom").to_dataset(name="s")
    assert table.loc["c", "mean"] == pytest.approx(float(c["c"].mean()), rel=1e-5)
    assert table.loc["c", "ess_bulk"] == pytest.approx(float(az.ess(c)["c"]))
    assert table.loc["c", "r_hat"] == pytest.approx(float(az.rhat(c)["c"]))
    assert table.loc["sd(g)", "mcse_mean"] == pytest.approx(float(az.mcse(spread)["s"]))
    assert table.loc["sd(g)", "sd"] == pytest.approx(float(spread["s"].std(ddof=1)), rel=1e-4)


def test_chosen_variables(exported) -> None:
    assert list(summary(exported, var_names=["g", "lp"]).index) == ["mean(g)", "sd(g)", "lp"]
    with pytest.raises(ValueError, match="var_names names"):
        summary(exported, var_names=["F"])


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
