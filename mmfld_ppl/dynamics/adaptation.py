"""Warm-up: the step size, and the weights of the mirror map."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..mirrors import MirrorMap, Moments
from ..mirrors.base import trust_of
from ..programs import in_all
from .step_size import AHEAD, DualAveraging, DualAveragingState
from .welford import Welford, welford_init, welford_moments, welford_update

#: Length of the windows in which the metric is estimated while the points may still be travelling.
EARLY_WINDOW = 10
#: Where these end, as a fraction of the warm-up; each later one is twice as long as the one before.
EARLY_END = 0.35
#: Where the last window ends, as a fraction of the warm-up; the rest settles the step size.
LAST_WINDOW_END = 0.85
#: Steps that this takes at the least.
SETTLING = 50
#: The collective ratio that the step is driven to. It is a mean over modes, without what the base
#: adds. At a quarter a mode that the base pulls at as much as F does was seen to have 1.1 times the
#: variance that the particles' joint law gives it (1.25 without momenta). At a half, where F is not
#: quadratic, other modes were seen to run away.
COLLECTIVE_RATIO = 0.25
#: `AHEAD` of the later windows. A long step of all particles helps them away from where they
#: started (without, 16 of 48 mixtures of doctor visits had not arrived after the warm-up, 2 of 48
#: with them), and throws them out from where they have arrived, to where a kernel may not reach.
AHEAD_LATE = 1.0
#: Below STUCK a step is of no use, and the next search begins with FRESH: far out a long step may
#: happen to be accepted, and where rounding decides, shorter steps never lead back to longer ones.
STUCK, FRESH = 1e-5, 0.1


class AdaptationState(NamedTuple):
    """map: the mirror map, with its present weights. averaging: step-size search. window: what
    the present window has seen. iteration: steps so far. num_warmup: when adaptation ends. ends:
    the iterations at which windows end."""

    map: MirrorMap
    averaging: DualAveragingState
    window: Welford
    iteration: Int[Array, ""]
    num_warmup: Int[Array, ""]
    ends: Int[Array, " w"]

    def warming(self) -> Bool[Array, ""]:
        """Whether the warm-up is still on."""
        return self.iteration < self.num_warmup

    def window_ended(self) -> Bool[Array, ""]:
        """Whether the last step ended a window, and the map may have other weights since."""
        return jnp.any(self.iteration == self.ends)

    def step_size(self) -> Float[Array, ""]:
        """The step to take now: exploring in the warm-up, averaged after it."""
        return jnp.exp(
            jnp.where(self.warming(), self.averaging.log_step, self.averaging.log_average)
        )


class Adaptation(eqx.Module):
    """Adapts step size and metric of one block of units.

    The step is driven to a target acceptance and, where a collective ratio r is given, to r <= r0,
    `COLLECTIVE_RATIO`, at the same time: the statistic is min(accept_prob, target^(r/r0)), which
    meets its target at whichever comes first.
    The metric: at the end of each window every map gets the weights of the moments it saw
    (`MirrorMap.adapted`), trusted more the longer the window, and the step search restarts: with
    steps ten times as long while windows are short, and later from where it was; from `FRESH` where
    it had come to nothing. Before the first window the slope at the starting point sets the scale
    of each coordinate, so that the first step is of the right order on any scale."""

    target_accept_prob: float
    adapt_step_size: bool
    adapt_metric: bool

    def init(
        self, map: MirrorMap, step_size: float, num_warmup: int, units: PyTree
    ) -> AdaptationState:
        """`units`: events of the map, stacked along the leading axis.

        Without a warm-up the map stays as it is, and a step size means what it says."""
        dtype = jax.tree.leaves(units)[0].dtype
        if self.adapt_metric and num_warmup:
            map = map.adaptable(dtype)
        unit = jax.tree.map(lambda x: x[0], units)
        averaging = self._search.init(jnp.asarray(step_size, dtype))
        like = jax.eval_shape(lambda m, x: m.observe(x), map, unit)
        window = welford_init(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), like))
        counts = (jnp.zeros((), jnp.int32), jnp.asarray(num_warmup, jnp.int32))
        return AdaptationState(map, averaging, window, *counts, _window_ends(num_warmup))

    def first_scale(self, state: AdaptationState, units: PyTree, slopes: PyTree) -> AdaptationState:
        """With the map scaled by the slopes of the potential at the starting points."""
        if not self.adapt_metric:
            return state
        seen = self._observe(state.map, state.window, units, slopes)
        moments = welford_moments(seen)
        # One point has no spread.
        moments = moments._replace(variance=None)
        scaled = _adapted(state.map, moments, jnp.ones(()))
        return state._replace(
            map=jax.tree.map(lambda a, b: jnp.where(state.warming(), a, b), scaled, state.map)
        )

    @property
    def _search(self) -> DualAveraging:
        return DualAveraging(self.target_accept_prob)

    def update(
        self,
        state: AdaptationState,
        units: PyTree,
        slopes: PyTree,
        accept_prob: Float[Array, ""],
        collective_ratio: Float[Array, ""] | float = 0.0,
    ) -> AdaptationState:
        """After a warm-up step that left these units, stacked along the leading axis, with these
        slopes of the potential."""
        averaging, window, map = state.averaging, state.window, state.map
        state = state._replace(iteration=state.iteration + 1)
        if self.adapt_step_size:
            excess = jnp.maximum(collective_ratio, 0) / COLLECTIVE_RATIO
            bound = self.target_accept_prob**excess
            averaging = self._search.update(averaging, jnp.minimum(accept_prob, bound))
        if self.adapt_metric:
            window = self._observe(map, window, units, slopes)
            # Chains that run together close their windows together.
            closing = in_all(state.window_ended())
            late = state.iteration >= EARLY_END * state.num_warmup
            ahead = jnp.where(late, AHEAD_LATE, AHEAD)
            map, averaging, window = jax.lax.cond(
                closing, self._close_window, lambda _, *same: same, ahead, map, averaging, window
            )
        return state._replace(map=map, averaging=averaging, window=window)

    def _observe(self, map: MirrorMap, window: Welford, units: PyTree, slopes: PyTree) -> Welford:
        pulled = jax.vmap(map.pull_slope)(units, slopes)
        return welford_update(window, jax.vmap(map.observe)(units), pulled)

    def _close_window(
        self, ahead: Array, map: MirrorMap, averaging: DualAveragingState, window: Welford
    ) -> tuple[MirrorMap, DualAveragingState, Welford]:
        adapted = _adapted(map, welford_moments(window), trust_of(window.steps))
        if self.adapt_step_size:
            step_size = jnp.exp(averaging.log_step)
            averaging = self._search.init(jnp.where(step_size < STUCK, FRESH, step_size), ahead)
        return adapted, averaging, jax.tree.map(jnp.zeros_like, window)


def _adapted(map: MirrorMap, moments: Moments, trust: Float[Array, ""]) -> MirrorMap:
    adapted = map.adapted(moments, trust)
    return jax.tree.map(lambda new, old: new.astype(old.dtype), adapted, map)


def _window_ends(num_warmup: int) -> Int[Array, " w"]:
    """Where windows end. One that could not be followed by its double takes all that is left; -1,
    never reached, where the warm-up is too short for any."""
    stop = min(int(LAST_WINDOW_END * num_warmup), num_warmup - SETTLING)
    end, size, ends = 0, EARLY_WINDOW, []
    while end + size <= stop:
        late = end >= EARLY_END * num_warmup
        size = 2 * size if late else size
        end = stop if late and end + 3 * size > stop else end + size
        ends.append(end)
    return jnp.asarray(ends or [-1], jnp.int32)
