"""Other problems that the paper names, each beside an exact solution.

Tensor decomposition, deconvolution of spikes, discrepancies by a kernel and by Stein's operator,
and entropic optimal transport: small models of `models/`. The minimiser at the temperature of each
run is computed by quadrature, and means under particles are compared with it; z is the difference
in standard errors. Prints the table, and what the low-temperature limits are compared with; saves
the runs (NetCDF) and a figure with a panel a problem.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import optax
from numpyro.infer import init_to_sample
from scipy.stats import beta

import mmfld_ppl as mm
from mmfld_ppl.functionals import kernels
from mmfld_ppl.functionals.stein import KSD
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots import style
from models.entropic_transport import entropic_transport
from models.quantisation import quantisation
from models.spikes import sparse_on_grid, spikes
from models.stein import stein
from models.tensor import factors, from_factors, tensor

from .. import command
from .convex import interval_rule, kernel_features, minimiser, product_rule, sinkhorn
from .exact import Rule, Solution, disk_rule


class Problem(NamedTuple):
    """A model with its arguments, and its minimiser at the nodes of a rule.

    sites: those that make the coordinates of a point, in their order. statistics: functions of an
    array of points, coordinates along the last axis. base: what weights of the nodes are divided by
    to be densities. target: a density on the line, points and values."""

    name: str
    model: Callable
    args: tuple
    setting: dict[str, Any]
    exact: Solution
    sites: tuple[str, ...]
    statistics: dict[str, Callable[[np.ndarray], np.ndarray]]
    base: np.ndarray
    target: tuple[np.ndarray, np.ndarray] | None = None
    notes: tuple[str, ...] = ()


def tensor_problem() -> Problem:
    """Two orthogonal factors in the plane."""
    turn = 0.4
    a = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    target = from_factors(np.array([0.7, 0.3]), a)
    tau, rule, r3 = 0.02, disk_rule(1.0), np.sqrt(3)
    x, y = rule.points.T
    moments = np.stack([x**3, r3 * x**2 * y, r3 * x * y**2, y**3], axis=-1)
    wanted = target[[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]] * [1, r3, r3, 1]
    base = Rule(rule.points, rule.weights / rule.weights.sum())
    return Problem(
        "tensor",
        tensor,
        (jnp.asarray(target, jnp.float32),),
        {"scale": 1.0, "temperature": tau},
        minimiser(base, moments, wanted, tau),
        ("x",),
        {
            "E x_1": lambda z: z[..., 0],
            "E x_1^3": lambda z: z[..., 0] ** 3,
            "E |x|^2": lambda z: np.sum(z**2, axis=-1),
        },
        base.weights,
    )


TRUE_SPIKES = (np.array([0.2, 0.38, 0.75]), np.array([1.0, 0.6, 0.8]))


def spikes_problem() -> Problem:
    """Three spikes, the first two nearer to each other than twice the width of the blur."""
    rng = np.random.default_rng(0)
    sensors, width, penalty, tau, largest = np.linspace(0, 1, 15), 0.1, 0.02, 0.2, 4.0
    at, weights = TRUE_SPIKES

    def seen(t: np.ndarray) -> np.ndarray:
        return np.exp(-((sensors - t[:, None]) ** 2) / (2 * width**2))

    observed = weights @ seen(at) + 0.02 * rng.normal(size=len(sensors))
    rule = product_rule(interval_rule(0, 1, 80), interval_rule(0, largest, 80))
    t, a = rule.points.T
    exact = minimiser(
        rule, a[:, None] * seen(t) / np.sqrt(2), observed / np.sqrt(2), tau, penalty * a
    )
    grid = np.linspace(0, 1, 401)
    masses, _ = sparse_on_grid(sensors, observed, width=width, penalty=penalty, grid=grid)
    found = ", ".join(f"{m:.3f} at {x:.4f}" for x, m in zip(grid, masses, strict=True) if m > 1e-6)
    return Problem(
        "spikes",
        spikes,
        (jnp.asarray(sensors, jnp.float32), jnp.asarray(observed, jnp.float32)),
        {"width": width, "largest": largest, "penalty": penalty, "temperature": tau},
        exact,
        ("position", "mass"),
        {
            "E a": lambda z: z[..., 1],
            "E a t": lambda z: z[..., 0] * z[..., 1],
            "E a t^2": lambda z: z[..., 0] ** 2 * z[..., 1],
        },
        rule.weights,
        notes=(
            "true masses and positions: "
            + ", ".join(f"{m:.3f} at {x:.4f}" for x, m in zip(at, weights, strict=True)),
            f"tau = 0 on a grid in steps of .0025: {found}",
        ),
    )


def mmd_problem() -> Problem:
    """A Gaussian kernel, and the quantiles of a beta law."""
    atoms, tau, rule = quantiles(dist.Beta(2.0, 5.0), 40), 0.1, interval_rule(0, 1)
    kernel = kernels.Gaussian(0.15)
    f = kernel_features(gram(kernel, np.append(rule.points, atoms)))
    count = len(rule.points)
    return Problem(
        "MMD",
        quantisation,
        (mm.Measure.uniform(jnp.asarray(atoms, jnp.float32)), kernel, dist.Uniform()),
        {"temperature": tau, "block_size": 1000},
        minimiser(rule, f[:count], f[count:].mean(axis=0), tau),
        ("x",),
        {"E x": lambda z: z[..., 0], "E x^2": lambda z: z[..., 0] ** 2},
        rule.weights,
        (rule.points, beta.pdf(rule.points, 2, 5)),
        (f"the target has E x = {atoms.mean():.4f}",),
    )


def cut_normal(x: jax.Array) -> jax.Array:
    """log p of a point of [0, 1]: a normal law whose mean is outside, so that it ends at 0 where
    it is largest."""
    return -((x[0] + 0.1) ** 2) / (2 * 0.3**2)


def stein_problem() -> Problem:
    """The right shoulder of a normal law."""
    tau, rule = 0.05, interval_rule(0, 1)
    kernel, base = (
        kernels.InverseMultiquadric(0.2),
        mm.distributions.UniformBox(np.zeros(1, np.float32), np.ones(1, np.float32)),
    )
    geometry = mm.mirrors.mirror_map(base.support, base.event_shape)
    with jax.enable_x64(True):
        F = KSD(cut_normal, kernel, geometry)
        lifted = jax.vmap(F.lift)(jnp.asarray(rule.points[:, None]))
        h = np.asarray(jax.vmap(jax.vmap(F.pair, (None, 0)), (0, None))(lifted, lifted))
        p = rule.weights * np.exp(
            np.asarray(jax.vmap(cut_normal)(jnp.asarray(rule.points[:, None])))
        )
    f = kernel_features((h + h.T) / 2)
    return Problem(
        "KSD",
        stein,
        (cut_normal, kernel, base),
        {"temperature": tau, "block_size": 1000},
        minimiser(rule, f, np.zeros(f.shape[1]), tau),
        ("x",),
        {"E x": lambda z: z[..., 0], "E x^2": lambda z: z[..., 0] ** 2},
        rule.weights,
        (rule.points, p / p.sum() / rule.weights),
        (f"p has E x = {p @ rule.points / p.sum():.4f}",),
    )


def transport_problem() -> Problem:
    """Two beta laws and the squared distance."""
    laws, epsilon, rho = (dist.Beta(2.0, 5.0), dist.Beta(4.0, 2.0)), 0.1, 5.0
    kernel, atoms = kernels.Gaussian(0.3), [quantiles(law, 60) for law in laws]
    line, features, targets, masses = interval_rule(0, 1, 50), [], [], []
    for law, z in zip(laws, atoms, strict=True):
        f = kernel_features(gram(kernel, np.append(line.points, z)), 1e-11) * np.sqrt(rho)
        features.append(f[: len(line.points)])
        targets.append(f[len(line.points) :].mean(axis=0))
        a, b = float(law.concentration1), float(law.concentration0)
        masses.append(line.weights * beta.pdf(line.points, a, b))
    pairs = product_rule(line, line)
    base = Rule(pairs.points, np.outer(*masses).reshape(-1))
    n = len(line.points)
    both = np.hstack([np.repeat(features[0], n, axis=0), np.tile(features[1], (n, 1))])
    cost = (pairs.points[:, 0] - pairs.points[:, 1]) ** 2
    exact = minimiser(base, both, np.concatenate(targets), epsilon, cost)
    plan = sinkhorn(cost.reshape(n, n), masses[0], masses[1], epsilon)
    return Problem(
        "transport",
        entropic_transport,
        (laws, tuple(mm.Measure.uniform(jnp.asarray(z, jnp.float32)) for z in atoms), kernel),
        {"cost": lambda x, y: (x - y) ** 2, "epsilon": epsilon, "penalty": rho, "block_size": 1000},
        exact,
        ("x", "y"),
        {
            "E c": lambda z: (z[..., 0] - z[..., 1]) ** 2,
            "E x": lambda z: z[..., 0],
            "E xy": lambda z: z[..., 0] * z[..., 1],
        },
        pairs.weights,
        notes=(
            f"Sinkhorn's coupling, rho = infinity: E c = {np.sum(plan.reshape(-1) * cost):.4f}, "
            f"E xy = {np.sum(plan.reshape(-1) * pairs.points.prod(axis=1)):.4f}",
        ),
    )


def quantiles(law: dist.Beta, count: int) -> np.ndarray:
    """Points of equal mass that stand for a beta law."""
    level = (np.arange(count) + 0.5) / count
    return beta.ppf(level, float(law.concentration1), float(law.concentration0)).astype(np.float32)


def gram(kernel: Callable, points: np.ndarray) -> np.ndarray:
    """In double precision."""
    with jax.enable_x64(True):
        z = jnp.asarray(points, float)
        return np.asarray(jax.jit(jax.vmap(jax.vmap(kernel, (None, 0)), (0, None)))(z, z))


PROBLEMS = (tensor_problem, spikes_problem, mmd_problem, stein_problem, transport_problem)


#: Those with interactions of all pairs take half as many particles.
PAIRWISE = ("MMD", "KSD", "transport")


def points_of(idata: Any, problem: Problem) -> np.ndarray:
    """Particles in double precision, shape (chain, draw, particle, coordinate)."""
    posterior = dataset(idata, "posterior")
    sites = [posterior[name].values.astype(float) for name in problem.sites]
    return np.concatenate([z.reshape(*z.shape[:3], -1) for z in sites], axis=-1)


class Comparison(NamedTuple):
    """A mean under the particles with its standard error, and under the minimiser."""

    statistic: str
    mean: float
    error: float
    exact: float

    @property
    def z(self) -> float:
        return (self.mean - self.exact) / self.error


def compare(problem: Problem, points: np.ndarray) -> list[Comparison]:
    """Chains are independent, so that their spread is the error."""
    mu, rows = problem.exact, []
    nodes = mu.points.reshape(len(mu.weights), -1)
    for name, function in problem.statistics.items():
        means = function(points).mean(axis=(1, 2))
        error = means.std(ddof=1) / np.sqrt(len(means))
        rows.append(Comparison(name, means.mean(), error, float(mu.weights @ function(nodes))))
    return rows


def run(problem: Problem, arguments: argparse.Namespace) -> Any:
    print(f"\n{problem.name}", end="")
    # From draws of the base: uniform points of a chart lie on the rim of a ball.
    kernel = mm.MMFLD(problem.model, init_strategy=init_to_sample)
    particles = arguments.particles // (2 if problem.name in PAIRWISE else 1)
    mcmc = command.replicates(
        kernel, arguments, *problem.args, particles=particles, **problem.setting
    )
    idata = mm.to_inference_data(mcmc)
    stats = dataset(idata, "sample_stats")
    ratio, accepted = (
        stats["collective_ratio"].mean().item(),
        stats["acceptance_rate"].mean().item(),
    )
    print(f"  accepted {accepted:.0%}, collective ratio {ratio:.2f}")
    for note in problem.notes:
        print(f"  {note}")
    print("  statistic      mean     error     exact      z")
    for row in compare(problem, points_of(idata, problem)):
        print(
            f"  {row.statistic:<10} {row.mean:8.4f}  {row.error:8.4f}"
            f"  {row.exact:8.4f} {row.z:6.1f}"
        )
    return idata


def recover(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Four factors in eight dimensions: true and found weights, and the cosines between factors."""
    rng = np.random.default_rng(1)
    truth, weights = np.linalg.qr(rng.normal(size=(8, 8)))[0][:4], np.array([0.4, 0.3, 0.2, 0.1])
    target = jnp.asarray(from_factors(weights, truth), jnp.float32)
    cooling = optax.exponential_decay(100.0, max(arguments.warmup, 1), 0.01, end_value=1.0)
    options = argparse.Namespace(**{**vars(arguments), "chains": 2})
    kernel = mm.MMFLD(tensor, init_strategy=init_to_sample, temperature=cooling)
    print("\ntensor, four factors in eight dimensions", end="")
    setting = {"scale": 1.0, "temperature": 2e-4, "particles": arguments.particles}
    mcmc = command.replicates(kernel, options, target, **setting)
    loss = np.asarray(mcmc.get_extra_fields()["objective"]).mean()
    last = np.asarray(mcmc.get_samples(group_by_chain=True)["x"])[0, -1]
    found, directions = factors(last, 4, 1.0)
    pairs = np.abs(directions @ truth.T)
    order = pairs.argmax(axis=0)
    cosines = pairs[order, np.arange(4)]
    print(f"  loss {loss:.5f} of {np.sum(np.square(target)):.4f} at tau = 2e-4")
    print(f"  true weights {weights}, found {found[order].round(3)}, cosines {cosines.round(4)}")
    return [weights, found[order], cosines]


def draw(problems: list[Problem], runs: list[Any], recovered: list[np.ndarray]) -> Any:
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.4), layout="constrained")
    panels = {problem.name: ax for problem, ax in zip(problems, axes.flat, strict=False)}
    for problem, idata in zip(problems, runs, strict=True):
        ax, points = panels[problem.name], points_of(idata, problem)
        if points.shape[-1] == 1:
            draw_line(ax, problem, points.reshape(-1))
        else:
            draw_plane(ax, problem, points[0, -1])
        style.bare(ax)
    turn = np.linspace(0, 2 * np.pi, 200)
    panels["tensor"].plot(np.cos(turn), np.sin(turn), color="black", lw=0.8)
    panels["tensor"].set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title="tensor")
    panels["spikes"].set(xlabel="position $t$", ylabel="mass $a$", title="spikes")
    for at in TRUE_SPIKES[0]:
        panels["spikes"].axvline(at, color=style.REFERENCE, lw=1.2, ls="--")
    panels["MMD"].set(xlabel="$x$", ylabel="density", title="kernel discrepancy")
    panels["KSD"].set(xlabel="$x$", ylabel="density", title="Stein discrepancy")
    panels["transport"].set(xlabel="$x$", ylabel="$y$", title="entropic transport")
    weights, found, _ = recovered
    ax, place = style.bare(axes[1, 2]), np.arange(len(weights))
    ax.bar(place - 0.2, weights, 0.38, color="0.75", label="true")
    ax.bar(place + 0.2, found, 0.38, color=style.COLOURS[0], label="found")
    ax.set(xticks=place, xticklabels=place + 1, xlabel="factor", ylabel="weight")
    ax.set_title("tensor in eight dimensions")
    ax.legend(frameon=False)
    return figure


def draw_plane(ax: Any, problem: Problem, points: np.ndarray) -> None:
    """Particles of one draw over the density of the minimiser."""
    nodes, base = problem.exact.points, problem.base
    density = problem.exact.weights / base
    levels = density.max() * np.array([0.02, 0.1, 0.3, 0.6, 1.0])
    ax.tricontourf(*nodes.T, density, levels=levels, cmap="Greys", alpha=0.9)
    ax.plot(*points.T, ".", ms=3, color=style.COLOURS[0], alpha=0.6)


def draw_line(ax: Any, problem: Problem, points: np.ndarray) -> None:
    """Histogram of the particles of all draws, density of the minimiser."""
    ax.hist(points, 50, (0, 1), density=True, color=style.COLOURS[4], label="particles")
    density = problem.exact.weights / problem.base
    ax.plot(problem.exact.points, density, color="black", lw=1.3, label="exact")
    if problem.target is not None:
        ax.plot(*problem.target, color=style.REFERENCE, lw=1.2, ls="--", label="target")
    ax.legend(frameon=False)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser("paper problems", __doc__)
    parser.add_argument("--particles", type=int, default=400, help="N; half of it for pairs")
    command.add_run_options(parser, warmup=400, samples=100, thinning=20, chains=8)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.particles, arguments.warmup, arguments.samples = 50, 50, 40
        arguments.chains = 4
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    problems = [make() for make in PROBLEMS]
    runs = [run(problem, arguments) for problem in problems]
    recovered = recover(arguments)
    for problem, idata in zip(problems, runs, strict=True):
        path = arguments.out / f"paper_problems_{problem.name.lower()}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        idata.to_netcdf(path, engine="h5netcdf")
    figure = draw(problems, runs, recovered)
    figure.savefig(arguments.out / "paper_problems.png", dpi=100)
    print(f"\nThe runs are in {arguments.out}/paper_problems_*.nc, the figure beside them")
