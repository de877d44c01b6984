"""Whether the neck of a hierarchy may have been passed by."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ..datasets import SAMPLE_DIMS
from ..scales import SCALE_OF
from .base import SKIPPED, Check, Run

#: Of a scale, its quantile of 1% over its median below which it comes so near to zero that steps of
#: one length do for both.
NECK = 0.5


def hierarchy(run: Run) -> Check | None:
    """Of sites whose scale is made of latent sites and may be near zero: no draw tells what is
    beyond a neck that no chain went into."""
    if not run.ordinary or run.adjusted is None:
        return None
    for site, sources in json.loads(run.attrs.get("scaled_by", "{}")).items():
        # Judged is the scale itself: the sites may be its logarithm, or a precision.
        scale = run.stats.get(f"{SCALE_OF}{site}")
        if scale is not None and (ratio := _nearness(scale)) < NECK:
            by = " and ".join(f"'{name}'" for name in sources)
            return Check(
                "hierarchy",
                SKIPPED,
                f"'{site}' is scaled by {by}, and the 1% quantile of its scale is {ratio:.2g} of "
                "the median",
                "Where a scale is small, steps that are right elsewhere are too long, and chains "
                "that pass this neck by look right. Run once more with "
                "numpyro.handlers.reparam(model, config={"
                f"'{site}': numpyro.infer.reparam.LocScaleReparam(0)"
                "}): where that gives the same quantiles, none was missed.",
            )
    return None


def _nearness(scale: xr.DataArray) -> float:
    """The quantile of 1% over the median, at the least coordinate; 1 where the median is no scale
    of anything."""
    draws = scale.transpose(*SAMPLE_DIMS, ...).values
    low, middle = np.quantile(draws, (0.01, 0.5), axis=(0, 1))
    usable = (middle > 0) & np.isfinite(middle)
    return float(np.min(np.divide(low, middle, where=usable, out=np.ones_like(low))))
