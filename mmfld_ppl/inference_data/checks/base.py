"""What a check is, and the run that it reads."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool

from ...diagnostics import stuck_particles
from ...diagnostics.health import UNBOUNDED, named_chains
from ..angles import unrolled
from ..datasets import SAMPLE_DIMS
from ..groups import dataset

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "not checked"

#: Numbers within one standard deviation of a particle, below which the nearest neighbours of ten
#: thousand coincide.
LEAST_NUMBERS = 3000
#: Standard errors beyond which a difference is one.
SIGNIFICANT = 3.0
#: Draws that it takes to tell that something does not move.
STILL_DRAWS = 20
#: Supports on lines, half-lines and intervals, and of ordered vectors, in words.
SCALARS = re.compile(
    r"(independent\()?(Real|Nonnegative|\w*Positive|(Greater|Less)Than\w*|\w*Interval|"
    r"\w*OrderedVector)\("
)
#: The advice of checks that no longer run would pass.
NOTHING_HOLDS = (
    "Nothing in the density holds the draws, so that there is no law for them to reach: see the "
    "step size."
)


class Check(NamedTuple):
    """name. verdict: "ok", "warn", "fail" or "not checked". value: what was found. advice: what it
    means and what to do; empty when all is well."""

    name: str
    verdict: str
    value: str
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """An exported run. stats, mean_field; marginals and snapshots, of trajectories: empty where it
    has none."""

    posterior: xr.Dataset
    stats: xr.Dataset
    mean_field: xr.Dataset
    marginals: xr.Dataset
    snapshots: xr.Dataset
    attrs: dict[str, Any]

    @classmethod
    def of(cls, idata: Any) -> Run:
        posterior = unrolled(dataset(idata, "posterior"))
        stats, mean_field, marginals, snapshots = (
            dataset(idata, name) if name in idata else xr.Dataset()
            for name in ("sample_stats", "mean_field", "marginals", "snapshots")
        )
        attrs = dict(posterior.attrs)
        return cls(posterior, stats, mean_field, marginals, snapshots, attrs)

    @property
    def plate(self) -> str | None:
        return self.attrs.get("particle_plate")

    @property
    def ordinary(self) -> bool:
        """Of a model without an objective, whose draws are of a posterior."""
        return "temperature" not in self.attrs

    @property
    def warmup(self) -> bool:
        """Whether these draws are of a warm-up, on its way."""
        return self.attrs.get("phase") == "warmup"

    @property
    def adjusted(self) -> bool | None:
        """None for another kernel than ours."""
        return self.settings.get("metropolize")

    @property
    def settings(self) -> dict[str, Any]:
        """Of the kernel; empty for another than ours."""
        return json.loads(self.attrs.get("kernel_settings", "{}"))

    @property
    def adapted_steps(self) -> np.ndarray | None:
        """By chain and draw, in units of the metric; None where either is not the warm-up's."""
        adapted = self.settings.get("adapt_step_size") and self.settings.get("adapt_metric")
        return self.stats["step_size"].values if adapted and "step_size" in self.stats else None

    @functools.cached_property
    def unheld(self) -> tuple[str, float] | None:
        """Of an ordinary model whose density holds nothing, so that steps and draws grew without
        bound: the latent site with the largest draw, and its size. Angles have no large draws, and
        any step goes about a circle."""
        steps = self.adapted_steps
        if not self.ordinary or steps is None or np.all(steps[:, -1] < UNBOUNDED):
            return None
        sites = [name for name in self.supports if name in self.posterior]
        sizes = {name: self.posterior[name] for name in sites}
        found = {name: float(max(x.max(), -x.min())) for name, x in sizes.items() if x.size}
        site = max(found, key=lambda name: found[name], default="")
        return (site, found[site]) if found and found[site] > UNBOUNDED else None

    @property
    def supports(self) -> dict[str, str]:
        """Of latent sites, in words."""
        return json.loads(self.attrs.get("supports", "{}"))

    @property
    def masked(self) -> list[str]:
        """Latent sites with entries that a mask leaves out of the density."""
        return json.loads(self.attrs.get("masked", "[]"))

    @property
    def has_scalars(self) -> bool:
        """Whether there are sites that a dense metric is for: on lines, half-lines and intervals,
        or of ordered vectors."""
        return any(SCALARS.match(words) for words in self.supports.values())

    @property
    def particles(self) -> dict[str, xr.DataArray]:
        """Draws of the particles, by site of real numbers."""
        return {
            str(name): values
            for name, values in self.posterior.data_vars.items()
            if self.plate in values.dims and np.issubdtype(values.dtype, np.floating)
            if values.size
        }

    @functools.cached_property
    def standing(self) -> Bool[np.ndarray, " chain"]:
        """Which chains of an ordinary model drew one point again and again. They say nothing of the
        law, and hide what the others say: their log density may be the only one that is large."""
        count, values = self.posterior.sizes["chain"], list(self.posterior.data_vars.values())
        values += [self.stats["lp"]] if "lp" in self.stats else []
        # What is not a real number, as a deterministic site's, may be the same where sites move.
        values = [v for v in values if np.issubdtype(v.dtype, np.floating) and v.size]
        if not self.ordinary or not values or self.posterior.sizes["draw"] < STILL_DRAWS:
            return np.zeros(count, bool)
        still = np.ones(count, bool)
        for v in values:
            x = v.transpose("draw", "chain", ...).values
            still &= stuck_particles(x.reshape(*x.shape[:2], -1))
        return still

    @functools.cached_property
    def widths(self) -> dict[str, xr.DataArray]:
        """The logarithm of the standard deviation of each coordinate of the particles, by site, at
        every draw; 0 for coordinates that every particle shares."""
        found = {}
        for name, values in self.particles.items():
            sd = values.astype(float).std(self.plate)
            spread = sd.min(SAMPLE_DIMS) > 1e-6 * np.abs(values).max()
            if bool(spread.any()):
                found[name] = xr.where(spread, np.log(sd.where(spread, 1.0)), 0.0)
        return found

    @functools.cached_property
    def coarse(self) -> dict[str, float]:
        """How many floating-point numbers lie within one standard deviation of the particles, by
        site: those of which there are too few, at the worst coordinate. Not on simplices, whose
        small coordinates are known where the largest is not."""
        supports, found = self.supports, {}
        for name, values in self.particles.items():
            if "simplex" in supports.get(name, "").lower():
                continue
            x = values.transpose(*SAMPLE_DIMS, self.plate, ...).values
            sd = x.std(axis=(0, 1, 2), dtype=float)
            numbers = sd / np.spacing(np.abs(x).max(axis=(0, 1, 2)))
            least = np.min(numbers, where=sd > 0, initial=np.inf)
            if least < LEAST_NUMBERS:
                found[name] = float(least)
        return found

    def moving(self) -> Run:
        """The chains that move."""
        if not np.any(self.standing):
            return self
        kept = {"chain": np.flatnonzero(~self.standing)}
        return dataclasses.replace(
            self,
            posterior=self.posterior.isel(kept),
            stats=self.stats.isel(kept, missing_dims="ignore"),
        )

    def chains(self, which: Bool[np.ndarray, " chain"] | int) -> str:
        """Some chains by name: a draw, or a chain, may have been selected since the export."""
        return named_chains(np.atleast_1d(self.posterior["chain"].values[which]))

    def measure(self, name: str) -> np.ndarray | None:
        """A variable of the group mean_field."""
        return self.mean_field[name].values if name in self.mean_field else None


def judged(name: str, verdict: str, value: str, advice: str) -> Check:
    """A check whose advice is given where it is needed."""
    return Check(name, verdict, value, "" if verdict == OK else advice)


def graded(size: float, limits: tuple[float, float]) -> str:
    """The verdict on a number: beyond the first limit a warning, beyond the second a failure."""
    # Written so that a number that is not one fails.
    return OK if size <= limits[0] else WARN if size <= limits[1] else FAIL


def gravest(found: Iterable[tuple]) -> tuple | None:
    """The first with the gravest verdict, which comes last."""
    order = {OK: 0, WARN: 1, FAIL: 2}
    return max(found, key=lambda row: order[row[-1]], default=None)
