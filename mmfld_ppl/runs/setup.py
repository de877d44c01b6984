"""What is settled before the first step of a run, and before anything is written."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC
from numpyro.util import is_prng_key

from ..digests import digest
from ..inference_data.export import Export, flat, statistics_of
from ..initialize import require_chains
from ..naming import require_known
from .fingerprint import (
    compiler,
    energies_of,
    fingerprint,
    require_energies,
    require_same,
    warn_of_compiler,
)
from .memory import chunk_rows, of_state, warn_of_disk
from .plan import plan
from .program import Collection, Program
from .store import DRAW, Store, plain

#: Options of `Export`.
EXPORTS = [
    name
    for name, parameter in inspect.signature(Export).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
]


class Setup:
    """A run that can be begun or continued.

    mcmc: a copy, with the model's arguments and one chunk of draws at a time. state: the first
    one; the continued one has its structure. rows: draws of a chunk.

    Raises ValueError when the target holds another run, and for options of the export that there
    are not or that do not fit the model."""

    def __init__(
        self,
        mcmc: MCMC,
        key: Array,
        args: tuple,
        kwargs: dict[str, Any],
        target: Store,
        chunk: int | None,
        collect_warmup: bool,
        extra_fields: Sequence[str],
        init_params: PyTree,
        export: Mapping[str, Any] | None,
    ) -> None:
        options, committed = dict(export or {}), target.committed
        require_known("export", options, EXPORTS)
        if DRAW in (options.get("coords") or {}):
            raise ValueError(
                f"coords names '{DRAW}', and a streamed run numbers its draws itself: leave it out"
            )
        if mcmc.num_chains > 1:
            require_chains(init_params, mcmc.num_chains)
        self.mcmc = copy.copy(mcmc)
        self.mcmc._args, self.mcmc._kwargs, self.mcmc._cache = args, kwargs, {}
        init_params = jax.tree.map(
            lambda x: lax.convert_element_type(x, jnp.result_type(x)), init_params
        )
        several = mcmc.num_chains > 1 and is_prng_key(key)
        self.state = mcmc.sampler.init(
            jax.random.split(key, mcmc.num_chains) if several else key,
            mcmc.num_warmup,
            init_params,
            model_args=args,
            model_kwargs=kwargs,
        )
        self.mcmc._last_state = self.state
        self.segments = plan(mcmc, collect_warmup)
        self._collection = Collection.of(self.mcmc, extra_fields)
        one = jax.eval_shape(self._collection.of_state, self.state)
        estimate = of_state(mcmc, self.state, one)
        self.rows: int = committed["rows"] if committed else chunk_rows(estimate, chunk)
        same = fingerprint(
            self.mcmc, key, init_params, one, collect_warmup=collect_warmup, export=digest(options)
        )
        if committed:
            require_same(target.path, committed["fingerprint"], same)
            if committed["steps"] > self.segments[-1].stop:
                raise ValueError(
                    f"the run in {target.path} has {committed['steps']} steps, and num_warmup and "
                    f"num_samples ask for {self.segments[-1].stop}: pass a larger num_samples, or "
                    "open it with mm.open_run"
                )
        same["program"] = self.program.digest()
        energies, now = energies_of(self.state), compiler()
        if not committed:
            warn_of_disk(target.path, estimate)
        elif committed["compiler"] == now:
            require_same(target.path, committed["fingerprint"], same)
        else:
            # A program prints otherwise under each compiler: the densities must do.
            require_energies(target.path, committed["energies"], energies)
            if committed["steps"] < self.segments[-1].stop:
                warn_of_compiler(committed["compiler"], now)
        self.record = {
            "fingerprint": same,
            "energies": energies,
            "compiler": now,
            "rows": self.rows,
        }
        first = self._first_draw()
        self.export = Export(self.mcmc, first, **options)
        self._require_storable()
        self.mcmc._states = None

    def phase(self, step: int) -> str:
        """For the progress bar."""
        return "warmup" if step < self.mcmc.num_warmup else "sample"

    @cached_property
    def program(self) -> Program:
        """The steps, compiled when they are first made."""
        return Program(self._collection, self.state, self.rows)

    def _first_draw(self) -> PyTree:
        """The sites of the first state; it becomes the one draw of each chain that `mcmc` has."""
        values = jax.device_get(jax.jit(self._collection.of_state)(self.state))
        axes = 1 if self.mcmc.num_chains > 1 else (0, 1)
        self.mcmc._states = jax.tree.map(lambda leaf: np.expand_dims(leaf, axes), values)
        sites = self.mcmc.get_samples(group_by_chain=True)
        return jax.tree.map(lambda leaf: leaf[0, 0], sites)

    def _require_storable(self) -> None:
        """Raises ValueError for what could not be written: now, and not after the warm-up."""
        draws = flat(self.mcmc.get_samples(group_by_chain=True))
        datasets = self.export.datasets(draws, statistics_of(self.mcmc)) | self.export.data()
        self.export.require_coords(datasets)
        for dataset in datasets.values():
            for name, variable in dataset.variables.items():
                plain(str(name), variable)


def require_streamable(mcmc: MCMC) -> None:
    """Raises TypeError for what is no MCMC, ValueError for runs that cannot be cut into chunks."""
    if not isinstance(mcmc, MCMC):
        raise TypeError(
            f"mm.run takes a numpyro.infer.MCMC first and the key after it, got "
            f"{type(mcmc).__name__}: mm.run(MCMC(mm.MMFLD(model), ...), key, *args, store=...)"
        )
    if mcmc.num_chains > 1 and mcmc.chain_method != "vectorized":
        raise ValueError(
            f"mm.run steps all chains together, and the MCMC has chain_method="
            f"{mcmc.chain_method!r}: pass chain_method='vectorized'"
        )
    mesh = getattr(mcmc.sampler, "mesh", None)
    if mesh is not None and mesh.is_multi_process:
        raise ValueError(
            "mm.run writes from one process, and the mesh of the kernel has devices of others: "
            "use MCMC.run, or a mesh of jax.local_devices()"
        )
    if mcmc.post_warmup_state is not None:
        raise ValueError(
            "mm.run makes the warm-up itself, and the MCMC has a post_warmup_state: pass a new "
            "MCMC; to go on with a streamed run, pass resume=True"
        )
