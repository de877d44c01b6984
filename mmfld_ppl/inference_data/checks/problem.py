"""What only some objectives have: transport problems to be solved, a likelihood to be maximal."""

from __future__ import annotations

import numpy as np

from .base import FAIL, OK, SIGNIFICANT, SKIPPED, WARN, Check, Run, judged

#: L1 error of the marginals of a coupling that was not solved to its threshold.
MARGINAL = 0.1
#: Nats an observation that a mixture may be short of the best one.
SHORT = 0.05
#: Standard deviations of a snapshot that a marginal may be from its cells.
OFF = 0.25


def transport(run: Run) -> Check | None:
    error = run.measure("transport_marginal_error")
    if error is None:
        return None
    iterations, converged = (
        run.mean_field[f"transport_{n}"].values for n in ("iterations", "converged")
    )
    chain, problem = np.unravel_index(np.argmax(error), error.shape)
    worst = float(error[chain, problem])
    value = (
        f"marginal error {worst:.2g} in transport problem {problem} of {error.shape[1]}; "
        f"{iterations.mean():.0f} iterations a draw on average"
    )
    if np.all(converged):
        return Check("transport", OK, value)
    if not np.isfinite(worst):
        return Check(
            "transport",
            FAIL,
            value,
            "A potential overflowed, so that F and its slopes are not numbers. Pass a larger "
            "epsilon to the functional, rescale the points, or run in double precision.",
        )
    return Check(
        "transport",
        WARN if worst <= MARGINAL else FAIL,
        value,
        f"{np.sum(~converged)} of {converged.size} solves stopped at max_iterations before their "
        "marginals were right, so that F and its slopes are off. Pass a larger epsilon, "
        "or max_iterations to a functional that you make yourself, or run in double precision.",
    )


def snapshots(run: Run) -> Check | None:
    """Of trajectories: whether the marginals are where cells were seen, on average."""
    if "x" not in run.marginals or "x" not in run.snapshots:
        return None
    found = run.marginals["x"].astype(float).mean(("chain", "draw", "particle")).values
    cells, mass = (run.snapshots[n].values.astype(float) for n in ("x", "mass"))
    times = run.marginals["time"].values
    held = np.where(run.snapshots["observed_time"].values == times[:, None], mass, 0)
    shares = held / np.sum(held, axis=1, keepdims=True)
    seen = shares @ cells
    count = 1 / np.sum(shares**2, axis=1)
    square = np.sum(shares * np.sum((cells - seen[:, None]) ** 2, axis=-1), axis=1)
    several = count > 1.5
    if not np.any(several):
        return None  # What a snapshot is wide is known of none.
    spread = np.sqrt(np.mean(square[several] * count[several] / (count[several] - 1)))
    off = np.linalg.norm(found - seen, axis=1) / spread
    # A mean of few cells is itself uncertain.
    beyond = off - SIGNIFICANT / np.sqrt(count)
    worst = int(np.argmax(beyond))
    cost = np.sum(np.sum(np.diff(seen, axis=0) ** 2, axis=1) / (2 * np.diff(times)))
    return judged(
        "snapshots",
        OK if beyond[worst] <= OFF else WARN,
        f"the mean of the marginal at time {times[worst]:g} is {off[worst]:.2g} standard "
        "deviations of a snapshot from that of its cells",
        "A part of the population stays off the cells that it should move with: regularization "
        f"times {cost:.2g}, what the motion of the mean costs, must be well below 1 for it to "
        "follow. Pass a smaller regularization=; or the particles are still on their way, where "
        "other checks say so.",
    )


def mixture(run: Run) -> Check | None:
    """Of a run whose statistics have a `certificate`, see `likelihood_certificate`."""
    if "certificate" not in run.stats:
        return None
    name, gap = "mixture", float(run.stats["certificate"].mean())
    value = (
        f"no mixing measure has a log-likelihood that is higher by more than {gap:.2g} nats an "
        "observation"
    )
    if "components" in run.stats:
        value += f"; {float(run.stats['components'].mean()):.2g} components in effect"
    if gap <= SHORT:
        return Check(name, OK, value)
    return Check(
        name,
        SKIPPED,
        value,
        "The certificate bounds the loss from above, and loosely where atoms scatter about their "
        "best places: so large a one proves nothing. Where no other check complains, a lower "
        "temperature and more draws at it bring it down.",
    )
