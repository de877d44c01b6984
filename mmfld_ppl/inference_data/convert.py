"""From a finished NumPyro run to ArviZ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC

from ..diagnostics import run_complaints
from ..kernel import LangevinKernel
from ..state import KernelState
from .datasets import Coords
from .export import Dims, Export, flat, statistics_of
from .groups import from_groups
from .mean_field import mean_field_statistics

#: Chains that a warning of refused moves lists.
WORST = 3


def to_inference_data(
    mcmc: MCMC,
    *,
    log_likelihood: bool = False,
    dual: bool = False,
    diagnostics: bool = False,
    dims: Dims | None = None,
    coords: Coords | None = None,
    constant_data: Mapping[str, Array] | None = None,
    posterior_predictive: Mapping[str, Array] | None = None,
    predictions: Mapping[str, Array] | None = None,
    prior: Mapping[str, Array] | None = None,
) -> Any:
    """The draws of a run and what is known about them, for ArviZ.

    Returns an `arviz.InferenceData` (arviz < 1) or an `xarray.DataTree` (arviz >= 1) with the same
    groups, variables, dimensions and coordinates. Chains are replicates of the whole particle
    system. Particles interact: they are not chains but a dimension with the name of their plate.

      posterior: latent and deterministic sites, with dims chain, draw, plates, event axes.
      sample_stats: `lp` (log density of the draw), `acceptance_rate`, `step_size`, `diverging`,
        `objective` (F), `collective_ratio`, and what else the run collected; `boundary_slack`, the
        least `MirrorMap.slack` of a draw over its particles and sites, where a site has a boundary,
        and `boundary_slack_by_site` where several have; `scale_of_x`, that of the law of a site x
        where other latent sites make it, for our kernels.
      observed_data: the whole of it, also where the run used minibatches.
      log_likelihood, unconstrained_posterior, constant_data: on request.
      posterior_predictive, predictions, prior, prior_predictive: as given.
      mean_field: on request, what `diagnose` needs the model for; see `mean_field_statistics`.

    Attributes of the whole, and again of the posterior, are strings and numbers; mappings and
    lists are JSON. They hold the kernel and its settings, map and support of each site,
    temperature, number of particles, last step size of each chain, versions. NumPyro does not keep
    the key of a run; `last_rng_key` is the one that it would go on with. `phase` is "warmup" for
    the draws of `mcmc.warmup(collect_warmup=True)`.

    mcmc: a finished run of any NumPyro kernel. What a kernel does not collect is left out.
    log_likelihood: whether to evaluate the log likelihood of each observation at each draw.
    dual: whether to add the dual variables y = grad phi(x) of each site, phi being its map before
      adaptation, so that chains compare.
    diagnostics: whether to evaluate free energy, optimality gap, Stein discrepancy and the other
      diagnostics of a measure, for a model with an objective. This takes seconds, and a minute a
      chain where a point sees all particles (`MMD`, `Interaction`): a bar shows how far it is,
      unless the run had `progress_bar=False`.
    dims: names for the event axes of a site, or for all axes of constant data. Those of a sample
      site may also be named in the model, by `infer={"event_dims": [...]}`.
    coords: coordinates of dimensions, by name. Default: 0, 1, ...
    constant_data: arrays that the model was given, to be stored beside its result.
    posterior_predictive: what `Predictive(model, mcmc.get_samples(group_by_chain=True),
      batch_ndims=2)` gives, of a model without what was observed, as by
      `numpyro.handlers.uncondition(model)`.
    predictions: the same for other data, `Predictive(...)(key, new_data)`. Plates that no latent
      site is in are of data, and have numbers 0, 1, ... for a coordinate there.
    prior: what `Predictive(model, num_samples=500)` gives, of such a model. Latent sites, and
      others that the posterior has, make the group prior, the rest prior_predictive.

    Warns when the particles overshoot together, when moves were refused because something was not
    finite, and when an adjusted kernel accepts hardly anything or nearly everything.
    Raises ValueError when there are no draws, when `dims`, `coords` or predicted draws do not fit,
    and when the log likelihood is asked of a model without observations or of a run that
    left out a site."""
    sample = _sample(mcmc)
    one = jax.tree.map(lambda leaf: leaf[0, 0], sample)
    export = Export(
        mcmc,
        one,
        log_likelihood=log_likelihood,
        dual=dual,
        dims=dims,
        coords=coords,
        constant_data=constant_data,
    )
    draws, statistics = flat(sample), statistics_of(mcmc)
    datasets = export.datasets(draws, statistics) | export.data()
    shape = next(iter(draws.values())).shape[:2]
    if posterior_predictive is not None:
        datasets |= export.predictive("posterior_predictive", posterior_predictive, shape)
    if predictions is not None:
        datasets |= export.predictive("predictions", predictions, shape, elsewhere=True)
    if prior is not None:
        datasets |= export.prior(prior, draws)
    export.require_coords(datasets)
    if diagnostics:
        objective = statistics.get("objective")
        datasets["mean_field"] = mean_field_statistics(mcmc, draws, one, objective)

    attrs = export.attributes(mcmc, statistics)
    datasets["posterior"].attrs = attrs
    if attrs["phase"] == "sample":
        for complaint in complaints(mcmc, statistics):
            warnings.warn(complaint, stacklevel=2)
    return from_groups(datasets, attrs)


def require_run(mcmc: MCMC) -> None:
    """Raises ValueError for an MCMC without a state."""
    if mcmc.last_state is None:
        raise ValueError("this MCMC has not been run: call mcmc.run(key, ...) first")


def _sample(mcmc: MCMC) -> PyTree:
    """The draws as NumPyro has them, leaves by chain and draw."""
    require_run(mcmc)
    sample = jax.device_get(mcmc.get_samples(group_by_chain=True))
    leaves = jax.tree.leaves(sample)
    if not leaves:
        raise ValueError("the run collected no site: leave out some of its extra_fields '~z.site'")
    # A warm-up that collects nothing leaves its arrays as they were made. Draws may be zero: a step
    # is not, and NUTS without divergences has latent sites.
    leaves += jax.tree.leaves(mcmc.get_extra_fields())
    if not any(np.any(leaf) for leaf in leaves):
        raise ValueError(
            "the run has no draws: after mcmc.warmup(key, ...) call mcmc.run(key, ...), or pass "
            "collect_warmup=True"
        )
    return sample


#: The statistics that `complaints` reads.
JUDGED = ("collective_ratio", "acceptance_rate", "diverging", "step_size")


def complaints(mcmc: MCMC, statistics: Mapping[str, Any]) -> list[str]:
    """What is wrong with a run of one of our kernels, by its statistics."""
    kernel = mcmc.sampler
    if not isinstance(kernel, LangevinKernel):
        return []
    adjusted, adaptation = kernel.settings.metropolize, kernel.settings.adaptation
    adapted = adaptation.adapt_step_size and adaptation.adapt_metric
    return run_complaints(
        collective_ratio=statistics.get("collective_ratio"),
        acceptance_rate=statistics["acceptance_rate"] if adjusted else None,
        refused=statistics["diverging"],
        where=_refusals(mcmc.last_state),
        step_size=statistics.get("step_size") if adapted else None,
    )


def _refusals(state: KernelState) -> str:
    """Where moves were refused, in words: the chains in which most were."""
    layout, found = state.layout.value, []
    sites = layout.sites
    unknown = "the density, the objective or the support"
    if layout.objective is None:
        unknown = "the log density or the support"
    rows = np.stack([np.atleast_1d(leaf) for leaf in state.refusals], axis=-1).tolist()
    affected = sorted((c for c, row in enumerate(rows) if row[0]), key=lambda c: -rows[c][0])
    for chain in affected[:WORST]:
        steps, step, site, particle = rows[chain]
        place = f"site '{sites[site].name}'" if site >= 0 else unknown
        place += f", particle {particle}" if particle >= 0 else ""
        found.append(
            f"chain {chain}: in {steps} of all steps, warm-up included, the last of them "
            f"step {step} at {place}"
        )
    if others := len(affected) - len(found):
        found.append(f"no more than that in {others} other chains")
    return "; ".join(found)
