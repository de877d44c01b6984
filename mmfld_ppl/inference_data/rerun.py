"""A finished run once more, with half the step or fewer particles: what either has cost."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from numpyro.infer import MCMC

from ..diagnostics import Estimate, fit_particle_number, step_bias
from ..dynamics import AdaptationState
from ..kernel import LangevinKernel
from .convert import require_run, to_inference_data
from .groups import dataset, from_groups
from .summary import summary
from .thinning import evenly

#: Share of the draws at half the step that are left out, on the way from one law to the other.
SETTLING = 4
#: Refused moves from which on the law of an unadjusted run is not one that a step is a bias of.
REFUSED = 0.01
#: Particles that can be halved twice.
LEAST = 8


def step_size_bias(
    mcmc: MCMC, key: PRNGKeyArray, *, num_samples: int | None = None
) -> pd.DataFrame:
    """What the length of the step has done to the results of an unadjusted run.

    The run goes on from its last state at half the step; the first quarter of these draws is left
    out. A row a quantity of `summary`, and sd(...) of each site that is no particle: its values
    `at_step` and `at_half`, the `bias` of the former by extrapolation to a step of zero, which is
    first order in the step, with its Monte Carlo error `mcse_bias`; `limit` = at_step - bias, with
    `mcse_limit`. All four are NaN, with a warning, where more than 1% of the moves of either run
    were refused: particles that are held at the boundary have no law that the step moves by a first
    order.

    mcmc: a finished run of `MMFLD` or `ProjectedMFLD`; it is left as it is. An adjusted run has no
    bias to be found. num_samples: steps to take, default twice those of the run: as much time.
    Raises TypeError for another kernel, ValueError for a run without draws."""
    kernel, state = _ours(mcmc), mcmc.last_state
    if callable(kernel.settings.step_size):
        schedule = kernel.settings.step_size
        settings = dataclasses.replace(kernel.settings, step_size=lambda i: schedule(i) / 2)
        kernel = copy.copy(kernel)
        kernel.settings = settings
    again = _like(mcmc, kernel, num_samples or 2 * mcmc.num_samples)
    halved = {name: _halved(block) for name, block in state.adaptation.items()}
    again.post_warmup_state = state._replace(adaptation=halved)
    again.run(key, *mcmc._args, **mcmc._kwargs)
    runs = to_inference_data(mcmc), _settled(to_inference_data(again))
    whole, half = map(_means, runs)
    share = 0.0 if kernel.settings.metropolize else max(map(_refused, runs))
    if share > REFUSED:
        warnings.warn(
            f"{share:.1%} of the moves of particles were refused at step {_step(mcmc):.2g} or at "
            "half of it, so that nothing is known of the bias of the step: extrapolation to a step "
            "of zero takes a law that the refusals do not hold up. Take a step several times "
            "shorter, metropolize=True, or the default map of the support.",
            stacklevel=2,
        )
    rows, nothing = {}, Estimate(np.nan, np.nan)
    for name in whole:
        found = step_bias(whole[name], half[name])
        if share > REFUSED:
            found = found._replace(bias=nothing, limit=nothing)
        rows[name] = {
            "at_step": whole[name].value,
            "at_half": half[name].value,
            "bias": found.bias.value,
            "mcse_bias": found.bias.error,
            "limit": found.limit.value,
            "mcse_limit": found.limit.error,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def particle_number_bias(
    mcmc: MCMC, key: PRNGKeyArray, *, argument: str | None = None
) -> pd.DataFrame:
    """What the number of particles has done to the results of a run.

    Two more runs, with a quarter and a half of the particles, from a subsample of the last draw and
    with warm-up; then a fit of  limit + c/N  to the three. A row a quantity of `summary`: its value
    `at_N`, the `bias` c/N with its Monte Carlo error `mcse_bias`, `limit` with `mcse_limit`, and
    `chi_squared` of the one degree that is left: much above one the 1/N law does not hold yet.

    mcmc: a finished run of `MMFLD` or `ProjectedMFLD`; it is left as it is. argument: name of the
    model's argument that is its number of particles; default, the only one that equals it.
    Raises TypeError for another kernel, ValueError where no argument is the number."""
    kernel = _ours(mcmc)
    layout = mcmc.last_state.layout.value
    axes = {s.name: s.particle_axis for s in layout.sites}
    draws = jax.device_get(mcmc.get_samples(group_by_chain=True))
    last = {n: np.asarray(x)[:, -1] for n, x in draws.items() if n in axes}
    sizes = {x.shape[axis] for n, x in last.items() if (axis := axes[n]) is not None}
    if len(sizes) != 1 or min(sizes) < LEAST:
        raise ValueError(
            f"a fit in 1/N needs a model with at least {LEAST} mm.particles, this one has "
            f"{max(sizes, default=0)}"
        )
    (size,) = sizes
    model: Any = kernel.model  # A potential function has no particles.
    bound = inspect.signature(model).bind(*mcmc._args, **mcmc._kwargs)
    bound.apply_defaults()
    argument = _number_argument(bound.arguments, size, argument)
    found = {size: _means(to_inference_data(mcmc))}
    for number, run_key in zip((size // 4, size // 2), jax.random.split(key), strict=True):
        bound.arguments[argument] = number
        at = evenly(size, number)
        start = {n: x if axes[n] is None else np.take(x, at, axis=axes[n]) for n, x in last.items()}
        if mcmc.num_chains == 1:
            start = {n: x[0] for n, x in start.items()}
        again = _like(mcmc, kernel, mcmc.num_samples)
        again.run(run_key, *bound.args, init_params=start, **bound.kwargs)
        found[number] = _means(to_inference_data(again))
    rows = {}
    for name, (value, _) in found[size].items():
        values, errors = zip(*(found[n][name] for n in found), strict=True)
        if not np.all(np.asarray(errors) > 0):
            continue  # The same at every draw, and so without an error to weigh it by.
        fit = fit_particle_number(np.array(list(found)), np.array(values), np.array(errors))
        bias = fit.bias(size)
        rows[name] = {
            "at_N": value,
            "bias": bias.value,
            "mcse_bias": bias.error,
            "limit": fit.limit.value,
            "mcse_limit": fit.limit.error,
            "chi_squared": fit.chi_squared,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _ours(mcmc: MCMC) -> LangevinKernel:
    if not isinstance(mcmc.sampler, LangevinKernel):
        raise TypeError(
            f"reruns are for MMFLD and ProjectedMFLD, got a run of {type(mcmc.sampler).__name__}"
        )
    require_run(mcmc)
    return mcmc.sampler


def _like(mcmc: MCMC, kernel: LangevinKernel, num_samples: int) -> MCMC:
    return MCMC(
        kernel,
        num_warmup=mcmc.num_warmup,
        num_samples=num_samples,
        num_chains=mcmc.num_chains,
        thinning=mcmc.thinning,
        chain_method=mcmc.chain_method,
        progress_bar=False,
    )


def _halved(block: AdaptationState) -> AdaptationState:
    search = block.averaging
    logs = {name: getattr(search, name) - math.log(2) for name in ("log_step", "log_average")}
    return block._replace(averaging=search._replace(**logs))


def _settled(idata: Any) -> Any:
    groups = {name: dataset(idata, name) for name in ("posterior", "sample_stats")}
    length = groups["posterior"].sizes["draw"]
    late = {n: group.isel(draw=slice(length // SETTLING, None)) for n, group in groups.items()}
    return from_groups(late, {})


def _refused(idata: Any) -> float:
    """Share of moves. Without adjustment, what is not accepted is not finite."""
    return float(1 - dataset(idata, "sample_stats")["acceptance_rate"].mean())


def _step(mcmc: MCMC) -> float:
    return float(np.ravel(mcmc.last_state.step_size)[0])


def _means(idata: Any) -> dict[str, Estimate]:
    """Of each quantity but the joint density, which grows with the particles; and the standard
    deviations of sites that are no particles, whose draws have a law of their own."""
    table = summary(idata)
    rows = zip(table.index, table["mean"], table["mcse_mean"], strict=True)
    found = {str(name): Estimate(mean, error) for name, mean, error in rows if name != "lp"}
    sites = set(dataset(idata, "posterior").data_vars)
    for name in table.index:
        if str(name).split("[")[0] in sites:
            found[f"sd({name})"] = Estimate(*table.loc[name, ["sd", "mcse_sd"]])
    return found


def _number_argument(arguments: Mapping[str, Any], size: int, name: str | None) -> str:
    """The argument of the model that is its number of particles."""
    fitting = [
        n for n, v in arguments.items() if isinstance(v, int | np.integer) and int(v) == size
    ]
    if name is not None and name not in fitting:
        raise ValueError(
            f"argument '{name}' of the model is not its number of particles, {size}; arguments "
            f"that equal it: {fitting}"
        )
    if name is None and len(fitting) != 1:
        raise ValueError(
            f"the model must take its number of particles, {size}, as an argument: those that "
            f"equal it are {fitting}; name one by argument="
        )
    return name or fitting[0]
