"""The state that NumPyro's MCMC threads through a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from .dynamics import AdaptationState


class Static(eqx.Module):
    """Something that is not an array, in a state."""

    value: Any = eqx.field(static=True)


def entry(state: Any, at: Any) -> Any:
    """`state[at]`, as of any tuple.

    NumPyro's MCMC asks by `state["name"]` for what `extra_fields` names and the state lacks, and
    asking a tuple so says nothing of the fields."""
    if isinstance(at, str):
        raise AttributeError(
            f"a {type(state).__name__} has no field '{at}': it has {', '.join(state._fields)}; in "
            "extra_fields dots lead inside of one, 'z.site' is the value of a site, and '~z.site' "
            "leaves a site out"
        )
    return tuple.__getitem__(state, at)


class Refusals(NamedTuple):
    """Moves refused so far, in the warm-up too, because something was not finite.

    steps: number of steps with such moves. step: the last of them, counted from 1; 0 before there
    is one. site: index in the layout of the site that was not finite there, in value or slope; -1
    where the density, the objective or the support is the reason. particle: index of the first
    such particle, -1 at a global site and where the objective alone was not finite."""

    steps: Int[Array, ""]
    step: Int[Array, ""]
    site: Int[Array, ""]
    particle: Int[Array, ""]
    __getitem__ = entry

    @classmethod
    def none(cls) -> Refusals:
        """Before the first step."""
        zero = jnp.zeros((), jnp.int32)
        return cls(zero, zero, zero - 1, zero - 1)

    def at(self, step: Array, site: Array, particle: Array) -> Refusals:
        """With one more, at this step."""
        return Refusals(self.steps + (step > self.step), step, site, particle)


class KernelState(NamedTuple):
    """State of `MMFLD` and `ProjectedMFLD`.

    i: steps so far. z: values of the sites. globals_, particles: states of the two blocks, a
    `LangevinState` and a `MeanFieldState`, () for one that the model does not have.
    adaptation: of each block. supports: constraints of the sites where the dynamics need them,
    else (). potential_energy: minus the log density of the values.
    accept_prob: mean acceptance probability; accepted: what the step of each block is judged by.
    step_size: of the particles, or of an ordinary model.
    diverging: whether a move was refused because something in it is not finite. objective: F(mu).
    collective_ratio: r, see `dynamics.collective_ratio`; () where the objective draws minibatches.
    Both are () in an ordinary model. num_refused: moves refused for the reason above. refusals: of
    all steps so far. layout: the sites."""

    i: Int[Array, ""]
    z: PyTree
    globals_: Any
    particles: Any
    adaptation: dict[str, AdaptationState]
    supports: PyTree
    potential_energy: Float[Array, ""]
    accept_prob: Float[Array, ""]
    accepted: dict[str, Float[Array, ""]]
    step_size: Float[Array, ""]
    diverging: Bool[Array, ""]
    objective: Any
    collective_ratio: Any
    num_refused: Int[Array, ""]
    refusals: Refusals
    layout: Static
    rng_key: PRNGKeyArray
    __getitem__ = entry
