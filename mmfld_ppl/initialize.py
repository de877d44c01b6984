"""Finding a first state, and saying what is wrong when there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from .arrays import is_known
from .chain import Chain
from .latent import Site
from .mirrors import MirrorMap
from .naming import require_known
from .programs import compiled
from .state import KernelState
from .trees import select

#: Draws of the initial values before giving up, and before taking the lowest.
ATTEMPTS, ATTEMPTS_AT_LOWER = 50, 10

Attempt = Callable[[PRNGKeyArray, dict[str, Array]], tuple[KernelState, Array]]


def first_valid(
    attempt: Attempt, rng_key: PRNGKeyArray, given: dict[str, Array], single: bool, retry: bool
) -> tuple[KernelState, Array]:
    """The first draw that is valid, for one chain or a batch of them; and whether it is.

    Where the last digit of its energy is more than a nat (from 8e6 on in single precision), the
    lowest of several: a model that grows exponentially from its parameters may start at 1e30, which
    no warm-up comes back from. Outside of a trace a Python loop draws, most often
    once; inside one, a while loop."""
    draw = compiled(attempt if single else jax.vmap(attempt), rng_key, given)

    def again(count: Array | int, state: KernelState, valid: Array) -> tuple[KernelState, Array]:
        # Keys that were split one from the other would give the sites the same numbers again, each
        # those of its neighbour: an attempt splits its key, too.
        fold = jax.random.fold_in if single else jax.vmap(jax.random.fold_in, (0, None))
        new, now_valid = draw(fold(rng_key, count), given)
        lower = now_valid & _is_lost(state) & (new.potential_energy < state.potential_energy)
        lower &= count < ATTEMPTS_AT_LOWER
        return select(valid & ~lower, state, new), valid | now_valid

    def unfinished(count: Array | int, state: KernelState, valid: Array) -> Array:
        lost = _is_lost(state) & (count < ATTEMPTS_AT_LOWER)
        return jnp.any(~valid | lost) & (count < ATTEMPTS)

    state, valid = draw(rng_key, given)
    if not retry:
        return state, valid
    if not is_known(valid):
        _, state, valid = jax.lax.while_loop(
            lambda loop: unfinished(*loop),
            lambda loop: (loop[0] + 1, *again(*loop)),
            (jnp.ones((), jnp.int32), state, valid),
        )
        return state, valid
    count = 1
    while bool(unfinished(count, state, valid)):
        state, valid = again(count, state, valid)
        count += 1
    return state, valid


def _is_lost(state: KernelState) -> Bool[Array, "..."]:
    """Whether the energy that ordinary variables move by is not known to a nat. Particles are told
    one by one what a move has changed."""
    if not state.globals_:
        return jnp.zeros_like(state.diverging)
    energy = state.globals_.energy
    return jnp.finfo(energy.dtype).eps * jnp.abs(energy) > 1


def require_valid(
    chain: Chain,
    maps: dict[str, MirrorMap],
    state: KernelState,
    valid: Array,
    given: Mapping[str, Array],
) -> None:
    """Raises ValueError with the reasons when some chain has no valid first state."""
    if not is_known(valid) or bool(jnp.all(valid)):
        return
    first = state
    if valid.ndim:
        bad = int(jnp.argmin(valid))
        first = jax.tree.map(lambda leaf: leaf[bad], state)
    how = "init_params give" if given else f"{ATTEMPTS} draws of the init strategy found"
    reasons = chain.complaints(first, maps) or ["the gradient of the density is not finite"]
    why = "; ".join(reasons)
    raise ValueError(
        f"no valid starting point: {how} none where every site is inside its support and the "
        f"density, the objective and their gradients are finite: {why}; "
        "where it is the start and not the data, pass init_params, or another init_strategy"
    )


def checked_params(sites: Sequence[Site], given: Any, chains: int | None) -> dict[str, Array]:
    """`init_params` as a dictionary of some of these sites, in the sites' dtypes.

    chains: how many have a start each, along the leading axis; None where it is one chain's."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"init_params must be a dictionary of constrained values by site name, got "
            f"{type(given).__name__}"
        )
    known = {site.name: site for site in sites}
    require_known("init_params", given, known, "the latent sites ")
    params = {}
    for name, given_value in given.items():
        try:
            params[name] = jnp.asarray(given_value, known[name].dtype)
        except (TypeError, ValueError):
            raise TypeError(
                f"init_params['{name}'] must be numbers of shape {known[name].value_shape}, got "
                f"{type(given_value).__name__}"
            ) from None
    if chains is not None:
        require_chains(params, chains)
    without = "" if chains is None else "; these are shapes without the leading axis of chains"
    for name, value in params.items():
        shape, expected = value.shape[0 if chains is None else 1 :], known[name].value_shape
        if shape != expected:
            raise ValueError(
                f"init_params['{name}'] has shape {shape}, the site takes {expected}{without}"
            )
    return params


def require_chains(init_params: PyTree, chains: int) -> None:
    """Raises ValueError when there is not one start for each of several chains."""
    for path, leaf in jax.tree.flatten_with_path(init_params)[0]:
        if jnp.shape(leaf)[:1] != (chains,):
            raise ValueError(
                f"init_params{jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}, and "
                f"{chains} chains need a leading axis of {chains}: one start for each"
            )
