"""Angles as numbers on a line: cut where a law has least, and embedded in the plane."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool

from ..functionals.stein import Lifted
from ..latent.charts import Chart, wrapped
from ..latent.layout import Site
from ..linalg import congruence, matmul
from .datasets import SAMPLE_DIMS, support_of


def is_angle(posterior: xr.Dataset, name: str) -> bool:
    """Whether the export states a circle as the support of this site."""
    # Of a concatenation some coordinates may be angles and others not.
    return support_of(posterior, name).removeprefix("independent(").startswith("Circular(")


def mean_direction(angles: Array | np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The direction of the mean of (cos, sin), over the angles that are numbers."""
    angles = np.asarray(angles, float)
    known = np.isfinite(angles)
    angles = np.where(known, angles, 0.0)
    return np.arctan2(*(np.sum(f(angles), axis, where=known) for f in (np.sin, np.cos)))


def about_mean_direction(angles: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    """Angles as those within half a turn of their mean direction over some dimensions.

    Means and spreads of a law that leaves the opposite direction free are then those of numbers,
    wherever on the circle it is. Values may pass pi."""
    axis = tuple(angles.get_axis_num(dim) for dim in dims)
    centre = np.expand_dims(mean_direction(angles.values, axis), axis)
    about = centre + wrapped(angles.values - centre)
    return angles.copy(data=about.astype(angles.dtype))


def unrolled(posterior: xr.Dataset) -> xr.Dataset:
    """The sites that are angles about their mean direction over draws and particles, the others as
    they are."""
    plate = posterior.attrs.get("particle_plate")
    return posterior.assign(
        {
            name: about_mean_direction(v, [d for d in v.dims if d in (*SAMPLE_DIMS, plate)])
            for name, v in posterior.data_vars.items()
            if is_angle(posterior, str(name))
        }
    )


def centres_of(draws: Mapping[str, np.ndarray], sites: Iterable[Site]) -> dict[str, np.ndarray]:
    """Mean directions of the sites that are angles, over chains, draws and particles."""
    angles = {s.name for s in sites if s.chart is Chart.WRAPPED}
    return {name: mean_direction(x, (0, 1, 2)) for name, x in draws.items() if name in angles}


def on_circles(point: Lifted, angles: Bool[np.ndarray, " d"]) -> Lifted:
    """A point with these coordinates embedded as (cos, sin), and the same diffusion there.

    Of dx = b dt + sqrt(2 a) dB and a map e, Ito's formula gives the drift J b + <a, grad^2 e> and
    the mobility J a J^T. The Stein operator of these, applied to any smooth field in the plane, is
    that of b and a applied to a field with the period of the circle, whose mean is zero as well."""
    x, b, a = point
    rest, t = x[~angles], x[angles]
    cos, sin = jnp.cos(t), jnp.sin(t)
    unit = jnp.eye(x.shape[0], dtype=x.dtype)
    jacobian = jnp.concatenate(
        [unit[~angles], -sin[:, None] * unit[angles], cos[:, None] * unit[angles]]
    )
    own = jnp.diagonal(a)[angles]
    bent = jnp.concatenate([jnp.zeros_like(rest), -own * cos, -own * sin])
    embedded = jnp.concatenate([rest, cos, sin])
    return Lifted(embedded, matmul(jacobian, b) + bent, congruence(jacobian, a))
