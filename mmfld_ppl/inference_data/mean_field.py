"""What only the model can say about a mean-field run: evaluated once, stored with the draws."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import MCMC
from tqdm.auto import tqdm

from ..diagnostics import free_energy
from ..kernel import LangevinKernel
from ..latent import LatentProblem
from ..measures import Measure
from .angles import centres_of
from .attributes import at_last_step
from .chain_measure import QUANTILES, STEIN_DRAWS, chain_statistics
from .datasets import SAMPLE_DIMS, file_name
from .geometry import Draws, geometry_of, supports_of
from .proximal import KEY, Block, FrozenModel, free_coordinates
from .thinning import early_and_late, evenly
from .transport import transport_statistics

#: Draws a chain whose free energy is evaluated.
DRAWS = 100
#: Entropies need at least so many particles.
LEAST = 8


class MeanFieldRun(NamedTuple):
    """A run of a model with particles.

    particles, globals_: coordinates by site, (chain, draw, ...), the particle axis behind these.
    num_blocks: of the functional. step_size: of the first chain, at the end. adjusted: None for
    another dynamics than `MMFLD`. objective: F at every draw, None where the run did not collect it
    or drew minibatches."""

    problem: LatentProblem
    maps: dict[str, Any]
    supports: dict[str, Any]
    centres: dict[str, np.ndarray]
    temperature: float
    num_blocks: int
    step_size: float
    adjusted: bool | None
    particles: Draws
    globals_: Draws
    objective: np.ndarray | None


def mean_field_statistics(
    mcmc: MCMC, draws: Draws, one: Any, objective: np.ndarray | None
) -> xr.Dataset:
    """The free energy along a run, and how far each chain's measure is from its own fixed point.

    Along the draws, at most `DRAWS` of them evenly: `objective` (F), `divergence` (KL(mu | base);
    its mean over the measures of a functional of several), `free_energy` (F + tau KL),
    `free_energy_error`.

    Of the last draw, where the objective has transport problems: `transport_marginal_error`,
    `transport_iterations` and `transport_converged`, see `transport_statistics`.

    Of each chain, from evenly spaced draws pooled into one measure mu, where the model has no
    global sites and the functional is of one measure: `optimality_gap`, an upper bound on L(mu) -
    L(mu*), and `proximal_divergence`, KL(mu | mu_hat) in nats, both with an `_error`;
    `proximal_memory`, see `FrozenModel.draw`;
    `stein_statistic`, `stein_threshold`, `stein_p_value`, and `stein_along`, the squared
    discrepancy of the particles of single draws, the early ones dense; `first_variation_ratio`,
    with `first_variation_rounding`; `slack` and `proximal_slack`, quantiles over the particles of
    the run and of mu_hat, and `pile_up`, the share of particles below the 1% quantile of mu_hat;
    `objective_by_size`, F of subsamples, of all particles, and of the pooled measure;
    `would_accept`, for unadjusted dynamics the acceptance probability of its steps.

    draws, one: the latent sites, and a draw as `get_samples` gives it. objective: F at every draw,
    where the run collected it.
    Raises ValueError for a model without objective, or when the run left out a site."""
    run = _read(mcmc, draws, one, objective)
    chains = next(iter(run.particles.values())).shape[0]
    variables, coords = _along(run)
    variables |= transport_statistics(run.problem, run.particles | run.globals_)
    coords["chain"] = np.arange(chains)
    length, size = next(iter(run.particles.values())).shape[1:3]
    if not run.globals_ and run.num_blocks == 1 and size >= LEAST:
        model = FrozenModel(run.problem, run.maps, run.supports, run.centres, run.temperature)
        rows, bounded = [], []
        for chain in tqdm(range(chains), "diagnostics of chains", disable=not mcmc.progress_bar):
            blocks = {name: x[chain] for name, x in run.particles.items()}
            row, bounded = chain_statistics(model, blocks, run.step_size, run.adjusted, chain)
            rows.append(row)
        for name, (dims, _) in rows[0].items():
            values = np.stack([row[name][1] for row in rows])
            variables[name] = (("chain", *dims), values)
        coords |= {
            "bounded_site": bounded,
            "quantile": np.array(QUANTILES),
            "subsample": ["quarter", "half", "all", "pooled"],
            "stein_draw": early_and_late(length, STEIN_DRAWS),
        }
    used = {dim for dims, _ in variables.values() for dim in dims}
    return xr.Dataset(
        {name: (dims, np.asarray(v)) for name, (dims, v) in variables.items()},
        {dim: v for dim, v in coords.items() if dim in used},
        {
            "temperature": run.temperature,
            "num_particles": size,
            "num_blocks": run.num_blocks,
            **_named_globals(run),
        },
    )


def why_not_pooled(found: xr.Dataset) -> str | None:
    """Why the measures of a run were not pooled into one, in the words of its group mean_field;
    None where they were."""
    if "optimality_gap" in found:
        return None
    attrs = found.attrs
    if names := attrs.get("global_sites"):
        return (
            f"The particles follow {names} from draw to draw, so that there is no one fixed point "
            "to hold the draws against. Run numpyro.handlers.condition(model, {...}), with those "
            "held at a value of interest, to have the particles checked. Global sites are spread "
            "too widely by a share that falls with the step: a run at a fraction of this step_size "
            "says by how much."
        )
    if attrs.get("num_blocks", 1) > 1:
        return (
            f"The objective is one of {attrs['num_blocks']} measures, which are not pooled into "
            "one: their free energy is there, and how well their transport problems were solved."
        )
    if "num_particles" in attrs:
        return f"the run has {attrs['num_particles']} particles, too few to estimate a density"
    return "needs mm.to_inference_data(mcmc, diagnostics=True), after a run by MCMC.run"


def _named_globals(run: MeanFieldRun) -> dict[str, str]:
    if not run.globals_:
        return {}
    return {"global_sites": ", ".join(f"'{file_name(name)}'" for name in run.globals_)}


def _read(mcmc: MCMC, draws: Draws, one: Any, objective: np.ndarray | None) -> MeanFieldRun:
    geometry = geometry_of(mcmc, one, unadapted=False)
    if geometry is None or geometry.layout.objective is None:
        raise ValueError(
            "diagnostics of a measure need a model with mm.particles and mm.objective, and this "
            "one has none; leave out diagnostics=True"
        )
    layout = geometry.layout
    if missing := sorted({s.name for s in layout.sites} - set(draws)):
        raise ValueError(
            f"diagnostics=True needs all latent sites, and the run has no draws of {missing}: "
            "leave out '~z.site' in its extra_fields"
        )
    coordinates = geometry.coordinates(draws)
    evaluation, stated = geometry.problem.evaluate(
        {name: jnp.asarray(x[0, -1]) for name, x in coordinates.items()}, KEY
    )
    temperature, step_size, adjusted = float(evaluation.temperature), 0.1, None
    kernel, state = mcmc.sampler, mcmc.last_state
    if isinstance(kernel, LangevinKernel):
        settings = kernel.settings
        step_size = float(np.ravel(state.step_size)[0])
        if settings.temperature is not None:
            temperature *= at_last_step(settings.temperature, state)
        # A transition without supports is that of a mirror map.
        adjusted = None if settings.keep_supports else settings.metropolize
    names = {s.name for s in layout.block(particles=True)}
    particles = {name: x for name, x in coordinates.items() if name in names}
    return MeanFieldRun(
        geometry.problem,
        dict(geometry.maps),
        supports_of(mcmc, one),
        centres_of(particles, layout.sites),
        temperature,
        stated.functional.num_blocks,
        step_size,
        adjusted,
        particles,
        {name: x for name, x in coordinates.items() if name not in names},
        None if layout.stochastic else objective,
    )


def _along(run: MeanFieldRun) -> tuple[dict, dict]:
    """F, the divergence from the base and their sum, at evenly spaced draws."""
    chains, length, size = next(iter(run.particles.values())).shape[:3]
    at = evenly(length, DRAWS)

    def one(arguments: tuple[Block, Any]):
        draw, known = arguments
        evaluation, stated = run.problem.evaluate(draw, KEY)
        value = stated.functional(Measure.uniform(stated.points)) if known is None else known
        block = {name: draw[name] for name in run.particles}
        z, log_det = free_coordinates(block, run.supports, run.centres)
        return value, evaluation.log_base + log_det, z

    values = run.particles | run.globals_
    flat = {n: jnp.asarray(x[:, at].reshape(-1, *x.shape[2:])) for n, x in values.items()}
    known = None if run.objective is None else jnp.asarray(run.objective[:, at].reshape(-1))
    mapped = jax.jit(lambda v: jax.lax.map(one, v))((flat, known))
    value, log_base, z = jax.tree.map(np.asarray, mapped)
    found = np.full((len(value), 3), np.nan)
    if size >= LEAST * run.num_blocks:
        rows = zip(value, z, log_base, strict=True)
        found = np.array([_free_energy(run, f, y, b) for f, y, b in rows])
    columns = dict(zip(("free_energy", "free_energy_error", "divergence"), found.T, strict=True))
    shaped = {
        n: (SAMPLE_DIMS, v.reshape(chains, -1)) for n, v in ({"objective": value} | columns).items()
    }
    return shaped, {"draw": at}


def _free_energy(
    run: MeanFieldRun, objective: float, z: np.ndarray, log_base: np.ndarray
) -> tuple[float, float, float]:
    """Value, error and divergence of one draw: the mean over the blocks of the functional."""
    blocks = zip(*(np.split(v, run.num_blocks) for v in (z, log_base)), strict=True)
    each = np.array([free_energy(objective, run.temperature, y, b) for y, b in blocks])
    value, error, divergence = each.T
    return value.mean(), np.sqrt(np.sum(error**2)) / len(error), divergence.mean()
