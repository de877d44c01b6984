"""The steps of a run: which are left out, and which become draws of which group."""

from __future__ import annotations

from typing import NamedTuple

from numpyro.infer import MCMC


class Segment(NamedTuple):
    """Steps from start to stop, of which every `stride`-th becomes a draw.

    phase: what the groups of the draws begin with, None for steps that give none."""

    start: int
    stop: int
    stride: int
    phase: str | None

    @property
    def draws(self) -> int:
        return 0 if self.phase is None else (self.stop - self.start) // self.stride


def plan(mcmc: MCMC, collect_warmup: bool) -> list[Segment]:
    """As NumPyro has it: steps that do not fill a thinned draw are left out at the start."""
    warmup, total, stride = mcmc.num_warmup, mcmc.num_warmup + mcmc.num_samples, mcmc.thinning
    first = warmup % stride if collect_warmup else warmup
    second = warmup + mcmc.num_samples % stride
    segments = [
        Segment(0, first, 1, None),
        Segment(first, warmup, stride, "warmup_"),
        Segment(warmup, second, 1, None),
        Segment(second, total, stride, ""),
    ]
    return [segment for segment in segments if segment.start < segment.stop]
