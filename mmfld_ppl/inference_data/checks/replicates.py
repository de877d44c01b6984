"""Whether chains have settled, agree, and are long enough."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from ...diagnostics import fit_decay
from ...diagnostics.health import LIMITING_RATIO, mean_ratio
from ..datasets import SAMPLE_DIMS, weighed
from ..groups import replicate_statistics
from .base import (
    FAIL,
    NOTHING_HOLDS,
    OK,
    SIGNIFICANT,
    SKIPPED,
    WARN,
    Check,
    Run,
    graded,
    gravest,
    judged,
)

#: Difference of F or L between halves or chains, in temperatures.
SHIFT = (0.05, 0.5)
#: Spread of chain averages, and their standard error, in standard deviations of a particle.
SPREAD = (0.05, 0.3)
#: R-hat beyond which a spread is more than chance.
R_HAT = 1.01
#: Effective draws of a half, below which its noise may be that of the way to the end.
FEW = 40
#: Draws that a chain is cut in two from.
LEAST_DRAWS = 20
#: Acceptance beyond which a longer step would do.
NEARLY_ALL = 0.9
#: Effective draws that quantiles of a posterior need (Vehtari et al. 2021).
LEAST_TAIL = 400


def of_moving_chains(check: Callable[[Run], Check | None]) -> Callable[[Run], Check | None]:
    """The check without the chains that stand still; none where all do, which `standstill` says."""

    @functools.wraps(check)
    def checked(run: Run) -> Check | None:
        return None if np.all(run.standing) else check(run.moving())

    return checked


def finite(run: Run) -> Check | None:
    """Of what was drawn; what is not is left out by the checks that follow."""
    broken = {}
    for name, values in run.posterior.data_vars.items():
        if np.issubdtype(values.dtype, np.floating):
            x = values.transpose(*SAMPLE_DIMS, ...).values
            broken[name] = int(np.sum(~np.isfinite(x).all(axis=tuple(range(2, x.ndim)))))
    worst = max(broken, key=lambda name: broken[name], default=None)
    if worst is None or not broken[worst]:
        return None
    draws = run.posterior.sizes["chain"] * run.posterior.sizes["draw"]
    return Check(
        "finite values",
        WARN,
        f"{worst} is not finite at {broken[worst]} of {draws} draws",
        "Averages of it say nothing, and it is left out of the comparison of chains. Moves never "
        "end at latent sites or densities that are not finite: look at what the model makes of "
        "them.",
    )


def decay(run: Run) -> Check | None:
    """Of a warm-up only: how fast it fell, and whether it was long enough."""
    if not run.warmup:
        return None
    name, levels = "decay", _levels(run)
    if not levels or run.posterior.sizes["draw"] < LEAST_DRAWS:
        return Check(name, SKIPPED, "", _missing_levels(run))
    thinning, (_, _, unit) = int(run.attrs.get("thinning", 1)), next(iter(levels.values()))
    length, parts, needed = run.posterior.sizes["draw"] * thinning, [], 0.0
    for label, (values, scale, _) in levels.items():
        mean = values.mean("chain")
        fit = fit_decay(mean["draw"].values * thinning, mean.values)
        if not fit.visible:
            parts.append(f"{label} began where it ended")
            continue
        parts.append(f"{label} halved its distance from the end in {fit.half_time:.2g} steps")
        near = abs(float(mean[0]) - fit.limit) / (SHIFT[0] * scale)
        needed = max(needed, fit.half_time * np.log2(max(near, 2.0)))
    return judged(
        name,
        OK if needed <= length / 2 else WARN,
        "; ".join(parts),
        f"The warm-up of {length} steps is short for that: at this rate it takes {needed:.0f} to "
        f"come within {SHIFT[0]} {unit}. Take twice as many (num_warmup).",
    )


@of_moving_chains
def stationarity(run: Run) -> Check | None:
    if run.warmup:
        return None
    name, series = "stationarity", _levels(run) | _widths(run)
    draws = run.posterior.sizes["draw"]
    if not series or draws < LEAST_DRAWS:
        return Check(name, SKIPPED, "", _missing_levels(run))
    for label, values in _stated_levels(run).items():
        if broken := int(np.sum(~np.isfinite(values))):
            return Check(
                name,
                FAIL,
                f"{label} is not finite at {broken} of {values.size} draws",
                "Averages over such draws say nothing. Look for overflow, or for points where the "
                "model has no density; double precision may help.",
            )
    worst = gravest(_drifts(series))
    assert worst is not None
    label, size, unit, unknown, verdict = worst
    value = f"{label} moved by {size:.2g} {unit} from the first half to the second"
    advice = (
        "The run had not settled when its draws began: they are of the way, not of the end. "
        "Take a longer warm-up (num_warmup), and then as many draws as before."
    )
    if unknown:
        advice = (
            "So few effective draws cannot tell whether the run had settled when they began. Look "
            "at the traces: where all chains go one way take a longer warm-up (num_warmup), else "
            "more draws."
        )
    return judged(name, verdict, value, advice)


def _drifts(series: dict[str, tuple[xr.DataArray, float, str]]) -> Iterator[tuple]:
    for label, (values, scale, unit) in series.items():
        half = values.sizes["draw"] // 2
        if half < 10:
            continue
        parts = [values.isel(draw=slice(0, half)), values.isel(draw=slice(-half, None))]
        first, second = (replicate_statistics(xr.Dataset({"v": part})) for part in parts)
        # Identical draws have no error, and no drift.
        errors = [np.nan_to_num(t["mcse_mean"]["v"].values) for t in (first, second)]
        moved = np.abs(second["mean"]["v"].values - first["mean"]["v"].values)
        real = moved > (SIGNIFICANT + 1) * np.hypot(*errors)
        size = (float(np.max(np.where(real, moved, 0.0))) or float(np.max(moved))) / scale
        hidden = size > SHIFT[0] and not np.any(real)
        ess = [np.nan_to_num(t["ess_bulk"]["v"].values, nan=np.inf) for t in (first, second)]
        unknown = hidden and bool(np.min(ess) < FEW)
        verdict = graded(size, SHIFT) if np.any(real) else WARN if unknown else OK
        yield label, size, unit + " (no more than its noise)" * hidden, unknown, verdict


@of_moving_chains
def agreement(run: Run) -> Check:
    name, chains = "chains agree", run.posterior.sizes["chain"]
    if chains < 2:
        return Check(
            name,
            SKIPPED,
            "one chain",
            "Takes two chains that move, or more (num_chains=4): one that missed something looks "
            "like one that did not.",
        )
    if run.posterior.sizes["draw"] < 4:
        return Check(name, SKIPPED, "", "takes four draws of each chain")
    found = list(_spreads(run))
    worst = gravest(found)
    if worst is None:
        return Check(name, SKIPPED, "", "the run has no quantity to compare")
    label, size, r_hat, verdict = worst
    value = f"R-hat {r_hat:.3f} for {label}, averages of chains spread by {size}"
    other, less, largest, _ = max(found, key=lambda row: np.nan_to_num(row[2]))
    if largest > max(r_hat, R_HAT):
        value += f"; R-hat {largest:.3f} for {other}, by {less}"
    advice = (
        "Where one is far from the others, look at it alone; else take a longer warm-up and more "
        "draws. If that does not help,"
    )
    if run.ordinary:
        found_out = (
            "The chains have not reached the same distribution."
            if verdict == FAIL
            else "That the chains have reached the same distribution is not shown yet."
        )
        advice = (
            f"{found_out} {advice} the posterior may have several modes, and chains stay in "
            "different ones."
        )
    else:
        advice = (
            f"The replicates have not reached the same measure. {advice} F may have several "
            "minimisers, if it is not convex, and chains stay in different ones."
        )
        if _is_held_short(run):
            advice += (
                " The collective ratio keeps steps shorter than acceptance would, as where F is "
                "steep for its temperature: a higher temperature allows longer ones."
            )
        if run.attrs.get("functional") == "MixtureLikelihood":
            advice += (
                " Atoms of equal mass are slow to share out components; let them have masses, by "
                "masses=dist.Exponential(1.)."
            )
    if run.unheld is not None:
        advice = NOTHING_HOLDS
    elif label in run.masked:
        advice = (
            f"A mask leaves entries of {label} out of its density. Those that nothing else depends "
            "on have no law, and wander; what does not depend on them is right all the same. Leave "
            "the site out, by '~z.site' in extra_fields, and look at the others."
        )
    return judged(name, verdict, value, advice)


def _is_held_short(run: Run) -> bool:
    """Whether it is not the acceptance that limits the step."""
    if not {"collective_ratio", "acceptance_rate"} <= set(run.stats):
        return False
    ratio, rate = (run.stats[n].values for n in ("collective_ratio", "acceptance_rate"))
    return bool(np.all(mean_ratio(ratio) > LIMITING_RATIO) and np.mean(rate) > NEARLY_ALL)


def _spreads(run: Run) -> Iterator[tuple[str, str, float, str]]:
    for label, values, scale, unit, limits in _quantities(run):
        r_hat = replicate_statistics(xr.Dataset({"v": values}))["r_hat"]["v"].values
        sd = values.mean("draw").std("chain", ddof=1).values / scale
        if np.all(np.isnan(r_hat)) and np.all(sd == 0):
            continue  # As the log density where it is flat, it is the same everywhere.
        # Chains that do not move have no R-hat, and disagree if they differ.
        doubtful = ~(r_hat <= R_HAT)
        size = np.where(doubtful, sd, 0.0)
        at = np.argmax(size) if np.any(size > 0) else np.argmax(np.nan_to_num(r_hat))
        worst = float(np.ravel(size)[at])
        found = f"{np.ravel(sd)[at]:.2g} {unit}"
        yield label, found, float(np.ravel(r_hat)[at]), graded(worst, limits)


@of_moving_chains
def accuracy(run: Run) -> Check:
    name = "accuracy"
    if run.posterior.sizes["draw"] < 4:
        return Check(name, SKIPPED, "", "takes four draws of each chain")
    worst, least, tail = (0.0, ""), np.inf, np.inf
    for label, values, scale, unit, _ in _quantities(run):
        table = replicate_statistics(xr.Dataset({"v": values}))
        ess, of_tail = (
            np.nan_to_num(table[f"ess_{kind}"]["v"].values, nan=np.inf) for kind in ("bulk", "tail")
        )
        # From few effective draws the standard error is uncertain too.
        error = np.max(np.nan_to_num(table["mcse_mean"]["v"].values / scale) * (1 + 2 / ess**0.5))
        least, tail = min(least, float(np.min(ess))), min(tail, float(np.min(of_tail)))
        worst = max(worst, (float(error), f"the average of {label} in {unit}"))
    value = f"standard error {worst[0]:.2g} of {worst[1]}; effective draws {least:.0f}"
    if run.ordinary and tail < np.inf:
        value += f", {tail:.0f} in the tails"
    if worst[0] > SPREAD[0]:
        uncertain = "Averages over the draws are still uncertain."
    elif run.ordinary and tail < LEAST_TAIL:
        uncertain = "Averages are known, and quantiles of 5% are still uncertain."
    else:
        return Check(name, OK, value)
    advice = f"{uncertain} Take more draws{_or_else(run)}"
    return Check(name, WARN, value, advice if run.unheld is None else NOTHING_HOLDS)


def _or_else(run: Run) -> str:
    """What to do where more draws would be many."""
    if not run.ordinary:
        if _is_held_short(run):
            return "; the collective ratio allows no longer step."
        return ", or a longer step where the acceptance allows it."
    if run.settings.get("dense_mass") is False and run.has_scalars:
        return (
            ". Where parameters are strongly correlated, as an intercept and a slope, pass "
            "dense_mass=True, or centre and scale the data."
        )
    return ", or state the model in parameters that depend less on each other."


def _levels(run: Run) -> dict[str, tuple[xr.DataArray, float, str]]:
    """Series whose level tells whether a run has settled: values, scale, unit."""
    found = _stated_levels(run)
    if run.ordinary:
        # Within chains: between those that disagree it says nothing of how wide the law is.
        scales = {label: float(lp.var("draw").mean()) ** 0.5 for label, lp in found.items()}
        return {label: (lp, scales[label] or 1.0, "sd") for label, lp in found.items()}
    tau = float(run.attrs["temperature"]) * float(run.attrs.get("temperature_scale", 1.0))
    if "free_energy" in run.mean_field:
        # Infinite where particles lie on a face, and not known of a few particles.
        found["F + tau KL"] = run.mean_field["free_energy"]
    return {
        label: (values, tau, "temperatures")
        for label, values in found.items()
        if np.all(np.isfinite(values))
    }


def _stated_levels(run: Run) -> dict[str, xr.DataArray]:
    """Those that the model itself states, which are finite in a run that is right."""
    label, name = ("the log density", "lp") if run.ordinary else ("F", "objective")
    return {label: run.stats[name]} if name in run.stats else {}


def _widths(run: Run) -> dict[str, tuple[xr.DataArray, float, str]]:
    """F need not see how wide the particles are, and what is measured in standard deviations of a
    particle does not show that all of them are wrong."""
    return {f"sd({name})": (width, 1.0, "e-folds") for name, width in run.widths.items()}


def _missing_levels(run: Run) -> str:
    if run.ordinary and "lp" not in run.stats:
        if run.attrs.get("kernel") == "Gibbs":
            return "takes the log density, which the blocks of a Gibbs run do not share"
        return "takes the log density: mcmc.run(..., extra_fields=('potential_energy',))"
    return f"takes {'the log density' if run.ordinary else 'F'} at {LEAST_DRAWS} draws or more"


def _quantities(run: Run) -> Iterator[tuple[str, xr.DataArray, Any, str, tuple[float, float]]]:
    """What replicates are compared by: label, values by chain and draw and coordinate, scale of
    what matters, unit, limits in it."""
    for label, (values, scale, unit) in (_levels(run) | _widths(run)).items():
        yield label, values, scale, unit, SHIFT
    for name, values in run.posterior.data_vars.items():
        usable = np.issubdtype(values.dtype, np.floating) and values.size
        if not usable or not np.all(np.isfinite(values)):
            continue
        if run.plate in values.dims:
            # Coordinates that every particle shares, such as the diagonal of a correlation matrix.
            scale = values.std((*SAMPLE_DIMS, run.plate)).values
            mean, unit = weighed(run.posterior, values).mean(run.plate), "sd of a particle"
            label = f"mean({name})"
        else:
            # Squares of large numbers overflow in single precision.
            mean = values.astype(float)
            scale = mean.std(SAMPLE_DIMS).values
            label, unit = str(name), "sd"
        yield (
            label,
            mean,
            np.where(scale > 1e-6 * np.max(np.abs(mean.values)), scale, np.inf),
            unit,
            SPREAD,
        )
