"""A run of NumPyro's MCMC whose draws go to disk, chunk by chunk."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC
from tqdm.auto import tqdm

from ..inference_data.convert import JUDGED, complaints
from ..inference_data.export import flat, statistics_of
from .checkpoint import pack, unpack
from .files import locked
from .interrupt import Interrupt
from .plan import Segment
from .setup import Setup, require_streamable
from .store import DRAW, Store, open_run

#: Of computation between two looks at the clock and at Ctrl-C.
SLICE_SECONDS = 0.2
#: After which the draws of an unfinished chunk are committed too.
COMMIT_SECONDS = 60.0


def run(
    mcmc: MCMC,
    key: Array,
    *args: Any,
    store: str | os.PathLike,
    resume: bool = False,
    chunk: int | None = None,
    collect_warmup: bool = False,
    extra_fields: Sequence[str] = (),
    init_params: PyTree = None,
    export: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Runs `mcmc`, as `mcmc.run` would, with its draws going to a Zarr store: memory does not grow
    with their number, and when the process ends nothing is lost but the chunk under way.

    Returns the inference data of the store, read as they are used: see `open_run`. They hold what
    `mcmc.run` and `to_inference_data` would give. `mcmc.last_state` is set; the draws are not kept
    in `mcmc`.

    mcmc: of any NumPyro kernel, with chain_method="vectorized" where it has several chains.
    store: a folder. A chunk becomes part of it as a whole, so that it can be opened or killed at
      every moment and has all committed draws.
    resume: whether to go on with the run that the store has, in its warm-up too, bit for bit as if
      it had never stopped, on the same device and versions. A store that does not exist is begun,
      one that is finished is opened, and with a larger num_samples it is extended.
    chunk: draws of a chunk. Default: 16 MB of them. What a minute gives is committed in any case.
      A store keeps the chunks that it was begun with.
    collect_warmup: whether to keep the draws of the warm-up, as `warmup_posterior` and
      `warmup_sample_stats`.
    extra_fields, init_params: as in `MCMC.run`.
    export: options of `to_inference_data` other than diagnostics, by name; log_likelihood and dual
      are evaluated chunk by chunk.

    The first Ctrl-C ends the run within a fraction of a second, or a draw where that takes longer:
    what there is is committed and returned, with a warning. The second raises KeyboardInterrupt.

    Warns when the draws will not fit on the disk, when a value that is not finite was drawn (naming
    the first one), and as `to_inference_data` does.
    Raises FileExistsError when the store exists without `resume`, ValueError when it is of another
    model, kernel, data, key or version, saying what differs, RuntimeError when another process
    writes to it, and OSError when it cannot be written to or the disk is full. The store keeps what
    it had in every case."""
    require_streamable(mcmc)
    target = Store(store)
    target.make()
    with locked(target.lock):
        target.claim(resume)
        setup = Setup(
            mcmc,
            key,
            args,
            kwargs,
            target,
            chunk,
            collect_warmup,
            extra_fields,
            init_params,
            export,
        )
        streamed = _Streamed(setup, target)
        if not streamed.finished:
            streamed.advance()
        mcmc._args, mcmc._kwargs, mcmc._last_state = args, kwargs, streamed.state
        mcmc._states = mcmc._states_flat = None
        for complaint in streamed.complaints():
            warnings.warn(complaint, stacklevel=2)
        return open_run(store)


class _Streamed:
    """A run on its way.

    state, steps: after how many steps. first, stop: the rows of the buffer that are to be
    committed."""

    def __init__(self, setup: Setup, target: Store) -> None:
        self.setup, self.target, self.chains = setup, target, setup.mcmc.num_chains
        self.steps = target.committed["steps"] if target.committed else 0
        self.state = unpack(target.state() if target.committed else pack(setup.state), setup.state)
        setup.mcmc._last_state = self.state
        self.first = self.stop = 0
        self.broken: dict[str, str] = dict((target.committed or {}).get("broken", {}))
        self.interrupted = False
        self._committed, self._committed_at = self.steps, time.monotonic()
        self._statistics: dict[str, np.ndarray] = {}
        if target.committed is None:
            for group, dataset in setup.export.data().items():
                target.write(group, dataset)
            self._commit(None)

    @property
    def finished(self) -> bool:
        return self.steps == self.setup.segments[-1].stop

    def advance(self) -> None:
        """Goes on to the end, or to Ctrl-C."""
        segments, mcmc = self.setup.segments, self.setup.mcmc
        chunk = self.setup.rows * mcmc.thinning
        bar = tqdm(total=segments[-1].stop, initial=self.steps, disable=not mcmc.progress_bar)
        with Interrupt() as interrupt, bar:
            for segment in segments:
                count = 1
                while self.steps < segment.stop:
                    bar.set_description(self.setup.phase(self.steps), refresh=False)
                    before, begun = self.steps, time.monotonic()
                    count = self._slice(segment, count)
                    now = time.monotonic()
                    bar.update(self.steps - before)
                    count = _paced(count, now - begun)
                    stopping = interrupt.asked  # Read once: what follows it is not committed.
                    full = self.stop == self.setup.rows or self.steps - self._committed >= chunk
                    late = now - self._committed_at > COMMIT_SECONDS
                    if full or late or stopping or self.steps == segment.stop:
                        self._commit(segment)
                    if stopping:
                        self.interrupted = not self.finished
                        return

    def _slice(self, segment: Segment, most: int) -> int:
        """At most so many draws of a segment, or steps where it has none; how many they were."""
        rows, program = self.setup.rows, self.setup.program
        if segment.phase is None:
            count = min(most, segment.stop - self.steps, rows * self.setup.mcmc.thinning)
            self.state = program(self.state, 0, 1, count)
            self.steps += count
            return count
        row = self._draw(segment) % rows
        count = min(most, segment.draws - self._draw(segment), rows - row)
        self.state = program(self.state, row, count, segment.stride)
        self.steps += count * segment.stride
        self.first = row if self.first == self.stop else self.first
        self.stop = row + count
        return count

    def _draw(self, segment: Segment) -> int:
        """Draws of the segment so far."""
        return (self.steps - segment.start) // segment.stride

    def _commit(self, segment: Segment | None) -> None:
        mcmc, export = self.setup.mcmc, self.setup.export
        mcmc._last_state = self.state
        if self.first < self.stop and segment is not None:
            mcmc._states = self.setup.program.collected(self.first, self.stop, self.chains)
            draws = flat(mcmc.get_samples(group_by_chain=True))
            self._statistics = statistics_of(mcmc)
            start = self._draw(segment) - (self.stop - self.first)
            for name, dataset in export.datasets(draws, self._statistics).items():
                size = dataset.sizes.get(DRAW, 0)
                placed = dataset.assign_coords({DRAW: np.arange(start, start + size)})
                self.target.extend(f"{segment.phase}{name}", placed, start, self.setup.rows)
                self._look_for_nonfinite(f"{segment.phase}{name}", placed)
            mcmc._states = None
        attrs = export.attributes(mcmc, self._statistics)
        record = self.setup.record | {"broken": self.broken}
        self.target.commit(self.steps, pack(self.state), record, attrs)
        self.first = self.stop = 0 if self.stop == self.setup.rows else self.stop
        self._committed, self._committed_at = self.steps, time.monotonic()

    def _look_for_nonfinite(self, group: str, dataset: xr.Dataset) -> None:
        """Remembers the first value of each variable that is not finite."""
        for name, variable in dataset.data_vars.items():
            judged = group.endswith("posterior") or name in ("lp", "objective")
            if not judged or name in self.broken or variable.dtype.kind != "f":
                continue
            values = variable.values
            if np.all(np.isfinite(values)):
                continue
            chain, draw, *entry = place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
            where = f", entry {tuple(entry)}" if entry else ""
            self.broken[str(name)] = (
                f"'{name}' is not finite: {values[place]} first at draw "
                f"{int(dataset[DRAW][draw])} of chain {chain}{where} ({group})"
            )

    def complaints(self) -> list[str]:
        """What the user must know of the run, as far as it has come."""
        found = list(self.broken.values())
        if self.interrupted:
            found.append(
                f"interrupted after {self.steps} of {self.setup.segments[-1].stop} steps: these "
                "are all draws up to there; the same call with resume=True goes on"
            )
        statistics = self.target.statistics(JUDGED)
        if statistics:
            found += complaints(self.setup.mcmc, statistics)
        return found


def _paced(count: int, seconds: float) -> int:
    """How many to compute next, for a slice of the right length."""
    return max(1, int(count * min(4.0, SLICE_SECONDS / max(seconds, 1e-6))))
