"""Running a model to see what is in it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions import biject_to
from numpyro.distributions import constraints as nc
from numpyro.distributions.distribution import validation_enabled
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.gibbs import GIBBS_SITES_KWARG
from numpyro.infer.util import compute_log_probs
from numpyro.ops.provenance import eval_provenance
from numpyro.primitives import Messenger

from ..primitives import hold_objective
from .charts import leaves_of

Trace = Mapping[str, Any]


class KeyWatch(Messenger):
    """Notes whether the model asks for random keys of its own.

    Those that an inner `seed` has answered count: a `scan` has one that answers with ours."""

    asked = False

    def process_message(self, msg):
        self.asked |= msg["type"] == "prng_key"


#: Draws of values at which a model is read, before its invalid parameters are its own.
ATTEMPTS = 50
#: How far these are from the middle of a chart.
RADIUS = 2.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """A model with its arguments, and one trace of it.

    trace: at some values in the supports, the objective held. latents: its latent sites.
    asks_for_keys: whether the model asks for random keys of its own."""

    model: Callable
    args: tuple
    kwargs: dict
    key: PRNGKeyArray
    trace: Trace
    latents: Trace
    asks_for_keys: bool

    @classmethod
    def of(cls, model: Callable, args: tuple, kwargs: dict, key: PRNGKeyArray) -> Reading:
        """Runs the model once, or until its parameters are valid where not all values of the sites
        make them so."""
        refused: ValueError | None = None
        draws = np.random.default_rng(0)
        for attempt in range(ATTEMPTS):
            try:
                return cls._once(model, args, kwargs, key, draws)
            except ValueError as error:
                if "got invalid" not in str(error):  # It is not of NumPyro's validation.
                    raise
                refused = error
                key = jax.random.fold_in(key, attempt)
        with validation_enabled(False):
            found = cls._once(model, args, kwargs, key, draws)
        raise ValueError(
            f"{refused} At each of {ATTEMPTS} draws of values in the supports: "
            f"{'; '.join(_invalid_parameters(found.trace))}; look for gaps in the data, or give "
            "latent sites the support that makes the parameters valid"
        ) from refused

    @classmethod
    def _once(
        cls,
        model: Callable,
        args: tuple,
        kwargs: dict,
        key: PRNGKeyArray,
        draws: np.random.Generator,
    ) -> Reading:
        drawn = substitute(seed(model, key), substitute_fn=functools.partial(_draw, draws))
        watch = KeyWatch()
        with watch, hold_objective(), trace() as tr:
            drawn(*args, **kwargs)
        latents = {
            name: site
            for name, site in tr.items()
            if site["type"] == "sample" and not site["is_observed"]
        }
        return cls(model, args, kwargs, key, tr, latents, watch.asked)

    def values(self) -> dict[str, Array]:
        """Of the latent sites."""
        return {name: site["value"] for name, site in self.latents.items()}

    def at(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], Trace]:
        """(log density of every site, unsummed, trace) at given values of the latent sites."""
        placed = substitute(seed(self.model, self.key), data=dict(values))
        with hold_objective(), validation_enabled(False):
            return compute_log_probs(placed, self.args, self.kwargs, {}, sum_log_prob=False)

    def trace_at(self, values: Mapping[str, Array], **kwargs: Any) -> Trace:
        """The trace alone, without the time that densities take."""
        placed = substitute(seed(self.model, self.key), data=dict(values))
        with hold_objective(), validation_enabled(False):
            return trace(placed).get_trace(*self.args, **self.kwargs | kwargs)


def _invalid_parameters(tr: Trace) -> list[str]:
    """The parameters of laws that break their constraints, in words, of a trace of numbers."""
    found = []
    for name, site in tr.items():
        law = unwrapped(site["fn"]) if site["type"] == "sample" else None
        for parameter, constraint in getattr(law, "arg_constraints", {}).items():
            value = vars(law).get(parameter)
            if value is None or nc.is_dependent(constraint):
                continue
            valid = jnp.asarray(constraint(value))
            if not bool(jnp.all(valid)):
                found.append(
                    f"'{parameter}' of the {type(law).__name__} of site '{name}' is invalid in "
                    f"{int(jnp.sum(~valid))} of {valid.size} places, with "
                    f"{int(jnp.sum(jnp.isnan(value)))} NaN and "
                    f"{int(jnp.sum(jnp.isinf(value)))} infinite"
                )
    return found


#: What shapes or masks a law.
WRAPPERS = (dist.ExpandedDistribution, dist.Independent, dist.MaskedDistribution)


def unwrapped(law: Any) -> Any:
    """Without what shapes or masks it."""
    while isinstance(law, WRAPPERS):
        law = law.base_dist
    return law


def mask_of(law: dist.Distribution, event_dim: int) -> np.ndarray:
    """Which entries of a law's values count, where an entry has so many axes; broadcasts to them.

    Of a law with numbers for a mask."""
    mask = np.asarray(True)
    while isinstance(law, WRAPPERS):
        if isinstance(law, dist.MaskedDistribution):
            entries = np.asarray(law._mask)
            mask = mask & entries.reshape(entries.shape + (1,) * (law.event_dim - event_dim))
        law = law.base_dist
    return mask


def _draw(draws: np.random.Generator, site: dict) -> Array | None:
    """Somewhere in the support of a continuous latent site, where NumPyro has a chart for it or its
    constraint names a point; else from its law. The former need no sampler of the law, which may
    have none, nor the compilation of any: NumPy's draws need none."""
    if site["type"] != "sample" or site["is_observed"] or site["fn"].support.is_discrete:
        return None
    support, shape = site["fn"].support, site["fn"].shape(site["kwargs"]["sample_shape"])
    try:
        chart = biject_to(support)
    except NotImplementedError:
        pass
    else:
        free = draws.uniform(-RADIUS, RADIUS, chart.inverse_shape(shape))
        return chart(jnp.asarray(free, float))
    try:
        return support.feasible_like(jnp.zeros(shape))
    except NotImplementedError:
        return None


def dynamic_supports(reading: Reading) -> set[str]:
    """Sites whose support depends on other latent sites.

    Asked of the computation itself: NumPyro's own test misses supports inside `independent`.
    Raises ValueError where a support depends on what another block of `Gibbs` moves."""
    siblings = reading.kwargs.get(GIBBS_SITES_KWARG, {})

    def supports(**values):
        held = {GIBBS_SITES_KWARG: {name: values.pop(name) for name in siblings}}
        tr = reading.trace_at(values, **(held if siblings else {}))
        return {name: leaves_of(tr[name]["fn"].support) for name in reading.latents}

    found = eval_provenance(supports, **reading.values(), **siblings)
    sources = {
        name: frozenset().union(*jax.tree.leaves(sets, is_leaf=_is_set))
        for name, sets in found.items()
    }
    for name, names in sources.items():
        if names & set(siblings):
            raise ValueError(
                f"the support of site '{name}' depends on {sorted(names & set(siblings))}, which "
                "another block of Gibbs moves; put these sites into one block"
            )
    return {name for name, names in sources.items() if names}


def _is_set(leaf: Any) -> bool:
    return isinstance(leaf, frozenset)
