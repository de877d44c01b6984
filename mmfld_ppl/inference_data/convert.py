"""From a finished NumPyro run to ArviZ."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC
from numpyro.infer import log_likelihood as evaluate_log_likelihood

from ..diagnostics import run_complaints
from ..kernel import LangevinKernel
from ..latent.potential import flatten_named
from .attributes import model_attributes, run_attributes
from .datasets import SAMPLE_DIMS, Coords, Named, dataset_of, file_name, require_known
from .geometry import Draws, Geometry, geometry_of
from .groups import from_groups
from .mean_field import mean_field_statistics
from .recording import Recording, Site, complete, record, whole

Dims = Mapping[str, Sequence[str]]

#: NumPyro's names of statistics, and ArviZ's. The potential energy also changes its sign.
STATISTICS = {
    "potential_energy": "lp",
    "accept_prob": "acceptance_rate",
    "adapt_state.step_size": "step_size",
    "num_steps": "n_steps",
}

#: The dimension of `boundary_slack_by_site`.
BOUNDED_SITE = "bounded_site"

#: A value that no site of a model accounts for.
UNKNOWN = Site("latent", (), None, (), None)


def to_inference_data(
    mcmc: MCMC,
    *,
    log_likelihood: bool = False,
    dual: bool = False,
    diagnostics: bool = False,
    dims: Dims | None = None,
    coords: Coords | None = None,
    constant_data: Mapping[str, Array] | None = None,
) -> Any:
    """The draws of a run and what is known about them, for ArviZ.

    Returns an `arviz.InferenceData` (arviz < 1) or an `xarray.DataTree` (arviz >= 1) with the same
    groups, variables, dimensions and coordinates. Chains are replicates of the whole particle
    system. Particles interact: they are not chains but a dimension with the name of their plate.

      posterior: latent and deterministic sites, with dims chain, draw, plates, event axes.
      sample_stats: `lp` (log density of the draw), `acceptance_rate`, `step_size`, `diverging`,
        `objective` (F), `collective_ratio`, and what else the run collected; `boundary_slack`, the
        least `MirrorMap.slack` of a draw over its particles and sites, where a site has a boundary,
        and `boundary_slack_by_site` where several have.
      observed_data: the whole of it, also where the run used minibatches.
      log_likelihood, unconstrained_posterior, constant_data: on request.
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
      diagnostics of a measure, for a model with an objective; seconds to a minute.
    dims: names for the event axes of a site, or for all axes of constant data. Those of a sample
      site may also be named in the model, by `infer={"event_dims": [...]}`.
    coords: coordinates of dimensions, by name. Default: 0, 1, ...
    constant_data: arrays that the model was given, to be stored beside its result.

    Warns when the particles overshoot together, when moves were refused because something was not
    finite, and when an adjusted kernel accepts hardly anything or nearly everything.
    Raises ValueError when there are no draws, when `dims` or `coords` do not fit, and when the log
    likelihood is asked of a model without observations or of a run that left out a site."""
    dims, constants = dict(dims or {}), dict(constant_data or {})
    coords = {file_name(dim): values for dim, values in (coords or {}).items()}
    sample = _sample(mcmc)
    draws = _flat(sample)
    one = jax.tree.map(lambda leaf: leaf[0, 0], sample)
    recording = record(mcmc.sampler.model, mcmc._args, mcmc._kwargs, _flat(one))
    geometry = geometry_of(mcmc, one, unadapted=dual)
    require_known("dims", dims, [*draws, *recording.sites, *constants])

    draws = {n: draws[n] for n in (*recording.sites, *draws) if n in draws}  # in model order
    statistics = _statistics(mcmc)
    observed = {n: s for n, s in recording.sites.items() if s.kind == "observed"}
    slack = {} if geometry is None else geometry.slack(draws)
    groups = {
        "posterior": _of_sites(draws, recording, dims),
        "sample_stats": _plain(statistics) | _slack_statistics(slack),
        "observed_data": {
            n: (s.axis_names(n, np.shape(s.value), dims.get(n)), s.value)
            for n, s in observed.items()
        },
        "constant_data": {
            n: (complete(n, [None] * np.ndim(v), dims.get(n, ())), v) for n, v in constants.items()
        },
    }
    if log_likelihood:
        groups["log_likelihood"] = _log_likelihood(mcmc, draws, recording)
    if dual:
        groups["unconstrained_posterior"] = _dual(geometry, draws, recording, dims)
    named = [names for arrays in groups.values() for names, _ in arrays.values()]
    require_known("coords", coords, [file_name(name) for names in named for name in names])
    coords.setdefault(BOUNDED_SITE, [file_name(name) for name in slack])
    datasets = {name: dataset_of(arrays, coords) for name, arrays in groups.items() if arrays}
    if diagnostics:
        objective = statistics.get("objective")
        datasets["mean_field"] = mean_field_statistics(mcmc, draws, one, objective)

    attrs = run_attributes(mcmc) | model_attributes(recording, geometry)
    if "step_size" in statistics:
        attrs["step_size"] = json.dumps(statistics["step_size"][:, -1].tolist())
    datasets["posterior"].attrs = attrs
    if attrs["phase"] == "sample":
        for complaint in _complaints(mcmc, statistics):
            warnings.warn(complaint, stacklevel=2)
    return from_groups(datasets, attrs)


def _sample(mcmc: MCMC) -> PyTree:
    """The draws as NumPyro has them, leaves by chain and draw."""
    if mcmc.last_state is None:
        raise ValueError("this MCMC has not been run: call mcmc.run(key, ...) first")
    sample = jax.device_get(mcmc.get_samples(group_by_chain=True))
    leaves = jax.tree.leaves(sample)
    if not leaves:
        raise ValueError("the run collected no site: leave out some of its extra_fields '~z.site'")
    # A warm-up that collects nothing leaves its arrays of draws as they were made.
    if not any(np.any(leaf) for leaf in leaves):
        raise ValueError(
            "the run has no draws: after mcmc.warmup(key, ...) call mcmc.run(key, ...), or pass "
            "collect_warmup=True"
        )
    return sample


def _statistics(mcmc: MCMC) -> Draws:
    collected = _flat(jax.device_get(mcmc.get_extra_fields(group_by_chain=True)))
    statistics = {STATISTICS.get(name, name): value for name, value in collected.items()}
    if "lp" in statistics:
        statistics["lp"] = -statistics["lp"]
    return statistics


def _flat(tree: PyTree) -> Draws:
    names, leaves, _ = flatten_named(tree)
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def _plain(values: Draws) -> dict[str, Named]:
    """Of no site: the axes after chain and draw have no names."""
    return {
        name: ((*SAMPLE_DIMS, *complete(name, [None] * (np.ndim(v) - 2))), v)
        for name, v in values.items()
    }


def _of_sites(values: Draws, recording: Recording, dims: Dims) -> dict[str, Named]:
    named = {}
    for name, value in values.items():
        site, shape = recording.sites.get(name, UNKNOWN), np.shape(value)[2:]
        named[name] = ((*SAMPLE_DIMS, *site.axis_names(name, shape, dims.get(name))), value)
    return named


def _slack_statistics(slack: Draws) -> dict[str, Named]:
    if not slack:
        return {}
    by_site = np.stack(list(slack.values()), axis=-1)
    named: dict[str, Named] = {"boundary_slack": (SAMPLE_DIMS, by_site.min(axis=-1))}
    if len(slack) > 1:
        named["boundary_slack_by_site"] = ((*SAMPLE_DIMS, BOUNDED_SITE), by_site)
    return named


def _log_likelihood(mcmc: MCMC, draws: Draws, recording: Recording) -> dict[str, Named]:
    kinds = {name: site.kind for name, site in recording.sites.items()}
    if "observed" not in kinds.values():
        raise ValueError(
            "log_likelihood=True needs observed sites, and the model has none (an objective or a "
            "factor is no observation); leave it out"
        )
    latents = [name for name, kind in kinds.items() if kind == "latent"]
    if missing := sorted(set(latents) - set(draws)):
        raise ValueError(
            f"log_likelihood=True needs all latent sites, and the run has no draws of {missing}: "
            "leave out '~z.site' in its extra_fields, or log_likelihood=True here"
        )
    values = evaluate_log_likelihood(
        whole(mcmc.sampler.model),
        {name: draws[name] for name in latents},
        *mcmc._args,
        batch_ndims=2,
        **mcmc._kwargs,
    )
    return {
        name: ((*SAMPLE_DIMS, *recording.sites[name].batch().axis_names(name, v.shape[2:])), v)
        for name, v in jax.device_get(values).items()
    }


def _dual(
    geometry: Geometry | None, draws: Draws, recording: Recording, dims: Dims
) -> dict[str, Named]:
    if geometry is None:
        raise ValueError(
            "dual=True needs the mirror maps of the sites, and not all latent sites of this model "
            "can have one; leave it out"
        )
    dual = geometry.dual(draws)
    # In a chart of another shape than its values, a site has axes of other names.
    alike = {n for n, y in dual.items() if n in draws and y.shape == draws[n].shape}
    named = _of_sites({n: y for n, y in dual.items() if n in alike}, recording, dims)
    return named | _plain({n: y for n, y in dual.items() if n not in alike})


def _complaints(mcmc: MCMC, statistics: Draws) -> list[str]:
    kernel = mcmc.sampler
    if not isinstance(kernel, LangevinKernel):
        return []
    adjusted = kernel.settings.metropolize
    return run_complaints(
        collective_ratio=statistics.get("collective_ratio"),
        acceptance_rate=statistics["acceptance_rate"] if adjusted else None,
        refused=statistics["diverging"],
    )
