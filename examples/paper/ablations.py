"""What each choice does, on mean matching near the boundary of the simplex.

Step size and discretisation of the diffusion, map, adjustment, a barrier in the projected dynamics,
minibatches, number of particles: free energies above the least one, at every step of a grid and at
the best. One panel shows why one Euler step of an entropy map's diffusion fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl import dynamics, mirrors
from mmfld_ppl.plots.style import bare

from .. import command
from . import simplex
from .compare import Candidate, Cell, above, compare, options, show, summary
from .looks import COMPARED, SCORE, look, number_axis
from .reference import simplex_reference
from .runs import Method, Problem, default_map, projected

COUNTS, TARGET, TAU, BETA = (1, 1, 1), (0.9, 0.08, 0.02), 0.02, 1e-3
SIZES = (32, 64, 128, 256, 512)
BARRIERS = (0.0, 0.01, 0.1, 1.0)
#: Noisy measurements of the target: how many, their standard deviation, minibatches.
ROWS, NOISE, BATCHES = 64, 0.3, (1, 8)

ADJUSTED, PLAIN = "adjusted, log barrier", "one step, log barrier"
#: Methods of the panel on discretisations, in the order of its legend.
DIFFUSIONS = (
    ADJUSTED,
    PLAIN,
    "one step, entropy",
    "8 sub-steps, entropy",
    "32 sub-steps, entropy",
    "exact, entropy",
    "adjusted, entropy",
)


#: Points, of legends and notes.
SMALL = 8
#: Methods of the quick version, and of the panel on numbers of particles.
QUICK = (ADJUSTED, PLAIN, "exact, entropy", "projected, barrier 0")


def candidates() -> list[Candidate]:
    base = simplex.problem(COUNTS).base
    barrier, entropy = default_map(base), mirrors.EntropySimplex()
    mirror = dynamics.Mirror
    methods = [
        Method(ADJUSTED, mirror(barrier), True),
        Method(PLAIN, mirror(barrier)),
        Method("one step, entropy", mirror(entropy)),
        Method("8 sub-steps, entropy", mirror(entropy, 8)),
        Method("32 sub-steps, entropy", mirror(entropy, 32)),
        Method("exact, entropy", mirror(entropy, "exact")),
        Method("adjusted, entropy", mirror(entropy), True),
    ]
    baselines = [Method(f"projected, barrier {b:g}", projected(base, b)) for b in BARRIERS]
    return [Candidate(m, 3.0) for m in methods] + [Candidate(m, 0.03) for m in baselines]


def stochastic(batch_size: int) -> Problem:
    """The same F as an average over noisy measurements of the target; a step draws some."""
    noise = np.random.default_rng(0).normal(0, NOISE, (ROWS, len(TARGET)))
    rows = jnp.asarray(np.asarray(TARGET) + noise - noise.mean(axis=0), jnp.float32)

    def functional(parameters: dict[str, Array]) -> mm.functionals.Functional:
        q = parameters["target"]
        return mm.functionals.EmpiricalRisk(
            loss=lambda m, row: jnp.sum(jnp.square(m) - 2 * m * row + jnp.square(q)),
            feature=lambda x, row: x,
            data=rows,
            potential=lambda x: -parameters["beta"] * jnp.sum(jnp.log(x)),
            batch_size=batch_size,
        )

    return simplex.problem(COUNTS)._replace(functional=functional)


def one_step(u: np.ndarray, quantile: float) -> np.ndarray:
    """Where one Euler step of the entropy map's diffusion takes u on the half-line, for time 1."""
    return u * np.exp(np.sqrt(2 / u) * quantile)


def exact_step(u: np.ndarray, level: float) -> np.ndarray:
    """The same of the diffusion itself, a squared Bessel process; by draws."""
    z = np.random.default_rng(0).standard_normal((2, 20_000, 1))
    moved = (np.sqrt(u) + np.sqrt(0.5) * z[0]) ** 2 + 0.5 * z[1] ** 2
    return np.quantile(moved, level, axis=0)


def draw_steps(ax: Any, data: xr.Dataset, methods: Sequence[str]) -> None:
    """Free energy over the step, a line a method."""
    for name in methods:
        if name not in data["method"]:
            continue
        one = data.sel({"method": name}).isel(cell=0)
        finite = np.isfinite(one["tuning"]) & (one["tuning"] / TAU < 50)
        ax.plot(
            one["grid"].where(finite),
            (one["tuning"] / TAU).where(finite),
            **look(name, label=name.removeprefix("projected, ")),
        )
    ax.set(xscale="log", yscale="log", xlabel="step $h$", ylabel=SCORE)
    legend_below(ax)
    bare(ax)


def legend_below(ax: Any) -> None:
    """In room that is made for it under the lines, on a logarithmic scale."""
    rows = -(-len(ax.get_legend_handles_labels()[1]) // 2)
    low, high = ax.get_ylim()
    share = 0.02 + 0.07 * rows
    ax.set_ylim(low * (low / high) ** (share / (1 - share)), high)
    look = {"columnspacing": 0.8, "handlelength": 1.5, "handletextpad": 0.4}
    ax.legend(frameon=False, fontsize=SMALL, ncols=2, loc="lower left", **look)


def draw_one_step(ax: Any) -> None:
    """Where a step of the pure diffusion ends, from a point near the boundary."""
    u = np.geomspace(0.02, 50, 120)
    low, high = one_step(u, -1.0), one_step(u, 1.0)
    one, exact = (look(name)["color"] for name in ("one step, entropy", "exact, entropy"))
    ax.fill_between(u, low, high, color=one, alpha=0.35, lw=0, label="one Euler step")
    low, high = exact_step(u, 0.16), exact_step(u, 0.84)
    ax.fill_between(u, low, high, color=exact, alpha=0.6, lw=0, label="the diffusion")
    ax.plot(u, u, **COMPARED, label="no move")
    ax.set(xscale="log", yscale="log", ylim=(1e-4, 1e3), xlim=(0.02, 50))
    ax.set(xlabel="$x/h$ before", ylabel="$x'/h$ after", title="one step under the entropy map")
    ax.legend(frameon=False, fontsize=SMALL, loc="lower right")
    bare(ax)


def draw_barriers(ax: Any, below: Any, data: xr.Dataset) -> None:
    """Bias over the barrier's weight, each at its best step, and below it the mass on the edge."""
    mean, error = (v[0, -1] for v in summary(data))
    names = list(data["method"].values)
    weights = [b for b in BARRIERS if f"projected, barrier {b:g}" in names]
    at = [names.index(f"projected, barrier {b:g}") for b in weights]
    x = np.arange(len(weights))
    edge = data["edge"].isel(cell=0, particles=-1).values
    compared = COMPARED | {"color": look(ADJUSTED)["color"]}
    for panel, values, errors in ((ax, mean, error), (below, edge, np.zeros_like(edge))):
        panel.plot(x, values[at], color="0.7", lw=1.1, zorder=1)
        for place, m in zip(x, at, strict=True):
            panel.errorbar(place, values[m], 2 * errors[m], capsize=2, **look(names[m]))
        panel.axhline(values[names.index(ADJUSTED)], **compared)
        bare(panel)
    ax.set_xticks(x, [])
    ax.set(yscale="log", ylabel="nats", title="projected, at the best step")
    ax.legend(ax.lines[-1:], [ADJUSTED], frameon=False, fontsize=SMALL, loc="lower right")
    below.set_xticks(x, [f"{b:g}" for b in weights])
    below.set(xlabel="weight of the barrier", ylabel="on the edge", ylim=(0, None))


def draw_particles(ax: Any, data: xr.Dataset) -> None:
    """Free energy over N at the best step, with a line c / N through the adjusted one."""
    mean, error = summary(data)
    names = list(data["method"].values)
    size = data["particles"].values
    for name in QUICK:
        m = names.index(name)
        ax.errorbar(size, mean[0, :, m], 2 * error[0, :, m], capsize=2, **look(name))
    m = names.index(ADJUSTED)
    ax.plot(size, mean[0, 0, m] * size[0] / size, **COMPARED, label="$c/N$")
    ax.set(yscale="log", ylabel=SCORE, title="number of particles")
    number_axis(ax, size)
    legend_below(ax)
    bare(ax)


def draw(data: xr.Dataset, minibatches: xr.Dataset) -> Any:
    figure, axes = plt.subplots(2, 3, figsize=(11, 7), layout="constrained")
    halves = axes[1, 0].get_subplotspec().subgridspec(2, 1)
    axes[1, 0].remove()
    draw_steps(axes[0, 0], data, DIFFUSIONS)
    axes[0, 0].set_title(f"maps and diffusions, N={data['particles'].values[-1]}")
    draw_one_step(axes[0, 1])
    draw_steps(axes[0, 2], data, [f"projected, barrier {b:g}" for b in BARRIERS])
    axes[0, 2].set_title("projected")
    upper, lower = (figure.add_subplot(half) for half in halves)
    draw_barriers(upper, lower, data)
    draw_steps(axes[1, 1], minibatches, list(minibatches["method"].values))
    axes[1, 1].set_title("minibatches, log barrier")
    draw_particles(axes[1, 2], data)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser("paper ablations", __doc__)
    options(parser, gradients=400, particles=SIZES)
    arguments = parser.parse_args(argv)
    several = candidates()
    if arguments.quick:
        arguments.particles, arguments.gradients = [32, 64], 40
        several = [c for c in several if c.method.name in QUICK]
    reference = simplex_reference(TARGET, COUNTS, TAU, BETA)
    parameters = simplex.parameters(TARGET, COUNTS, BETA)
    cells = [Cell(f"q=(.9, .08, .02), tau={TAU:g}", TAU, parameters, above(reference))]
    budget = arguments.gradients
    data = compare(simplex.problem(COUNTS), cells, several, arguments, budget)
    show(data)

    plain = Candidate(Method(PLAIN, dynamics.Mirror(default_map(stochastic(1).base))), 3.0)
    parts = []
    for batch_size in BATCHES[:1] if arguments.quick else BATCHES:
        found = compare(stochastic(batch_size), cells, [plain], arguments, budget)
        parts.append(found.assign_coords(method=[f"{batch_size} of {ROWS}"]))
    parts.append(data.sel({"method": [PLAIN]}).assign_coords(method=["all"]))
    minibatches: Any = xr.concat(
        parts, "method", data_vars="minimal", coords="minimal", compat="override"
    )
    show(minibatches)
    names = {name: f"minibatch_{name}" for name in minibatches.data_vars}
    renamed = minibatches.rename(names | {"method": "batch"})
    everything: Any = xr.merge([data, renamed], compat="no_conflicts")
    command.save(everything, draw(data, minibatches), arguments.out / "paper_ablations", dpi=100)
