"""The one compiled program of a run.

NumPyro's MCMC compiles its loop again for every call of `run`, and for every length. Here the
number of steps is an argument, so that the warm-up, each chunk and the last, shorter one run the
same program, and where a run is cut into chunks makes no difference to a single bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC
from numpyro.infer.mcmc import _collect_and_postprocess

from ..digests import digest_of_program


class Collection(NamedTuple):
    """What becomes of a state in a step, and what is collected of it: as `MCMC` does both.

    step: state -> state. of_state: state -> values by field."""

    step: Callable[[PyTree], PyTree]
    of_state: Callable[[PyTree], dict[str, PyTree]]

    @classmethod
    def of(cls, mcmc: MCMC, extra_fields: Sequence[str]) -> Collection:
        """Of a run with its model arguments set; extra_fields as in `MCMC.run`."""
        site = f"~{mcmc._sample_field}."
        asked = dict.fromkeys((mcmc._sample_field, *mcmc._default_fields, *extra_fields))
        fields = tuple(name for name in asked if not name.startswith(site))
        left_out = tuple(name.removeprefix(site) for name in asked if name.startswith(site))
        sample, postprocess = mcmc._get_cached_fns()
        rest = (mcmc._args, mcmc._kwargs) if mcmc._jit_model_args else ()
        collect = _collect_and_postprocess(postprocess, fields, left_out)

        def of_state(state: PyTree) -> dict[str, PyTree]:
            values = collect((state, *rest))
            return dict(zip(fields, [values] if len(fields) == 1 else values, strict=True))

        return cls(lambda state: sample((state, *rest))[0], of_state)


class Program:
    """Steps of a kernel, and a buffer for one chunk of draws.

    rows: draws that the buffer holds."""

    def __init__(self, collection: Collection, state: PyTree, rows: int) -> None:
        def advance(state: PyTree, buffers: PyTree, row: Array, draws: Array, stride: Array):
            def step(_, state):
                return collection.step(state)

            def draw(i, loop):
                state, buffers = loop
                state = jax.lax.fori_loop(0, stride, step, state)
                return state, jax.tree.map(
                    lambda buffer, value: buffer.at[row + i].set(value),
                    buffers,
                    collection.of_state(state),
                )

            return jax.lax.fori_loop(0, draws, draw, (state, buffers))

        one = jax.eval_shape(collection.of_state, state)
        self._buffers = jax.tree.map(lambda v: jnp.zeros((rows, *v.shape), v.dtype), one)
        count = jnp.zeros((), jnp.int32)
        program = jax.jit(advance, donate_argnums=(0, 1))
        self._traced = program.trace(state, self._buffers, count, count, count)
        self._compiled: Any = None

    def digest(self) -> str:
        """Of the program: of the kernel, the model and its data."""
        return digest_of_program(self._traced.jaxpr)

    def __call__(self, state: PyTree, row: int, draws: int, stride: int) -> PyTree:
        """The state after `draws` times `stride` steps; draws go to the buffer from `row` on.

        The state that is passed is used up. Returns when all is done."""
        if self._compiled is None:
            self._compiled = self._traced.lower().compile()
        numbers = (jnp.asarray(n, jnp.int32) for n in (row, draws, stride))
        # Over several devices, the program need not leave a state as it takes it.
        placed = jax.device_put((state, self._buffers, *numbers), self._compiled.input_shardings[0])
        state, self._buffers = self._compiled(*placed)
        return jax.block_until_ready(state)

    def collected(self, first: int, stop: int, chains: int) -> dict[str, PyTree]:
        """Rows of the buffer as `MCMC` keeps them: by field, leaves by chain and draw."""

        def by_chain(buffer: Array) -> np.ndarray:
            rows = np.array(buffer)[first:stop]
            return rows[None] if chains == 1 else rows.swapaxes(0, 1)

        return jax.tree.map(by_chain, self._buffers)
