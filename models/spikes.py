"""Sparse spikes seen through a blur: how many, where and how heavy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float
from scipy.optimize import lsq_linear

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array
from mmfld_ppl.functionals.checks import require_finite, require_positive


def spikes(
    sensors: Float[Array, " m"],
    observed: Float[Array, " m"],
    *,
    width: float | Array,
    largest: float | Array,
    penalty: float | Array = 0.0,
    particles: int = 500,
    temperature: float | Array = 1e-4,
) -> None:
    r"""Deconvolution: a positive measure on [0, 1] that explains a blurred signal.

        min over mu of  (1/2) sum_i (y_i - E_mu[a psf(z_i - t)])^2 + lambda E_mu[a] + tau KL(mu | U)
        psf(u) = exp(-u^2 / (2 width^2))

    A particle is a position t and a mass a below `largest`; U is uniform on [0, 1] x [0, largest].
    The measure that is sought is  nu(dt) = int a mu(dt, da), of any total mass up to `largest`, and
    the loss is convex in mu. As tau falls, nu approaches the solution of the sparse problem
    (Beurling LASSO) with the same penalty.

    sensors: z_i. observed: y_i. width: of the blur. penalty: lambda, per mass. temperature: tau, in
    units of the squared signal.

    Sites: `position` and `mass`, shape (particles,).
    Raises ValueError for data that are not finite numbers and for numbers that are not positive."""
    sensors, observed = as_array("sensors", sensors), as_array("observed", observed)
    if jnp.ndim(sensors) != 1 or jnp.shape(sensors) != jnp.shape(observed):
        raise ValueError(
            "sensors and observed must be vectors of one length, got shapes "
            f"{jnp.shape(sensors)} and {jnp.shape(observed)}"
        )
    require_finite("sensors", sensors)
    require_finite("observed", observed)
    require_positive("width", width)
    require_positive("largest", largest)
    with mm.particles("spike", particles):
        position = numpyro.sample("position", dist.Uniform())
        mass = numpyro.sample("mass", dist.Uniform(0.0, largest))
    loss = mm.functionals.OfMean(
        outer=lambda signal: jnp.sum((signal - observed) ** 2) / 2,
        feature=lambda spike: spike["mass"] * blur(spike["position"], sensors, width),
        potential=lambda spike: penalty * spike["mass"],
    )
    points = {"position": position, "mass": mass}
    mm.objective("loss", loss, points, temperature=temperature)


def blur(
    position: Float[Array, ""], sensors: Float[Array, " m"], width: float | Array
) -> Float[Array, " m"]:
    """What the sensors see of a spike of mass one."""
    return jnp.exp(-((jnp.asarray(sensors) - position) ** 2) / (2 * width**2))


def sparse_on_grid(
    sensors: Float[np.ndarray, " m"],
    observed: Float[np.ndarray, " m"],
    *,
    width: float,
    penalty: float,
    grid: Float[np.ndarray, " g"],
) -> tuple[Float[np.ndarray, " g"], float]:
    """The masses on a grid that minimise (1/2) |y - signal|^2 + lambda * total mass, and the value.

    By active sets. A row of its own, s (1, ..., 1) with the datum -lambda / s, makes the problem
    one of least squares, up to s^2 / 2 times the squared total mass; s is small."""
    columns = np.exp(-((sensors[:, None] - grid) ** 2) / (2 * width**2))
    s = 1e-4
    rows = np.vstack([columns, np.full(len(grid), s)])
    datum = np.append(observed, -penalty / s)
    masses = lsq_linear(rows, datum, (0, np.inf), "bvls", tol=1e-14, max_iter=10 * len(grid)).x
    misfit = columns @ masses - observed
    return masses, float(misfit @ misfit / 2 + penalty * masses.sum())
