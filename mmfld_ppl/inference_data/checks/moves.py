"""How the particles moved."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from ...diagnostics import run_complaints, stuck_particles
from ...diagnostics.health import mean_ratio
from ..datasets import SAMPLE_DIMS
from .base import FAIL, OK, SIGNIFICANT, SKIPPED, STILL_DRAWS, WARN, Check, Run, judged

#: Acceptance that steps which were not adjusted would have had.
WOULD_ACCEPT = (0.9, 0.6)
#: Share of particles that do not move.
STUCK = 0.01
#: Share that stays in place by chance beyond which the chain is at fault, and not its particles.
IDLE = 0.5
#: Acceptance below which a chain stands still.
STANDSTILL = 0.01
#: Refused moves that are more than an accident, and share of them that an adjusted kernel is right
#: in spite of.
REFUSED, MANY_REFUSED = 0.01, 0.1
#: Correlation of successive means of the particles below which they overshoot, and that below
#: which they fluctuate five times as much as they should.
OVERSHOT = (-0.3, -0.6)
#: Draws that it takes to tell, and the share of a correction that a step should make.
OVERSHOOT_DRAWS, CORRECTION = 50, 0.7
#: Nats of rounding in a log density that draws can tell.
HIDDEN = 0.5
#: Steps below which a move is far shorter than the law is wide, in units of the adapted metric: at
#: 1e-4 the longest, of 32 leapfrog steps, goes .45.
COLLAPSED = 1e-4


def moves(run: Run) -> Check:
    name = "moves"
    if "diverging" not in run.stats:
        return Check(name, SKIPPED, "", "the run collected no statistics of its moves")
    refused = run.stats["diverging"].values.astype(bool)
    if run.adjusted is None:
        return _divergences(name, refused)
    ratio, rate = (
        run.stats[n].values if n in run.stats else None
        for n in ("collective_ratio", "acceptance_rate")
    )
    # An adjusted kernel may run into a boundary now and then.
    many = refused if not run.adjusted or refused.mean() > REFUSED else np.zeros_like(refused)
    chains = run.posterior["chain"].values
    found = run_complaints(
        ratio, rate if run.adjusted else None, many, chains=chains, step_size=run.adapted_steps
    )
    parts = [] if rate is None or not run.adjusted else [f"acceptance {rate.mean():.2f}"]
    means = None if ratio is None else mean_ratio(ratio)
    parts += [] if means is None else [f"collective ratio {means.mean():.2g}"]
    parts += [f"refused in {refused.mean():.1%} of draws"]
    # Moves that overshoot or are refused bias the result, and a chain that stands still has none;
    # others only waste time.
    wrong = refused.mean() > (MANY_REFUSED if run.adjusted else REFUSED)
    wrong |= means is not None and not np.all(means <= 1)
    wrong |= bool(run.adjusted and rate is not None and not np.all(rate.mean(-1) >= STANDSTILL))
    steps = run.stats["step_size"].values if "step_size" in run.stats else np.ones(1)
    if not np.all(steps > 0):
        wrong, useless = True, steps[~(steps > 0)][0]
        found = [
            f"A step_size of {useless:.3g} moves nothing: a schedule is positive at every step."
        ]
    verdict = OK if not found else FAIL if wrong else WARN
    return Check(name, verdict, ", ".join(parts), " ".join(found))


def _divergences(name: str, divergent: Bool[np.ndarray, "chain draw"]) -> Check:
    """Of a kernel that is not ours, as NUTS: trajectories whose energy was not conserved."""
    return judged(
        name,
        WARN if np.any(divergent) else OK,
        f"{divergent.mean():.1%} of draws end divergent trajectories",
        "The kernel could not follow the density there, so that a part of it may be missing from "
        "the draws. Raise target_accept_prob, or state the model in other coordinates.",
    )


def overshoot(run: Run) -> Check | None:
    """Where a collective mode, as the mean of the particles, is corrected at each step by more than
    it is off: a share c > 1, so that successive means have the correlation 1 - c < 0 and up to
    2/(2 - c) times the variance that N particles have, without bound from c = 2 on."""
    draws = run.posterior.sizes["draw"]
    thinned = run.attrs.get("thinning") != 1 or draws < OVERSHOOT_DRAWS
    # Draws of NUTS, and of other moves that do not answer a common field, may alternate.
    if thinned or run.ordinary or run.adjusted is None:
        return None
    found = []
    for name, values in run.particles.items():
        mean = values.astype(float).mean(run.plate).transpose(*SAMPLE_DIMS, ...).values
        off = (mean - mean.mean(axis=1, keepdims=True)).reshape(*mean.shape[:2], -1)
        square = np.sum(off**2, axis=1)
        product = np.sum(off[:, 1:] * off[:, :-1], axis=1)
        moving = square > 0
        correlation = np.divide(product, square, out=np.zeros_like(square), where=moving)
        chain = int(np.argmin(correlation.min(axis=1)))
        found.append((float(correlation.min()), chain, name))
    least, chain, name = min(found, default=(0.0, 0, ""))
    if least + SIGNIFICANT / np.sqrt(draws) > OVERSHOT[0]:
        return None
    advice = (
        "The particles overshoot together, each of them within what acceptance sees: their "
        f"averages fluctuate up to {2 / max(1 + least, 0.01):.0f} times as much as those of so "
        "many particles should, and may run away later on. Take a shorter step"
    )
    if "step_size" in run.stats:
        step = run.stats["step_size"].values[chain, -1] * CORRECTION / (1 - least)
        advice += f", as by step_size={step:.2g}, adapt_step_size=False"
    return Check(
        "overshoot",
        FAIL if least < OVERSHOT[1] else WARN,
        f"successive means of site '{name}' have a correlation of {least:.2f} in "
        f"{run.chains(chain)}",
        f"{advice}.",
    )


def unadjusted_step(run: Run) -> Check | None:
    if run.adjusted is not False:
        return None
    name, accepted = "step size", run.measure("would_accept")
    if accepted is None:
        return Check(
            name,
            WARN,
            "unadjusted, and nothing here sees what that has done",
            "Moves that no Metropolis test has seen bias the result by an amount that the draws do "
            "not show, and may be large; mm.step_size_bias(mcmc, key) measures it. mm.MMFLD with "
            "metropolize=True has none, where the model has no minibatches.",
        )
    least = float(accepted.min())
    verdict = OK if least >= WOULD_ACCEPT[0] else WARN if least >= WOULD_ACCEPT[1] else FAIL
    return judged(
        name,
        verdict,
        f"a Metropolis test would accept {least:.2f} of these unadjusted moves",
        "The step is too long to be taken without adjustment: the law of the particles is "
        "wider than it should be. Pass metropolize=True, or a step_size several times smaller; "
        "mm.step_size_bias(mcmc, key) says what the step has done to each result.",
    )


def precision(run: Run) -> Check | None:
    if not (run.ordinary and "lp" in run.stats):
        return None
    lp = run.stats["lp"].values
    unit = float(np.finfo(lp.dtype).eps * np.median(np.abs(lp)))
    return judged(
        "precision",
        WARN if unit > HIDDEN else OK,
        f"log densities of {np.median(lp):.2g} are known to {unit:.1g}",
        "Moves are accepted and refused by rounding. Run in double precision "
        "(jax.config.update('jax_enable_x64', True)), or take large constants out of the density.",
    )


def adapted_step(run: Run) -> Check | None:
    steps = run.adapted_steps
    if not run.ordinary or steps is None:
        return None
    least = steps[:, -1]
    if run.unheld is not None:
        site, largest = run.unheld
        return Check(
            "step size",
            FAIL,
            f"the step grew without bound, and draws of '{site}' with it, up to {largest:.2g}",
            "Nothing in the density holds the draws: it is flat, or improper, as a posterior is "
            "under a flat prior where the data bound a parameter from one side only (separated "
            "classes of a logistic regression), or not at all. No number of draws makes averages "
            f"of them right. Give '{site}' a proper prior, such as dist.Normal(0, 10).",
        )
    bad = ~(least >= COLLAPSED)
    return judged(
        "step size",
        WARN if np.any(bad) else OK,
        f"the least step of a chain is {least.min():.2g}, in units of the metric",
        f"In {run.chains(bad)} the warm-up found no longer step at which moves are accepted, and "
        "they are far shorter than the law is wide. The reason may be a ridge of parameters that "
        "depend on each other: pass dense_mass=True, or state others. Or it is a density that "
        "jumps or ends inside of its support: a factor of -inf, jnp.where on a parameter. State "
        "the region as a constraint "
        "(mm.constraints.polytope, ordered_vector), or smooth the jump; path_length=None makes "
        "moves of one step, which suffer less. Or it is rounding, as with counts of 1e5 and more "
        "in single precision: run in double precision. Or it is the start, far out, as for "
        "parameters that are much smaller than one, and for matrices: pass "
        "init_strategy=numpyro.infer.init_to_sample.",
    )


def standstill(run: Run) -> Check | None:
    if not np.any(run.standing):
        return None
    return Check(
        "standstill",
        FAIL,
        f"every draw of {run.chains(run.standing)} is the same",
        "No move was accepted there, and the checks that follow leave them out. Most often the "
        "start is so far out that no step is short enough: pass init_strategy="
        "numpyro.infer.init_to_sample or init_to_median, or init_params.",
    )


def stuck(run: Run) -> Check | None:
    if run.plate is None:
        return None
    name, draws = "stuck particles", min(run.posterior.sizes["draw"], 50)
    if draws < STILL_DRAWS:
        return Check(name, SKIPPED, "", f"takes {STILL_DRAWS} draws, the run has {draws}")
    if run.plate not in run.posterior.dims:
        return Check(name, SKIPPED, "", "the run left out the sites of its particles")
    rate = run.stats["acceptance_rate"].values.mean(-1) if "acceptance_rate" in run.stats else 1.0
    # Where next to nothing is accepted, chance would excuse a chain in which nothing moves.
    chance = np.minimum((1 - np.minimum(rate, 1.0)) ** (draws - 1), IDLE)
    chains = run.posterior.sizes["chain"]
    still = np.ones((chains, run.posterior.sizes[run.plate]), bool)
    for values in run.posterior.data_vars.values():
        if run.plate in values.dims:
            last = values.isel(draw=slice(-draws, None)).transpose(*SAMPLE_DIMS, run.plate, ...)
            for c, x in enumerate(last.values):
                still[c] &= stuck_particles(x.reshape(*x.shape[:2], -1))
    share = still.mean(axis=1)
    bad = share > chance + STUCK
    value = f"{share.max():.1%} of the particles of a chain did not move in its last {draws} draws"
    if not np.any(bad):
        return Check(name, OK, value)
    advice = (
        f"In {run.chains(bad)} particles are stuck, which a healthy chain has at most "
        f"{np.max(chance):.1g} of. Look at where they are: a density that is infinite or not "
        "finite nearby holds them. Take a smaller step_size or a longer warm-up, or another start."
    )
    return Check(name, FAIL, value, advice)
