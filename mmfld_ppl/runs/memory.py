"""How much memory and disk a run takes, before it is begun."""

from __future__ import annotations

import copy
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree
from numpyro.infer import MCMC
from numpyro.util import is_prng_key

from ..arrays import is_count
from ..inference_data.capacity import available, fits, size
from ..naming import flatten_named
from .program import Collection

#: Of the draws in a chunk.
CHUNK_BYTES = 16_000_000
#: Arrays of the size of a chunk that a streamed run holds at its peak.
CHUNK_COPIES = 4
#: Arrays of the size of all draws that NumPyro holds at its peak: the draws by chain, and flat.
COPIES = 2


class MemoryEstimate(NamedTuple):
    """What the draws of a run take, in bytes.

    fields: of one draw of all chains, by name. draws: of a chain. state: of the kernel."""

    fields: dict[str, int]
    draws: int
    state: int

    @property
    def draw(self) -> int:
        """One draw of all chains."""
        return sum(self.fields.values())

    @property
    def disk(self) -> int:
        """All draws, as `run` writes them before compression."""
        return self.draws * self.draw

    @property
    def in_memory(self) -> int:
        """What `MCMC.run` and `get_samples` hold at their peak."""
        return COPIES * self.disk + self.state

    def __str__(self) -> str:
        largest = sorted(self.fields.items(), key=lambda item: -item[1])[:5]
        lines = [
            f"{self.draws} draws of {size(self.draw)}: {size(self.disk)} on disk, "
            f"{size(self.in_memory)} in memory with MCMC.run",
            *(f"  {name}: {size(b)} a draw, {size(b * self.draws)}" for name, b in largest),
        ]
        if not fits(self.in_memory):
            lines.append(f"This does not fit in memory ({size(available())} free): {ADVICE}.")
        return "\n".join(lines)


#: The ways out, the least change first.
ADVICE = (
    "stream the draws to disk with mm.run, keep fewer of them with thinning=, leave out a large "
    "site with extra_fields=('~z.site',), or take fewer particles or chains"
)


def estimate_memory(
    mcmc: MCMC,
    *args: Any,
    extra_fields: tuple[str, ...] = (),
    init_params: PyTree = None,
    **kwargs: Any,
) -> MemoryEstimate:
    """What a run with these model arguments takes, chains x draws x particles x event, without
    running it; printed, with advice when it does not fit.

    The arguments are those of `MCMC.run`, less the key."""
    mcmc = copy.copy(mcmc)
    mcmc.sampler = copy.copy(mcmc.sampler)  # Kernels of NumPyro keep what `init` finds.
    mcmc._args, mcmc._kwargs, mcmc._cache = args, kwargs, {}
    collection = Collection.of(mcmc, extra_fields)

    def start(key):
        return mcmc.sampler.init(
            key, mcmc.num_warmup, init_params, model_args=args, model_kwargs=kwargs
        )

    key = jax.random.key(0)
    state = jax.eval_shape(
        start, key if mcmc.num_chains == 1 else jax.random.split(key, mcmc.num_chains)
    )
    return of_state(mcmc, state, jax.eval_shape(collection.of_state, state))


def of_state(mcmc: MCMC, state: PyTree, one: Mapping[str, PyTree]) -> MemoryEstimate:
    """From the shapes of a state, and of the fields of one draw."""
    names, leaves, _ = flatten_named(dict(one))
    fields = {name: _bytes(leaf) for name, leaf in zip(names, leaves, strict=True)}
    whole = sum(_bytes(leaf) for leaf in jax.tree.leaves(state))
    return MemoryEstimate(fields, mcmc.num_samples // mcmc.thinning, whole)


def chunk_rows(estimate: MemoryEstimate, chunk: int | None) -> int:
    """Draws of a chunk: the one asked for, or what `CHUNK_BYTES` hold."""
    if chunk is None:
        return max(1, min(estimate.draws, CHUNK_BYTES // max(estimate.draw, 1)))
    if not is_count(chunk):
        raise ValueError(f"chunk must be a positive number of draws, got {chunk!r}")
    needed = CHUNK_COPIES * chunk * estimate.draw + estimate.state
    if not fits(needed):
        warnings.warn(
            f"a chunk of {chunk} draws takes {size(needed)}, and {size(available())} of memory are "
            "free: pass a smaller chunk=, or leave it out",
            stacklevel=4,
        )
    return chunk


def warn_of_disk(path: Path, estimate: MemoryEstimate) -> None:
    """Warns when the draws of a run would fill the disk."""
    free = shutil.disk_usage(path).free
    if estimate.disk > free:
        warnings.warn(
            f"the draws take up to {size(estimate.disk)}, and the disk of {path} has {size(free)}: "
            "keep fewer of them with thinning=, leave out a large site with "
            "extra_fields=('~z.site',), or make room; a run that fills the disk can be resumed",
            stacklevel=4,
        )


def _bytes(leaf: Any) -> int:
    width = 8 if is_prng_key(leaf) else leaf.dtype.itemsize
    return math.prod(leaf.shape) * width
