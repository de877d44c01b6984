"""NumPyro's contract of a kernel, for any dynamics."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import Mesh
from jaxtyping import PyTree
from numpyro.distributions.constraints import Constraint
from numpyro.infer.mcmc import MCMCKernel
from numpyro.util import is_prng_key

from ..arrays import is_known, is_positive
from ..chain import Chain, Schedule, Settings
from ..initialize import checked_params, first_valid, require_chains, require_valid
from ..latent import Layout, Problem, Sites, read_model
from ..latent.potential import PotentialProblem, read_potential
from ..mirrors import MirrorMap
from ..naming import flatten_named
from ..state import KernelState
from .sharding import checked_mesh, place


class LangevinKernel(MCMCKernel):
    """NumPyro's contract, for any `Settings`.

    The object holds configuration only; all that a run computes is in its `KernelState`."""

    sample_field = "z"
    default_fields = (
        "z",
        "diverging",
        "potential_energy",
        "accept_prob",
        "step_size",
        "objective",
        "collective_ratio",
    )
    #: NumPyro calls `init` again on every resumed run while this is missing or None.
    _sample_fn = "stateless"

    def __init__(
        self,
        model: Callable | None,
        potential_fn: Callable | None,
        support: PyTree | None,
        mirror_maps: Mapping[str, MirrorMap] | None,
        strict: bool,
        settings: Settings,
        mesh: Mesh | None = None,
    ) -> None:
        if (model is None) == (potential_fn is None):
            raise ValueError(
                "pass exactly one of a model and potential_fn=; a model is passed as the function "
                "itself, model and not model(...)"
            )
        if model is not None and not callable(model):
            raise TypeError(
                "the model must be a function that states its sites by numpyro.sample, got "
                f"{model!r}"
            )
        if not callable(settings.init_strategy):
            raise TypeError(
                "init_strategy must be a function of a site, as numpyro.infer.init_to_median, got "
                f"{settings.init_strategy!r}"
            )
        if mirror_maps is not None and not isinstance(mirror_maps, Mapping):
            raise TypeError(
                "mirror_maps must be a dictionary of maps by site name, got "
                f"{type(mirror_maps).__name__}"
            )
        if (potential_fn is None) != (support is None):
            raise ValueError(
                "support= goes with potential_fn=: a constraint, or a pytree of constraints like "
                "init_params; a model states its own supports"
            )
        if settings.temperature is not None and not callable(settings.temperature):
            raise TypeError(
                "temperature must be a schedule of the step's index, got "
                f"{settings.temperature!r}; a fixed temperature belongs to the model: "
                "mm.objective(..., temperature=...)"
            )
        as_schedule("temperature", settings.temperature or 1.0)
        self._model: Any = model
        self._potential_fn: Any = potential_fn
        self._support = support
        self._mirror_maps, self._strict = dict(mirror_maps or {}), strict
        self.settings, self.mesh = settings, checked_mesh(mesh)

    @property
    def model(self) -> Callable | None:
        """The model, None for a potential function."""
        return self._model

    def init(self, rng_key, num_warmup, init_params=None, model_args=(), model_kwargs=None):
        """The initial state, or a batch of them where `rng_key` is a batch of keys.

        `init_params`: values in constrained space by site name, of some sites or all, with a
        leading chain axis where `rng_key` has one. The others come from the init strategy, drawn
        anew until density and slopes are finite, and up to ten times where the last digit of the
        log density by which ordinary variables move is more than a nat: the highest is taken.
        Raises ValueError where there is no such point, saying which site is the reason; inside of
        a trace (chain_method="parallel", or a callable) it cannot, and `diverging` tells."""
        single = is_prng_key(rng_key)
        one = init_params
        if self._model is None and not single:
            require_chains(init_params, len(rng_key))
            one = jax.tree.map(lambda v: v[0], init_params)
        # With the same key for all chains, and eagerly also inside of `pmap`: what is read must
        # be the same for all of them.
        with _eagerly():
            problem, maps, supports = self.read(model_args, model_kwargs or {}, one)
        if self._model is None:
            names, leaves, _ = flatten_named(init_params)
            init_params = dict(zip(names, leaves, strict=True))
        given = checked_params(problem.layout.sites, init_params, None if single else len(rng_key))
        chain = Chain(problem, self.settings_for(problem.layout))

        def attempt(key, given):
            return chain.start(key, given, maps, supports, num_warmup)

        complete = len(given) == len(problem.layout.sites)
        state, valid = first_valid(attempt, rng_key, given, single, retry=not complete)
        require_valid(chain, maps, state, valid, given)
        return state if self.mesh is None else place(state, self.mesh)

    def sample(self, state: KernelState, model_args, model_kwargs) -> KernelState:
        """One step, and in the warm-up one update of the adaptation."""
        chain = self._chain(state, model_args, model_kwargs)
        move, adapt = chain.move, chain.adapt
        if not is_prng_key(state.rng_key):
            move, adapt = jax.vmap(move), jax.vmap(adapt)
        state = move(state)
        if self.settings.adapts:
            # One decision for all chains, so that `cond` stays a branch and is not a `select`.
            warming = jnp.any(next(iter(state.adaptation.values())).warming())
            adaptation = jax.lax.cond(warming, adapt, lambda s: s.adaptation, state)
            state = state._replace(adaptation=adaptation)
        return state if self.mesh is None else place(state, self.mesh)

    def refresh(self, state: KernelState, model_args, model_kwargs) -> KernelState:
        """The state at the same point under other model arguments, for `numpyro.infer.Gibbs`."""
        refresh = self._chain(state, model_args, model_kwargs).refresh
        return refresh(state) if is_prng_key(state.rng_key) else jax.vmap(refresh)(state)

    def wrap_model(self, wrapper: Callable) -> LangevinKernel:
        """The same kernel for `wrapper(model)`, for `numpyro.infer.Gibbs`."""
        if self._model is None:
            return self
        kernel = copy.copy(self)
        kernel._model = wrapper(self._model)
        return kernel

    def postprocess_fn(self, model_args, model_kwargs):
        """Draws are already constrained: deterministic sites join them."""
        return lambda z: z.merged() if isinstance(z, Sites) else z

    def get_diagnostics_str(self, state: KernelState) -> str:
        """For the progress bar: acceptance, step size, objective and collective ratio."""
        text = f"acc. prob={state.accept_prob:.2f}, step size={state.step_size:.2e}"
        if state.particles:
            text += f", F={state.objective:.4g}"
        if not isinstance(state.collective_ratio, tuple):
            text += f", r={state.collective_ratio:.2f}"
        return text

    def describe(self, *args, **kwargs) -> str:
        """A table of the latent sites for these model arguments: shape, support, mirror map or
        chart, block. A kernel with potential_fn= takes init_params instead."""
        params = args[0] if self._model is None and args else None
        return self.read(args, kwargs, params)[0].layout.describe()

    def read(
        self, args: tuple, kwargs: dict, params: PyTree = None
    ) -> tuple[Problem | PotentialProblem, dict[str, MirrorMap], dict[str, Constraint]]:
        """What a run with these model arguments starts from: the problem, the maps of its sites
        before any adaptation, and the supports of their coordinates; at a site of particles those
        of one of them. A kernel with potential_fn= needs params of the shape of init_params.

        Raises ValueError for models and settings that do not go together."""
        if self._potential_fn is not None:
            if params is None:
                raise ValueError("a kernel with potential_fn= needs init_params, got None")
            problem, maps, supports = read_potential(
                self._potential_fn, self._support, params, self._mirror_maps, self._strict
            )
        else:
            layout, maps, supports = read_model(
                self._model, args, kwargs, jax.random.key(0), self._mirror_maps, self._strict
            )
            problem = self.problem(layout, (), args, kwargs)
        if problem.layout.stochastic and self.settings.metropolize:
            raise ValueError(
                "metropolize=True needs the same density at both ends of a move, and this model's "
                f"changes from step to step: {problem.layout.stochastic}. To keep it so, pass "
                "metropolize=False and a short step_size=, at a bias that is proportional to it"
            )
        self._check_geometry(problem.layout, maps, supports)
        return problem, maps, supports

    def problem(
        self, layout: Layout, z: PyTree, args: tuple, kwargs: dict
    ) -> Problem | PotentialProblem:
        """The model with these arguments, for a state with these sites and values."""
        if self._potential_fn is not None:
            tree = jax.tree.structure(z)
            return PotentialProblem(self._potential_fn, self._support, layout, tree)
        return Problem(self._model, args, kwargs, layout)

    def _chain(self, state: KernelState, args: tuple, kwargs: dict | None) -> Chain:
        problem = self.problem(state.layout.value, state.z, args, kwargs or {})
        return Chain(problem, self.settings_for(problem.layout))

    def settings_for(self, layout: Layout) -> Settings:
        """Hook for settings that depend on the model."""
        return self.settings

    def _check_geometry(
        self,
        layout: Layout,
        maps: Mapping[str, MirrorMap],
        supports: Mapping[str, Constraint],
    ) -> None:
        """Hook for what a kernel asks of the sites' maps and of their coordinates' supports."""


def _eagerly() -> AbstractContextManager:
    """Lets values that are known be computed at once, inside of a trace too.

    Outside of one they are, and to ask for it would make what is only traced there, as densities
    are to see what they depend on, compute its constants: each operation is then compiled."""
    inside = isinstance(jnp.zeros(()), Tracer)
    return jax.ensure_compile_time_eval() if inside else nullcontext()


def as_schedule(name: str, value: float | Schedule) -> float | Schedule:
    """A number of Python's, or the schedule. Raises ValueError unless it is positive and finite, or
    begins with what is."""
    first = value(jnp.zeros((), jnp.int32)) if callable(value) else value
    if not is_positive_number(first):
        where = " at step 0" if callable(value) else ""
        raise ValueError(
            f"{name} must be a positive number or a schedule of the step's index, got "
            f"{first}{where}"
        )
    return value if callable(value) else float(value)


def is_positive_number(value: Any) -> bool:
    """Whether it is one number, above zero and finite, and not traced: a kernel's settings are
    fixed when it is made."""
    return is_known(value) and is_positive(value)
