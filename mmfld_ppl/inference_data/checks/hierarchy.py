"""Whether the neck of a hierarchy may have been passed by."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ..datasets import SAMPLE_DIMS
from .base import SKIPPED, Check, Run

#: Of a scale, its quantile of 1% over its median below which it comes so near to zero that steps of
#: one length do for both.
NECK = 0.5


def hierarchy(run: Run) -> Check | None:
    """Of sites whose scale is a latent site that may be near zero: no draw tells what is beyond a
    neck that no chain went into."""
    if not run.ordinary or run.adjusted is None:
        return None
    scaled_by = json.loads(run.attrs.get("scaled_by", "{}"))
    for site, scale in ((site, scale) for site, scales in scaled_by.items() for scale in scales):
        if scale in run.posterior and (ratio := _nearness(run.posterior[scale])) < NECK:
            return Check(
                "hierarchy",
                SKIPPED,
                f"'{site}' is scaled by '{scale}', whose 1% quantile is {ratio:.2g} of its median",
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
    return float(np.min(np.divide(low, middle, where=middle > 0, out=np.ones_like(low))))
