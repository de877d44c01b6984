"""Step size by dual averaging."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

#: How many times as long as the last step the first of a search is (Hoffman and Gelman 2014).
AHEAD = 10.0
#: A step that is never gone below: at it nothing moves, and one that rounds to zero cannot grow.
LEAST = 1e-12


class DualAveragingState(NamedTuple):
    """log_step: the step to use now. log_average: the one to keep. gap: running mean of target
    minus statistic. anchor: where log_step is drawn to. updates: how many so far."""

    log_step: Float[Array, ""]
    log_average: Float[Array, ""]
    gap: Float[Array, ""]
    anchor: Float[Array, ""]
    updates: Float[Array, ""]


class DualAveraging(eqx.Module):
    """Drives a statistic of the step to its target (Nesterov 2009; Hoffman and Gelman 2014, 3.2).

    The statistic must fall as the step grows, as an acceptance probability does."""

    target: float
    rate: float = 0.05
    offset: float = 10.0
    decay: float = 0.75

    def init(
        self, step_size: Float[Array, ""], ahead: Float[Array, ""] | float = AHEAD
    ) -> DualAveragingState:
        """Start, or restart, towards a step that is `ahead` times as long as this one."""
        log_step = jnp.log(step_size)
        zero = jnp.zeros_like(log_step)
        anchor = log_step + jnp.log(jnp.asarray(ahead, log_step.dtype))
        return DualAveragingState(log_step, log_step, zero, anchor, zero)

    def update(self, state: DualAveragingState, statistic: Float[Array, ""]) -> DualAveragingState:
        """One observation of the statistic at the present step."""
        k = state.updates + 1
        forget = 1 / (k + self.offset)
        gap = (1 - forget) * state.gap + forget * (self.target - statistic)
        log_step = jnp.maximum(state.anchor - jnp.sqrt(k) / self.rate * gap, jnp.log(LEAST))
        weight = k**-self.decay
        log_average = weight * log_step + (1 - weight) * state.log_average
        return DualAveragingState(log_step, log_average, gap, state.anchor, k)
