"""What a run of `barycenter` says about each of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals import SinkhornBarycenter
from mmfld_ppl.inference_data.groups import dataset, with_groups
from mmfld_ppl.inference_data.thinning import evenly
from models.barycenter import Target

#: Fields of `SinkhornReport`, in the order of the tables.
FIELDS = ("transport_cost", "value", "marginal_error", "iterations", "converged")


def with_transport(
    idata: Any,
    targets: Sequence[Target],
    *,
    epsilon: float,
    weights: Float[Array, " k"] | None = None,
    debiased: bool = False,
    site: str = "x",
    labels: Sequence[str] | None = None,
    draws: int = 10,
    couplings: bool = False,
    threshold: float = 1e-3,
    max_iterations: int = 1000,
) -> Any:
    """The exported run with a group `transport`: what the measure of the particles pays to each
    input, and how well that was solved, from a cold start.

    With dims chain, draw, input, at evenly spaced draws:
      transport_cost: <C, P>, the mean squared distance under the entropic coupling.
      value: OT_epsilon, entropy included. marginal_error: L1 error of the input's marginal.
      iterations: of Sinkhorn. converged: whether the error is below the threshold.
    With debiasing the same of the measure with itself, as `self_value` and so on, without `input`.
    coupling: on request, of the last draw of each chain, with dims chain, input, the particles'
      plate, input_atom; zero past the size of a smaller input. Rows sum to 1/N, columns to
      the masses of the input.
    weight: of each input.

    idata: a run of `barycenter`, from `mm.to_inference_data` or from a file. targets, epsilon,
      weights, debiased, threshold, max_iterations: as in the run, or others to compare with.
    site: of the particles. labels: of the inputs, for the coordinate. draws: how many of each
      chain, at most.
    Returns the run with the group added, of the ArviZ generation that is installed.
    Raises ValueError on an unknown site or where labels do not fit, and as `SinkhornBarycenter`."""
    loss = SinkhornBarycenter(
        targets,
        weights,
        epsilon=epsilon,
        debiased=debiased,
        threshold=threshold,
        max_iterations=max_iterations,
    )
    count = len(targets)
    if labels is not None and len(labels) != count:
        raise ValueError(f"{count} inputs need as many labels, got {len(labels)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    posterior = dataset(idata, "posterior")
    plate = str(posterior.attrs.get("particle_plate"))
    if site not in posterior or plate not in posterior[site].dims:
        raise ValueError(
            f"the run has no particles at site '{site}', only the sites {list(posterior.data_vars)}"
        )
    values = posterior[site]
    values = values.transpose("chain", "draw", plate, ...)
    at = evenly(values.sizes["draw"], draws)
    points = jnp.asarray(values.values[:, at])
    chains, kept = points.shape[:2]
    report = jax.jit(lambda flat: jax.lax.map(lambda x: loss.report(mm.Measure.uniform(x)), flat))(
        points.reshape(chains * kept, *points.shape[2:])
    )

    variables: dict[str, Any] = {"weight": ("input", np.asarray(loss.weights))}
    for name in FIELDS:
        numbers = np.asarray(getattr(report, name)).reshape(chains, kept, -1)
        variables[name] = (("chain", "draw", "input"), numbers[..., :count])
        if debiased:
            variables[f"self_{name}"] = (("chain", "draw"), numbers[..., count])
    coords: dict[str, Any] = {
        "chain": values["chain"].values,
        "draw": values["draw"].values[at],
        "input": np.arange(count) if labels is None else np.asarray(labels),
    }
    if couplings:
        plans = jax.lax.map(lambda x: loss.couplings(mm.Measure.uniform(x)), points[:, -1])
        variables["coupling"] = (("chain", "input", plate, "input_atom"), np.asarray(plans))
        coords |= {plate: values[plate].values, "input_atom": np.arange(plans.shape[-1])}
    attrs = {"epsilon": float(epsilon), "debiased": int(debiased), "threshold": threshold}
    return with_groups(idata, {"transport": xr.Dataset(variables, coords, attrs)})


def input_summary(idata: Any) -> Any:
    """A row an input, from the group `transport`: averages over chains and draws.

    transport_cost, value: with mcse_transport_cost across chains (NaN for one chain). A solve that
    overflowed makes an average NaN.
    marginal_error, iterations: the largest seen. converged: whether all solves did."""
    transport = dataset(idata, "transport")
    everywhere = ("chain", "draw")
    of_chain = transport["transport_cost"].mean("draw", skipna=False)
    chains = of_chain.sizes["chain"]
    error = (
        of_chain.std("chain", ddof=1, skipna=False) / chains**0.5
        if chains > 1
        else np.nan * of_chain[0]
    )
    table = xr.Dataset(
        {
            "weight": transport["weight"],
            "transport_cost": of_chain.mean("chain", skipna=False),
            "mcse_transport_cost": error,
            "value": transport["value"].mean(everywhere, skipna=False),
            "marginal_error": transport["marginal_error"].max(everywhere, skipna=False),
            "iterations": transport["iterations"].max(everywhere),
            "converged": transport["converged"].all(everywhere),
        }
    )
    return table.drop_vars("chain", errors="ignore").to_dataframe()
