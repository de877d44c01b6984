"""Whether the measure of the particles is the minimiser."""

from __future__ import annotations

import numpy as np

from ..mean_field import LEAST, why_not_pooled
from .base import FAIL, OK, SIGNIFICANT, SKIPPED, WARN, Check, Run, graded, judged

#: KL(mu | mu_hat) in nats, beyond which a measure is doubtful, and wrong.
GAP = (0.05, 0.3)
#: Correlation of the draws of mu_hat with where they started, from which on they say little.
REMEMBERED = 0.5
#: Level of the Stein tests of all chains together.
LEVEL = 0.01
#: Excess of F from having so few particles, in temperatures.
EXCESS = (0.05, 0.5)
#: Share of particles beyond the 1% quantile of mu_hat towards the boundary.
PILE_UP = (0.05, 0.2)
#: Share of particles there, of a hundredth, below which they have not got there yet.
SCARCE = 0.003
#: Error of a first variation.
SLOPE = 0.1
TOO_COARSE = "takes particles that floating point tells apart: see resolution"


def resolution(run: Run) -> Check | None:
    if run.plate is None or not run.coarse:
        return None
    site = min(run.coarse, key=lambda name: run.coarse[name])
    return Check(
        "resolution",
        WARN,
        f"{run.coarse[site]:.0f} numbers of {run.posterior[site].dtype} lie within a standard "
        f"deviation of site '{site}'",
        "The particles are far from zero for how wide they are, so that many coincide, and what "
        "is computed from their coordinates has few digits: forces, means, entropies. Move the "
        "origin to the data (subtract their mean), or run in double precision.",
    )


def fixed_point(run: Run) -> Check | None:
    if run.plate is None:
        return None
    name, reason = "fixed point", why_not_pooled(run.mean_field)
    if reason is not None:
        return Check(name, SKIPPED, "", reason)
    gap = run.mean_field["optimality_gap"].values
    tau, error = run.mean_field.attrs["temperature"], run.mean_field["optimality_gap_error"].values
    # Without a standard error there is no bound, unless it is infinite.
    unknown = np.isnan(gap + error) & ~(gap == np.inf)
    if np.any(unknown):
        return Check(
            name,
            FAIL,
            "no bound is known on what F + tau KL is above its minimum",
            f"In {run.chains(unknown)} the draws that the measure is compared with have no "
            "density: they coincide, lie on the boundary in floating point, or their energies are "
            "not finite. Look for overflow in the model near the boundary of its supports, or run "
            "in double precision.",
        )
    nats, least = gap / tau, (gap - SIGNIFICANT * np.nan_to_num(error)) / tau
    worst = int(np.argmax(least))
    value = (
        f"F + tau KL is at most {max(gap[worst], 0):.2g} +- {error[worst]:.1g} above its minimum, "
        f"{max(nats[worst], 0):.2g} nats, if F is convex"
    )
    verdict = graded(least[worst], GAP)
    most = (gap + SIGNIFICANT * np.nan_to_num(error)) / tau
    if verdict == OK and np.any(most < -GAP[0]):
        return Check(
            name,
            WARN,
            value,
            f"In {run.chains(most < -GAP[0])} the estimate is below zero, as no "
            "gap is: the particles are too alike, from draw to draw or within one, to estimate a "
            "density from. Look at traces and at the effective number of draws.",
        )
    if verdict == FAIL and run.coarse:
        return Check(name, SKIPPED, "", TOO_COARSE)
    if verdict == OK:
        memory = float(run.mean_field["proximal_memory"].values.max())
        if memory > REMEMBERED:
            return Check(
                name,
                WARN,
                value,
                "The draws that the measure is compared with still remember where they started "
                f"(correlation {memory:.2f}), so the gap may be larger than this: the law has "
                "narrow passages, or modes that are far apart.",
            )
        return Check(name, OK, value)
    return Check(
        name,
        verdict,
        value,
        f"In {run.chains(least > GAP[0])} the particles are not distributed as "
        "the forces on them say they should be at the minimiser. The run is too short, its step "
        "too long without adjustment, its particles too few, or the dynamics is biased at the "
        "boundary: see the other checks, and begin with a longer warm-up.",
    )


def stein(run: Run) -> Check | None:
    name, p_value = "Stein discrepancy", run.measure("stein_p_value")
    if p_value is None:
        return _without_diagnostics(name, run)
    if np.any(np.isnan(p_value)):
        return Check(name, SKIPPED, "", "takes particles of at most 64 numbers")
    measured = run.mean_field
    statistic, threshold = (measured[f"stein_{n}"].values for n in ("statistic", "threshold"))
    worst = int(np.argmin(p_value))
    value = (
        f"p = {p_value[worst]:.2g} for {run.chains(worst)}: squared discrepancy "
        f"{statistic[worst]:.2g}, 95% of exact samples stay below {threshold[worst]:.2g}"
    )
    if p_value[worst] * len(p_value) > LEVEL:
        return Check(name, OK, value)
    found = measured["proximal_divergence"].values[worst]
    error = SIGNIFICANT * measured["proximal_divergence_error"].values[worst]
    known = measured["proximal_memory"].values[worst] <= REMEMBERED
    # A divergence is not negative: an estimate that is, by more than its error, knows nothing.
    if known and -GAP[0] - error <= found <= GAP[0] - error:
        return Check(name, OK, f"{value}; a difference of less than {GAP[0]} nats")
    return Check(
        name,
        WARN,
        value,
        "The particles are told apart from their proximal Gibbs density. The optimality gap says "
        "by how much: with many particles a difference that does not matter is found too.",
    )


def first_variation(run: Run) -> Check | None:
    name, ratio = "first variation", run.measure("first_variation_ratio")
    if ratio is None:
        return _without_diagnostics(name, run)
    rounding = run.mean_field["first_variation_rounding"].values
    known = np.flatnonzero(rounding < SLOPE)
    if not len(known):
        return Check(name, SKIPPED, "", "F is flat here, to the precision of its numbers")
    worst = known[np.argmax(np.abs(ratio[known] - 1))]
    off = abs(ratio[worst] - 1)
    value = f"differences of F are {ratio[worst]:.3f} of what the first variation predicts"
    if off <= SLOPE + 3 * rounding[worst]:
        return Check(name, OK, value)
    if run.coarse:
        return Check(name, SKIPPED, "", TOO_COARSE)
    return Check(
        name,
        FAIL,
        value,
        "The first variation is not the derivative of F, so the run minimised something else. "
        "mm.functionals.check_functional tells more. An inner solver with a loose tolerance has "
        "this effect too.",
    )


def particle_number(run: Run) -> Check | None:
    values = run.measure("objective_by_size")
    if values is None:
        if not run.mean_field:
            return _without_diagnostics("particle number", run)
        size = run.mean_field.attrs.get("num_particles", LEAST)
        if size >= LEAST:
            return None
        return Check(
            "particle number",
            WARN,
            f"{size} particles are too few to say what their number costs",
            f"Finite N shifts the law by a multiple of 1/N. Take {LEAST} particles or more, or "
            "hold this run against one of twice as many.",
        )
    tau, errors = run.mean_field.attrs["temperature"], run.mean_field["objective_by_size_error"]
    size, pooled = run.mean_field["size"].values[0, 2:]
    # F of the pooled measure has an excess of its own, smaller by the number of draws.
    share = 1 - size / pooled
    if share < 0.5:
        return Check("particle number", SKIPPED, "", "takes two draws or more")
    excess = np.abs(values[:, 2] - values[:, 3]).mean() / share / tau
    error = np.sqrt(np.mean(errors.values[:, 2] ** 2) / len(values)) / share / tau
    value = f"F is {excess:.2g} temperatures higher for having {size:.0f} particles"
    verdict = graded(excess - SIGNIFICANT * error, EXCESS)
    if verdict == OK:
        return Check("particle number", OK, value)
    if not np.isfinite(excess - error):
        return Check(
            "particle number",
            verdict,
            value,
            "F, or its standard error, is not finite at some draws or subsets of them, so that no "
            "number of particles can be told. Look for the particles at which the objective is "
            "infinite or not a number.",
        )
    return Check(
        "particle number",
        verdict,
        value,
        f"Finite N raises F and shifts the law by a multiple of 1/N. Take about "
        f"{_round_up(size * excess / EXCESS[0] * 2)} particles; "
        "mm.particle_number_bias(mcmc, key) says what their number has done to each result.",
    )


def boundary(run: Run) -> Check | None:
    name, share = "boundary", run.measure("pile_up")
    if share is None:
        return _without_diagnostics(name, run)
    sites = run.mean_field["bounded_site"].values

    def nearer(share: float, site: int) -> str:
        return (
            f"{share:.1%} of the particles of site '{sites[site]}' are nearer to its boundary than "
            "99% of the proximal Gibbs density"
        )

    most, average = share.max(axis=0), share.mean(axis=0)
    full, bare = int(np.argmax(most)), int(np.argmin(average))
    verdict = graded(most[full], PILE_UP)
    if verdict == OK and average[bare] < SCARCE:
        return Check(
            name,
            WARN,
            nearer(average[bare], bare),
            "The particles have not come to the boundary yet, which takes long where the density "
            "has no bound there. Begin with a longer warm-up, or with "
            "init_strategy=numpyro.infer.init_to_sample.",
        )
    return judged(
        name,
        verdict,
        nearer(most[full], full),
        "Mass piles up at the boundary, "
        + (
            "though the moves are adjusted: the particles are still on their way, or have come "
            "nearer to it than the precision can tell. Begin with a longer warm-up, and then try "
            "double precision."
            if run.adjusted
            else "as projections and long unadjusted steps make it. Use mm.MMFLD with the default "
            "map and metropolize=True, or a much smaller step_size."
        ),
    )


def _without_diagnostics(name: str, run: Run) -> Check | None:
    """Of a run with particles of one measure of which nothing but the draws is known."""
    if run.plate is None or run.ordinary or run.mean_field or run.attrs.get("num_blocks", 1) > 1:
        return None
    return Check(name, SKIPPED, "", why_not_pooled(run.mean_field) or "")


def _round_up(size: float) -> int:
    """To two digits."""
    unit = 10 ** max(0, int(np.floor(np.log10(size))) - 1)
    return int(np.ceil(size / unit) * unit)
