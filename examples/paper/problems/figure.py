"""The figure: a panel a problem, and the factors of a tensor."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmfld_ppl.plots import style

from .deconvolution import TRUE_SPIKES
from .problem import Problem, points_of
from .tensors import TRUE_ANGLES

PARTICLES = style.COLOURS[0]
#: What the minimiser approaches as the temperature falls.
LIMIT = {"color": style.REFERENCE, "lw": 1.2, "ls": "--"}


def draw(problems: list[Problem], runs: list[Any], recovered: list[np.ndarray]) -> Any:
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.4), layout="constrained")
    panels = {problem.name: ax for problem, ax in zip(problems, axes.flat, strict=False)}
    for problem, idata in zip(problems, runs, strict=True):
        ax, points = panels[problem.name], points_of(idata, problem)
        if points.shape[-1] == 1:
            draw_line(ax, problem, points.reshape(-1))
        elif problem.name == "tensor":
            draw_disk(ax, problem, points[0, -1])
        else:
            draw_plane(ax, problem, points[0, -1])
        style.bare(ax)
    panels["tensor"].set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title="tensor")
    panels["spikes"].set(xlabel="position $t$", ylabel="mass $a$", title="spikes")
    for at in TRUE_SPIKES[0]:
        panels["spikes"].axvline(at, **LIMIT)
    panels["MMD"].set(xlabel="$x$", ylabel="density", title="kernel discrepancy")
    panels["KSD"].set(xlabel="$x$", ylabel="density", title="Stein discrepancy")
    panels["transport"].set(xlabel="$x$", ylabel="$y$", title="entropic transport")
    weights, found, _ = recovered
    ax, place = style.bare(axes[1, 2]), np.arange(len(weights))
    ax.bar(place - 0.2, weights, 0.38, color="0.75", label="true")
    ax.bar(place + 0.2, found, 0.38, color=PARTICLES, label="found")
    ax.set(xticks=place, xticklabels=place + 1, xlabel="factor", ylabel="weight")
    ax.set_title("tensor in eight dimensions")
    ax.legend(frameon=False)
    legend(figure)
    return figure


def legend(figure: Any) -> None:
    """Of the five panels with particles."""
    shown = {
        "particles": Line2D([], [], color=PARTICLES, marker="o", ms=4, ls=""),
        "exact minimiser: shades of its density": Patch(color="0.6"),
        "its density": Line2D([], [], color="black", lw=1.3),
        "what it approaches as the temperature falls": Line2D([], [], **LIMIT),
    }
    place = {"loc": "outside upper center", "ncols": 4, "frameon": False}
    figure.legend(list(shown.values()), list(shown), **place)


def draw_plane(ax: Any, problem: Problem, points: np.ndarray) -> None:
    """Particles of one draw over the density of the minimiser."""
    nodes, base = problem.exact.points, problem.base
    density = problem.exact.weights / base
    levels = density.max() * np.array([0.02, 0.1, 0.3, 0.6, 1.0])
    ax.tricontourf(*nodes.T, density, levels=levels, cmap="Greys", alpha=0.9)
    ax.plot(*points.T, ".", ms=3, color=PARTICLES, alpha=0.6)


def draw_disk(ax: Any, problem: Problem, points: np.ndarray) -> None:
    """Particles of one draw in the unit disk; around it the density of the minimiser's angle, as
    nearly all of its mass is next to the rim, and the angles of the factors."""
    x, y = problem.exact.points.T
    angles, ray = np.unique(np.round(np.arctan2(y, x), 6), return_inverse=True)
    density = np.bincount(ray, problem.exact.weights)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    ax.fill(*(1 + 0.4 * density / density.max()) * circle, color="0.6")
    ax.fill(*circle, facecolor="white", edgecolor="black", lw=0.8)
    for angle in TRUE_ANGLES:
        radii = np.array([1.0, 1.5])
        ax.plot(radii * np.cos(angle), radii * np.sin(angle), **LIMIT)
    ax.plot(*points.T, ".", ms=3, color=PARTICLES, alpha=0.6)


def draw_line(ax: Any, problem: Problem, points: np.ndarray) -> None:
    """Histogram of the particles of all draws, density of the minimiser."""
    ax.hist(points, 50, range=(0, 1), density=True, color=PARTICLES, alpha=0.6)
    density = problem.exact.weights / problem.base
    ax.plot(problem.exact.points, density, color="black", lw=1.3)
    if problem.target is not None:
        ax.plot(*problem.target, **LIMIT)
