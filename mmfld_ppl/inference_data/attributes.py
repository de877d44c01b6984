"""What an exported run says about itself: strings and numbers, which every file format keeps."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC
from numpyro.infer.mcmc import MCMCKernel

from ..chain import Schedule
from ..kernel import LangevinKernel
from ..latent import Layout
from ..state import KernelState
from .datasets import file_name
from .geometry import Geometry
from .recording import Recording

Attributes = dict[str, str | int | float]


def run_attributes(mcmc: MCMC) -> Attributes:
    """Versions, and how the run was made."""
    state = mcmc.last_state
    attrs: Attributes = {
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(),
        "creation_library": "mmfld_ppl",
        "creation_library_version": _version("mmfld-ppl"),
        "inference_library": "numpyro",
        "inference_library_version": _version("numpyro"),
        "jax_version": _version("jax"),
        "kernel": type(mcmc.sampler).__name__,
        "phase": _phase(mcmc),
        "num_warmup": mcmc.num_warmup,
        "thinning": mcmc.thinning,
    }
    layout = state.layout.value if isinstance(mcmc.sampler, LangevinKernel) else None
    if settings := kernel_settings(mcmc.sampler, layout):
        attrs["kernel_settings"] = json.dumps(settings)
    schedule = mcmc.sampler.settings.temperature if layout is not None else None
    if schedule is not None:  # Of the last step; `temperature` is that of the model.
        attrs["temperature_scale"] = at_last_step(schedule, state)
    if hasattr(state, "rng_key"):
        attrs["last_rng_key"] = json.dumps(_key_data(state.rng_key))
    return attrs


def at_last_step(schedule: Schedule, state: KernelState) -> float:
    """What a schedule said at the last step that was made, at the first before any."""
    return float(schedule(jnp.maximum(jnp.ravel(state.i)[0] - 1, 0)))


def model_attributes(recording: Recording, geometry: Geometry | None) -> Attributes:
    """Supports and maps of the sites, and the mean-field problem if there is one."""
    attrs: Attributes = {}
    if geometry is not None:
        sites = geometry.layout.sites
        attrs["supports"] = json.dumps({file_name(s.name): s.support for s in sites})
        attrs["mirror_maps"] = json.dumps({file_name(s.name): s.geometry for s in sites})
    if recording.masked:
        attrs["masked"] = json.dumps([file_name(name) for name in recording.masked])
    if recording.scaled_by:
        named = recording.scaled_by.items()
        attrs["scaled_by"] = json.dumps({file_name(n): list(map(file_name, s)) for n, s in named})
    if recording.particle_plate is not None:
        attrs["particle_plate"] = file_name(recording.particle_plate)
        attrs["num_particles"] = int(recording.num_particles or 0)
    if recording.mass is not None:
        attrs["mass_site"] = file_name(recording.mass)
    if recording.objective is not None:
        name, stated = recording.objective
        attrs["objective"] = name
        attrs["functional"] = type(stated.functional).__name__
        attrs["num_blocks"] = stated.functional.num_blocks
        attrs["temperature"] = float(stated.temperature)
    return attrs


def kernel_settings(kernel: MCMCKernel, layout: Layout | None = None) -> Mapping[str, Any]:
    """The options of one of our kernels; a schedule is named as such.

    layout: of the model, for the options whose default depends on it."""
    if not isinstance(kernel, LangevinKernel):
        return {}
    settings = kernel.settings if layout is None else kernel.settings_for(layout)
    has_particles = layout is not None and layout.particles is not None
    adaptation = settings.adaptation_of("particles" if has_particles else "globals")
    options = {
        "step_size": settings.step_size,
        "temperature": settings.temperature,
        "metropolize": settings.metropolize,
        "target_accept_prob": adaptation.target_accept_prob,
        "adapt_step_size": adaptation.adapt_step_size,
        "adapt_metric": adaptation.adapt_metric,
        "path_length": settings.path_length,
    }
    options |= settings.transition_options
    return {name: "schedule" if callable(v) else v for name, v in options.items() if v is not None}


def _phase(mcmc: MCMC) -> str:
    state, length = mcmc.last_state, mcmc.num_warmup
    if isinstance(state, KernelState):
        # Of its own: it may have been warmed up by another MCMC.
        length = np.max(next(iter(state.adaptation.values())).num_warmup)
    steps = getattr(state, "i", None)
    return "warmup" if steps is not None and np.max(steps) <= length else "sample"


def _key_data(key: Any) -> list:
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"  # Run from a checkout that is not installed.
