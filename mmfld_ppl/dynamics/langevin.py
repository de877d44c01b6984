"""Langevin dynamics of one unit under a fixed potential, adjusted or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int, PRNGKeyArray, PyTree

from ..linalg import inner
from ..trees import add, all_finite, require_same_shapes, select, standard_normal
from .culprit import Culprit, locate
from .momentum import at_rest, going_on, kept, require_friction, set_out
from .transition import Move, Transition

#: Leapfrog steps in one move, at most.
MAX_LEAPS = 32
#: What rounding may do to an energy, a sum of thousands of terms, in units of the last place.
ROUNDINGS = 64


class LangevinState(NamedTuple):
    """position: the point x. energy: V(x). slope: grad V(x). aux: what the potential returned
    beside V at x. moves: how many have been made. momentum: () where none is kept."""

    position: PyTree
    energy: Float[Array, ""]
    slope: PyTree
    aux: Any
    moves: Int[Array, ""]
    momentum: PyTree = ()

    def at_rest(self, where: Bool[Array, ""]) -> LangevinState:
        """With a momentum that is drawn anew, where that holds."""
        return self._replace(momentum=at_rest(self.momentum, where))


class LangevinInfo(NamedTuple):
    """accept_prob: probability of accepting the move; when unadjusted, 1 if it is finite and 0 if
    not. judged: what the warm-up judges the step by, as in `acceptances`.
    nonfinite: whether the move ended where the potential, its slope or the point itself is not
    finite: it was refused. culprit: where that was."""

    accept_prob: Float[Array, ""]
    judged: Float[Array, ""]
    nonfinite: Bool[Array, ""]
    culprit: Culprit


class Langevin(eqx.Module):
    r"""Langevin dynamics for the density exp(-V(x)/temperature) on a convex set.

    With `metropolize` and a `Mirror` transition this is the Metropolis-adjusted mirror Langevin
    algorithm (Srinivasan, Wibisono and Wilson 2024): the density is the exact stationary law,

        log a = V(x) - V(x') + |y' - m(x)|^2_{G(x)^-1}/(4h) - |y - m(x')|^2_{G(x')^-1}/(4h)
                + (3/2) (logdet G(x) - logdet G(x')),      m(x) = grad phi(x) - h grad V(x).

    Without it the stationary law has a bias of first order in h. A move to a point where
    anything is not finite is refused in either case, and reported.

    potential: (x, key) -> (V(x), aux); the key is for potentials that draw minibatches.
    A `Symmetric` transition makes this Riemannian Hamiltonian Monte Carlo where it is given a
    path_length T: a move is then as many leapfrog steps as it takes to cover a length drawn evenly
    from [0, T), in the units of the metric, and at most MAX_LEAPS. Lengths follow an even sequence
    that is the same in every chain (as in Hoffman, Radul and Sountsov 2021), so that chains that
    are vectorised wait little for each other. With a `friction` the momentum is kept from move to
    move, as in `MeanFieldLangevin`.
    Cost: one value and gradient of V a leapfrog step."""

    potential: Callable[[PyTree, PRNGKeyArray], tuple[Float[Array, ""], Any]]
    transition: Transition
    step_size: Float[Array, ""] | float
    temperature: Float[Array, ""] | float = 1.0
    metropolize: bool = eqx.field(default=True, static=True)
    path_length: float | None = eqx.field(default=None, static=True)
    friction: float | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        require_density(self.metropolize, self.transition)
        require_friction(self.friction, self.metropolize, self.transition)

    def init(
        self, position: PyTree, key: PRNGKeyArray, before: LangevinState | None = None
    ) -> LangevinState:
        """The state at `position`, after as many moves as `before` and with its momentum."""
        value_and_slope = jax.value_and_grad(lambda x: self.potential(x, key), has_aux=True)
        (energy, aux), slope = value_and_slope(position)
        moves, momentum = (0, None) if before is None else (before.moves, before.momentum)
        momentum = going_on(self.friction, position, momentum)
        return LangevinState(position, energy, slope, aux, jnp.asarray(moves, jnp.int32), momentum)

    def step(self, key: PRNGKeyArray, state: LangevinState) -> tuple[LangevinState, LangevinInfo]:
        """One move."""
        key_noise, key_accept, key_potential = jax.random.split(key, 3)
        x, h = state.position, jnp.asarray(self.step_size, state.energy.dtype)
        noise = standard_normal(key_noise, jax.eval_shape(self.transition.noise_like, x))
        if self.path_length is not None and self.transition.has_momentum:
            momentum = ()
            length = self.path_length * spread_out(state.moves, h.dtype)
            # One of a step that is not finite, too: that is how it is found to be so.
            leaps = jnp.ceil(length / jnp.sqrt(2 * h)).astype(jnp.int32)
            leaps = jnp.clip(leaps, 1, MAX_LEAPS)

            # The first leap is in the loop as well: what it compiles to is there once.
            def leap(i, at: tuple[Move, LangevinState, Array]) -> tuple[Move, LangevinState, Array]:
                move, before, rise = at
                share = jnp.where(i == 0, 0.5, jnp.ones((), h.dtype))
                move = self.transition.kick(move, self.tempered(before.slope), h, share)
                move = self.transition.glide(move, h, 1.0)
                after = self.init(move.position, key_potential, before)
                require_same_shapes(after, before)
                return move, after, rise + self._rise(before, after)

            begin = self.transition.begin(x, self.transition.momentum(x, noise))
            start = begin, state, jnp.zeros((), h.dtype)
            move, proposed, rise = jax.lax.fori_loop(0, leaps, leap, start)
        else:
            slope, p = self.tempered(state.slope), state.momentum
            move, momentum = set_out(self.transition, x, slope, p, noise, h, self.friction)
            proposed = self.init(move.position, key_potential, state)
            rise = self._rise(state, proposed)
        finite = all_finite((proposed.position, proposed.energy, proposed.slope)) & (
            self.transition.inside(move.position) > 0
        )
        accept_prob = judged = jnp.where(finite, 1.0, 0.0).astype(state.energy.dtype)
        if self.metropolize:
            backward = self.transition.log_backward(move, self.tempered(proposed.slope), h)
            before, after = state.energy / self.temperature, proposed.energy / self.temperature
            log_ratio = before - after + backward - move.log_forward
            accept_prob, judged = acceptances(log_ratio, finite, before, after, rise)
        accept = jax.random.uniform(key_accept, dtype=accept_prob.dtype) < accept_prob
        ends = jax.tree.map(lambda leaf: leaf[None], (proposed.position, proposed.slope))
        info = LangevinInfo(accept_prob, judged, ~finite, locate(~finite[None], *ends))
        new = select(accept, proposed, state)._replace(moves=state.moves + 1)
        if self.friction is not None:
            slope = self.tempered(proposed.slope)
            after = kept(self.transition, move, slope, momentum, accept, h)
            new = new._replace(momentum=after)
        return new, info

    def _rise(self, before: LangevinState, after: LangevinState) -> Float[Array, ""]:
        slopes = self.tempered(before.slope), self.tempered(after.slope)
        return trapezoidal_rise(before.position, after.position, *slopes)

    def tempered(self, slope: PyTree) -> PyTree:
        """The slope of V/temperature, which moves are made with."""
        return jax.tree.map(lambda g: g / jnp.asarray(self.temperature, g.dtype), slope)


def spread_out(i: Int[Array, ""], dtype: DTypeLike) -> Float[Array, ""]:
    """The i-th point of a sequence that is even on [0, 1) over any stretch: multiples of the
    golden ratio, modulo 1."""
    golden = jnp.uint32(round((5**0.5 - 1) / 2 * 2**32))
    bits = (i.astype(jnp.uint32) + 1) * golden
    return (bits >> 8).astype(dtype) / 2**24


def trapezoidal_rise(
    x: PyTree, x_new: PyTree, slope: PyTree, slope_new: PyTree
) -> Float[Array, ""]:
    """How far a potential rises from x to x_new by the trapezoidal rule,
    <slope + slope_new, x_new - x> / 2: from no difference of two large numbers."""
    return inner(add(slope, slope_new), add(x_new, x, -1)) / 2


def acceptances(
    log_ratio: Float[Array, "..."],
    finite: Bool[Array, "..."],
    energy: Float[Array, "..."],
    energy_new: Float[Array, "..."],
    rise: Float[Array, "..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The probability of accepting a move between two energies in nats; and what the warm-up judges
    its step by: the same with their difference as the slopes tell it, `rise`, where the two are
    apart by no more than rounding.

    Among large energies no step is so short that a difference can be told from rounding. A warm-up
    that shortened steps until it could would end at nothing, far from the law if it started
    there."""
    largest = jnp.maximum(jnp.abs(energy), jnp.abs(energy_new))
    rounding = ROUNDINGS * jnp.finfo(largest.dtype).eps * largest
    hidden = jnp.clip(energy_new - energy - rise, -rounding, rounding)
    return acceptance(log_ratio, finite), acceptance(log_ratio + hidden, finite)


def acceptance(log_ratio: Float[Array, "..."], finite: Bool[Array, "..."]) -> Float[Array, "..."]:
    """min(1, exp(log_ratio)); 0 where the move is not finite or its ratio is NaN."""
    usable = finite & ~jnp.isnan(log_ratio)
    return jnp.where(usable, jnp.exp(jnp.minimum(jnp.where(usable, log_ratio, 0), 0)), 0)


def require_density(metropolize: bool, transition: Transition) -> None:
    """Raises when a Metropolis ratio is asked of a transition that has none."""
    if metropolize and not transition.has_density:
        raise ValueError(
            "metropolize=True needs the one-step diffusion, whose transition density is known; "
            "pass diffusion='one-step', or metropolize=False for the unadjusted dynamics"
        )
