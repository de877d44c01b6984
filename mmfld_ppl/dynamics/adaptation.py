"""Warm-up: the step size, and the weights of the mirror map."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..mirrors import MirrorMap
from .step_size import DualAveraging, DualAveragingState
from .welford import Welford, welford_init, welford_moments, welford_update

#: Where the metric is re-estimated, as fractions of the warm-up; the rest settles the step size.
WINDOW_ENDS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.85)
#: Windows shorter than this say too little about a variance.
SHORTEST_WINDOW = 10


class AdaptationState(NamedTuple):
    """map: the mirror map, with its present weights. averaging: step-size search. window: what
    the present window has seen. count: steps so far. num_warmup: when adaptation ends. ends: the
    counts at which windows end."""

    map: MirrorMap
    averaging: DualAveragingState
    window: Welford
    count: Int[Array, ""]
    num_warmup: Int[Array, ""]
    ends: Int[Array, " w"]

    def warming(self) -> Bool[Array, ""]:
        """Whether the warm-up is still on."""
        return self.count < self.num_warmup

    def step_size(self) -> Float[Array, ""]:
        """The step to take now: exploring in the warm-up, averaged after it."""
        return jnp.exp(
            jnp.where(self.warming(), self.averaging.log_step, self.averaging.log_average)
        )


class Adaptation(eqx.Module):
    """Adapts step size and metric of one block of units.

    The step is driven to a target acceptance and, where a collective ratio r is given, to r <= 1/2
    at the same time: the statistic is min(accept_prob, target^(2r)), which meets its target at
    whichever comes first.
    The metric: at the end of each window every map gets the weights of the moments it saw
    (`MirrorMap.adapted`), trusted more the longer the window, and the step search restarts."""

    target_accept_prob: float
    adapt_step_size: bool
    adapt_metric: bool

    def init(
        self, map: MirrorMap, step_size: float, num_warmup: int, unit: PyTree
    ) -> AdaptationState:
        """`unit`: one event of the map, for shapes and dtype."""
        dtype = jax.tree.leaves(unit)[0].dtype
        if self.adapt_metric:
            map = map.adaptable(dtype)
        averaging = self._search.init(jnp.asarray(step_size, dtype))
        like = jax.eval_shape(lambda m, x: m.observe(x), map, unit)
        window = welford_init(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), like))
        counts = (jnp.zeros((), jnp.int32), jnp.asarray(num_warmup, jnp.int32))
        return AdaptationState(map, averaging, window, *counts, _window_ends(num_warmup))

    @property
    def _search(self) -> DualAveraging:
        return DualAveraging(self.target_accept_prob)

    def update(
        self,
        state: AdaptationState,
        units: PyTree,
        accept_prob: Float[Array, ""],
        collective_ratio: Float[Array, ""] | float = 0.0,
    ) -> AdaptationState:
        """After a warm-up step that left these units, stacked along the leading axis."""
        averaging, window, map = state.averaging, state.window, state.map
        if self.adapt_step_size:
            bound = self.target_accept_prob ** (2 * jnp.maximum(collective_ratio, 0))
            averaging = self._search.update(averaging, jnp.minimum(accept_prob, bound))
        if self.adapt_metric:
            window = welford_update(window, jax.vmap(map.observe)(units))
            closing = jnp.any(state.count + 1 == state.ends)
            map, averaging, window = jax.lax.cond(
                closing, self._close_window, lambda *same: same, map, averaging, window
            )
        return state._replace(map=map, averaging=averaging, window=window, count=state.count + 1)

    def _close_window(
        self, map: MirrorMap, averaging: DualAveragingState, window: Welford
    ) -> tuple[MirrorMap, DualAveragingState, Welford]:
        trust = window.steps / (window.steps + 5)
        adapted = map.adapted(welford_moments(window), trust)
        adapted = jax.tree.map(lambda new, old: new.astype(old.dtype), adapted, map)
        if self.adapt_step_size:
            averaging = self._search.init(jnp.exp(averaging.log_step))
        return adapted, averaging, jax.tree.map(jnp.zeros_like, window)


def _window_ends(num_warmup: int) -> Int[Array, " w"]:
    ends = [int(fraction * num_warmup) for fraction in WINDOW_ENDS]
    starts = [0, *ends[:-1]]
    kept = [e if e - s >= SHORTEST_WINDOW else -1 for s, e in zip(starts, ends, strict=True)]
    return jnp.asarray(kept, jnp.int32)
