"""Verdicts on exported runs, made up so that one thing at a time is wrong."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from numpyro.infer import MCMC, NUTS

from mmfld_ppl.inference_data import dataset, diagnose, summary, to_inference_data
from mmfld_ppl.inference_data.groups import from_groups
from tests.inference_data.made_up import ATOMS, CHAINS, DRAWS, TAU, made_up


def checks_of(groups) -> dict:
    return {c.name: c for c in diagnose(from_groups(groups, {})).checks}


def verdicts(groups) -> dict[str, str]:
    return {name: check.verdict for name, check in checks_of(groups).items()}


@pytest.mark.parametrize("metropolize", [True, False])
def test_nothing_is_wrong_with_a_good_run(metropolize) -> None:
    found = diagnose(from_groups(made_up(metropolize), {}))
    assert found.verdict == "ok", found
    assert {c.verdict for c in found.checks} == {"ok"}
    assert repr(found).startswith("Nothing is wrong with this run: ")
    assert list(found.table.columns) == ["verdict", "value", "advice"]


def set_chain(variable: str, value, group: str = "mean_field", chain: int | slice = 1):
    def plant(groups):
        values = groups[group][variable].values
        values[chain] = value

    return plant


def shifted(groups):
    # One chain is elsewhere, by half of a particle's spread.
    groups["posterior"]["x"].values[2] += 0.6


def solves(error, converged=False):
    def plant(groups):
        found = {
            "marginal_error": np.full((CHAINS, 3), 1e-4),
            "iterations": np.full((CHAINS, 3), 40),
            "converged": np.ones((CHAINS, 3), bool),
        }
        found["marginal_error"][2, 1], found["converged"][2, 1] = error, converged
        groups["mean_field"] = groups["mean_field"].assign(
            {f"transport_{n}": (("chain", "transport"), v) for n, v in found.items()}
        )

    return plant


def on_the_way(stays: float):
    """Trajectories of which this share stays in the middle."""

    def plant(groups):
        rng, times = np.random.default_rng(1), np.array([0.0, 1.0, 3.0])
        seen = times[:, None, None] + 0.5 * rng.standard_normal((3, 40, 2))
        found = seen + stays * (times.mean() - times)[:, None, None]
        along = ("chain", "draw", "time", "particle", "coordinate")
        groups["marginals"] = xr.Dataset({"x": (along, found[None, None])}, {"time": times})
        groups["snapshots"] = xr.Dataset(
            {
                "x": (("observed_cell", "coordinate"), seen.reshape(-1, 2)),
                "observed_time": (("observed_cell",), np.repeat(times, 40)),
                "mass": (("observed_cell",), np.full(120, 1 / 40)),
            }
        )

    return plant


def certified(gap):
    def plant(groups):
        shape = groups["sample_stats"]["objective"].shape
        groups["sample_stats"] = groups["sample_stats"].assign(
            certificate=(("chain", "draw"), np.full(shape, gap)),
            components=(("chain", "draw"), np.full(shape, 3.14)),
        )

    return plant


def test_a_step_that_is_held_short_is_a_reason_for_replicates_to_differ() -> None:
    groups = made_up()
    shifted(groups)
    assert "collective ratio" not in checks_of(groups)["chains agree"].advice
    groups["sample_stats"]["acceptance_rate"].values[:] = 0.99
    advice = checks_of(groups)["chains agree"].advice
    assert "several minimisers" in advice and "collective ratio keeps steps shorter" in advice
    assert "masses" not in advice
    groups["posterior"].attrs["functional"] = "MixtureLikelihood"
    assert "masses=dist.Exponential(1.)" in checks_of(groups)["chains agree"].advice
    groups["sample_stats"]["objective"].values[:, ::50] += 1.0
    assert "allows no longer step" in checks_of(groups)["accuracy"].advice


def test_the_largest_r_hat_is_stated_beside_the_largest_spread() -> None:
    groups = made_up()
    noise = 1e-4 * np.random.default_rng(0).standard_normal((CHAINS, DRAWS, 1))
    noise[2] += 1e-3
    groups["posterior"]["y"] = ("chain", "draw", "atom"), noise + np.linspace(0, 1, ATOMS)
    shifted(groups)
    value = checks_of(groups)["chains agree"].value
    assert " for mean(x), averages" in value and " for mean(y), by " in value


def negligible(groups):
    # R-hat sees it, and nobody else would.
    groups["posterior"]["x"].values[2] += 0.03
    groups["sample_stats"]["objective"].values[2] += 0.03 * TAU


def overshooting(groups):
    groups["posterior"]["x"].values[1] += 0.3 * (-1) ** np.arange(DRAWS)[:, None]


def few(groups):
    measure = groups["mean_field"].drop_vars(["objective_by_size", "objective_by_size_error"])
    groups["mean_field"] = measure.assign_attrs(num_particles=5)


def sinking(groups):
    groups["sample_stats"]["objective"].values[:] += TAU * np.linspace(2, 0, DRAWS)


def narrowing(groups):
    # What F does not see: all particles come closer to their mean.
    x = groups["posterior"]["x"].values
    x[:] = x.mean() + (x - x.mean()) * np.exp(np.linspace(2, 0, DRAWS))[:, None]


def of_another_width(groups):
    x = groups["posterior"]["x"].values
    x[1] = x[1].mean() + (x[1] - x[1].mean()) * 1.3


def still(groups):
    groups["posterior"]["x"].values[3, :, :10] = 1.5


def standstill(groups):
    groups["posterior"]["x"].values[3] = groups["posterior"]["x"].values[3, :1]
    groups["sample_stats"]["acceptance_rate"].values[3] = 0.0


def told_apart(groups):
    groups["mean_field"]["stein_p_value"].values[1] = 1e-3
    groups["mean_field"]["proximal_divergence"].values[1] = 0.03


def flat(groups):
    for name in ("ratio", "rounding"):
        groups["mean_field"][f"first_variation_{name}"].values[1] = np.nan


def unequal(groups):
    groups["mean_field"]["objective_by_size"].values[:, 2] = 0.3 + 0.2 * TAU


def test_particles_that_floating_point_does_not_tell_apart() -> None:
    """Are said to be so, and nothing else that follows from it."""
    groups = made_up()
    groups["posterior"]["x"] = (groups["posterior"]["x"] + 1e5).astype(np.float32)
    set_chain("optimality_gap", np.inf)(groups)
    set_chain("first_variation_ratio", 0.5)(groups)
    checks = checks_of(groups)
    assert checks["resolution"].verdict == "warn"
    assert "numbers of float32 lie within" in checks["resolution"].value
    assert "subtract their mean" in checks["resolution"].advice
    for name in ("fixed point", "first variation"):
        assert checks[name].verdict == "not checked" and "resolution" in checks[name].advice
    assert "resolution" not in checks_of(made_up())


def test_chains_are_called_by_their_names() -> None:
    groups = made_up()
    for plant in (standstill, set_chain("optimality_gap", np.inf, chain=3)):
        plant(groups)
    some = {name: group.isel(chain=[1, 3]) for name, group in groups.items()}
    checks = checks_of(some)
    for name in ("moves", "stuck particles", "fixed point"):
        assert "n chain 3" in checks[name].advice


def test_particles_that_were_left_out_are_not_checked() -> None:
    groups = made_up()
    groups["posterior"] = groups["posterior"].rename(x="m").mean("atom", keep_attrs=True)
    assert verdicts(groups)["stuck particles"] == "not checked"


def test_divergences_of_nuts_are_no_refusals() -> None:
    groups = made_up()
    groups["posterior"].attrs["kernel_settings"] = "{}"
    assert verdicts(groups)["moves"] == "ok"
    set_chain("diverging", True, "sample_stats")(groups)
    found = checks_of(groups)["moves"]
    assert found.verdict == "warn" and "25.0% of draws end divergent" in found.value


def test_noise_that_would_hide_a_movement_is_called_so() -> None:
    groups = made_up()
    noise = np.random.default_rng(0).normal(size=(CHAINS, DRAWS))
    groups["sample_stats"]["objective"] *= noise
    found = checks_of(groups)["stationarity"]
    assert found.verdict == "ok" and "(no more than its noise)" in found.value
    groups["sample_stats"]["objective"].values[:] = noise.cumsum(axis=1)
    found = checks_of(groups)["stationarity"]
    assert found.verdict == "warn" and "(no more than its noise)" in found.value
    assert "cannot tell" in found.advice


def test_draws_of_nuts_may_alternate() -> None:
    groups = made_up()
    overshooting(groups)
    groups["posterior"].attrs["kernel_settings"] = "{}"
    assert "overshoot" not in checks_of(groups)


@pytest.mark.parametrize(
    ("plant", "name", "verdict", "words"),
    [
        (set_chain("optimality_gap", 0.01), "fixed point", "warn", "In chain 1 the particles"),
        (set_chain("optimality_gap", 0.1), "fixed point", "fail", "longer warm-up"),
        (set_chain("optimality_gap", np.inf), "fixed point", "fail", "In chain 1"),
        (set_chain("optimality_gap", np.nan), "fixed point", "fail", "have no density"),
        (set_chain("optimality_gap_error", np.nan), "fixed point", "fail", "have no density"),
        (set_chain("proximal_memory", 0.9), "fixed point", "warn", "far apart"),
        (set_chain("stein_p_value", 1e-3), "Stein discrepancy", "ok", ""),
        (set_chain("stein_p_value", np.nan), "Stein discrepancy", "not checked", "at most 64"),
        (told_apart, "Stein discrepancy", "warn", "told apart"),
        (set_chain("first_variation_ratio", 0.8), "first variation", "fail", "not the derivative"),
        (set_chain("first_variation_ratio", np.nan), "first variation", "fail", "not the deriv"),
        (flat, "first variation", "ok", ""),
        (set_chain("objective", np.inf, "sample_stats"), "stationarity", "fail", "overflow"),
        (set_chain("pile_up", 0.1), "boundary", "warn", "piles up at the boundary, though"),
        (set_chain("pile_up", 0.5), "boundary", "fail", "piles up"),
        (set_chain("pile_up", 0.002, chain=slice(None)), "boundary", "warn", "not come to the"),
        (set_chain("pile_up", 0.002), "boundary", "ok", ""),
        (set_chain("collective_ratio", 2.0, "sample_stats"), "moves", "fail", "overshoot"),
        (set_chain("acceptance_rate", 0.02, "sample_stats"), "moves", "warn", "too long"),
        (set_chain("diverging", True, "sample_stats"), "moves", "fail", "not finite"),
        (set_chain("acceptance_rate", 0.002, "sample_stats"), "moves", "fail", "too long"),
        (standstill, "moves", "fail", "too long"),
        (standstill, "stuck particles", "fail", "In chain 3 particles are stuck"),
        (shifted, "chains agree", "warn", "not reached the same measure"),
        (negligible, "chains agree", "ok", ""),
        (of_another_width, "chains agree", "warn", "not reached the same measure"),
        (overshooting, "overshoot", "fail", "may run away later on"),
        (sinking, "stationarity", "fail", "longer warm-up"),
        (narrowing, "stationarity", "fail", "longer warm-up"),
        (still, "stuck particles", "fail", "In chain 3 particles are stuck"),
        (unequal, "particle number", "warn", "Take about"),
        (few, "particle number", "warn", "Take 8 particles or more"),
        (set_chain("objective_by_size", np.nan), "particle number", "fail", "not finite"),
        (set_chain("objective_by_size", [1, 1, np.inf, 1]), "particle number", "fail", "infinite"),
        (set_chain("objective_by_size_error", np.nan), "particle number", "fail", "not finite"),
        (on_the_way(0.0), "snapshots", "ok", ""),
        (on_the_way(0.5), "snapshots", "warn", "must be well below 1"),
        (certified(0.01), "mixture", "ok", ""),
        (certified(0.2), "mixture", "not checked", "proves nothing"),
        (solves(3e-4, converged=True), "transport", "ok", ""),
        (solves(0.02), "transport", "warn", "1 of 12 solves stopped"),
        (solves(np.nan), "transport", "fail", "potential overflowed"),
        (solves(0.3), "transport", "fail", "max_iterations"),
    ],
)
def test_a_planted_fault_is_found_where_it_is(plant, name, verdict, words) -> None:
    groups = made_up()
    plant(groups)
    found = diagnose(from_groups(groups, {}))
    (check,) = [c for c in found.checks if c.name == name]
    assert check.verdict == verdict, check
    assert words in check.advice
    assert found.verdict == {"not checked": "ok"}.get(verdict, verdict)


def test_the_acceptance_that_an_unadjusted_run_would_have_had() -> None:
    for rate, verdict in ((0.97, "ok"), (0.8, "warn"), (0.3, "fail")):
        groups = made_up(metropolize=False)
        groups["mean_field"]["would_accept"].values[0] = rate
        assert verdicts(groups)["step size"] == verdict


@pytest.mark.parametrize(
    ("half_time", "verdict", "words"), [(5.0, "ok", ""), (40.0, "warn", "warm-up of 400 steps")]
)
def test_the_decay_of_a_warm_up(half_time, verdict, words) -> None:
    groups = made_up()
    groups["posterior"].attrs |= {"phase": "warmup", "thinning": 2}
    fall = TAU * 20 * 0.5 ** (2 * np.arange(DRAWS) / half_time)
    groups["sample_stats"]["objective"].values[:] += fall
    found = checks_of(groups)
    assert "stationarity" not in found
    check = found["decay"]
    assert check.verdict == verdict
    halved = float(check.value.split(" steps")[0].rsplit(" ", 1)[1])
    assert halved == pytest.approx(half_time, rel=0.05)
    assert "F + tau KL began where it ended" in check.value
    assert words in check.advice


def test_one_chain_and_few_draws() -> None:
    groups = {name: group.isel(chain=[0]) for name, group in made_up().items()}
    assert verdicts(groups)["chains agree"] == "not checked"
    groups["posterior"] = groups["posterior"].isel(draw=slice(5))
    assert verdicts(groups)["stuck particles"] == "not checked"


def test_without_the_group_of_the_measure() -> None:
    groups = made_up()
    del groups["mean_field"]
    found = diagnose(from_groups(groups, {}))
    (check,) = [c for c in found.checks if c.name == "fixed point"]
    assert check.verdict == "not checked"
    assert "diagnostics=True" in check.advice
    assert found.verdict == "ok"
    assert repr(found).startswith("Nothing wrong was found: ")
    left_out = "fixed point, Stein discrepancy, first variation, particle number, boundary"
    assert repr(found).splitlines()[0].endswith(f"not checked: {left_out}.")
    # They share one line of the report, and have a row each in the table.
    assert f"-     {left_out}: not checked" in repr(found)
    assert set(left_out.split(", ")) <= set(found.table.index)


def test_real_runs_of_every_kind(mixed_run, nuts_run, cloud_run) -> None:
    """All checks say something; the fixed point asks for diagnostics=True, and short runs are too
    short for those that want many draws."""
    for mcmc, drawn in ((mixed_run, True), (nuts_run, False), (cloud_run, False)):
        checks = {c.name: c.verdict for c in diagnose(to_inference_data(mcmc)).checks}
        assert checks["moves"] == "ok"
        assert checks["fixed point"] == "not checked"
        for name in ("stuck particles", "stationarity"):
            assert (checks[name] != "not checked") == drawn
        for name in ("chains agree", "accuracy"):
            assert checks[name] != "not checked"


def test_a_file_is_diagnosed_like_the_run(cloud_run, tmp_path) -> None:
    idata = to_inference_data(cloud_run, diagnostics=True)
    path = tmp_path / "run.nc"
    idata.to_netcdf(path, engine="h5netcdf")
    read = az.from_netcdf(path, engine="h5netcdf")
    assert repr(diagnose(read)) == repr(diagnose(idata))
    xr.testing.assert_identical(dataset(read, "mean_field").load(), dataset(idata, "mean_field"))


@pytest.mark.parametrize("one", [{"chain": 1}, {"draw": -1}])
def test_measures_of_a_selected_chain_are_selected_by_a_list(one) -> None:
    (dim,) = one
    with pytest.raises(ValueError, match=rf"'mean_field' has lost its dimension '{dim}'"):
        diagnose(from_groups(made_up(), {}).isel(**one))
    kept = from_groups(made_up(), {}).isel(**{dim: [one[dim]]})
    assert {c.name for c in diagnose(kept).checks} >= {"moves", "fixed point"}


def test_a_mass_that_is_not_a_number_is_found() -> None:
    groups = made_up()
    mass = np.ones((CHAINS, DRAWS, ATOMS))
    mass[1, 2, 3] = np.nan
    groups["posterior"]["mass"] = ("chain", "draw", "atom"), mass
    groups["posterior"].attrs["mass_site"] = "mass"
    checks = checks_of(groups)
    assert checks["finite values"].value.startswith("mass is not finite at 1 of")
    assert checks["chains agree"].verdict == "ok"


@pytest.mark.parametrize("take", [diagnose, summary])
def test_a_run_is_exported_first(take) -> None:
    with pytest.raises(TypeError, match=r"got an MCMC.*to_inference_data\(mcmc\)"):
        take(MCMC(NUTS(lambda: None), num_warmup=1, num_samples=1))
