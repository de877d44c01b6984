"""One posterior from those of the parts of a data set: their Wasserstein barycenter."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions import biject_to
from numpyro.distributions.constraints import Constraint
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array
from mmfld_ppl.functionals import SinkhornBarycenter
from mmfld_ppl.functionals.checks import require_one_each, require_probabilities
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.inference_data.groups import from_groups
from models.barycenter import INWARDS
from models.barycenter_result import with_transport
from models.subposteriors import (
    Subposterior,
    Whitening,
    read_subposterior,
    require_supported,
    whitening,
)
from models.supports import inwards


class Consensus(NamedTuple):
    """posterior: draws of the combined posterior, for ArviZ. run: the particles' run, whose chains
    are replicates of the whole system, with the group `transport`."""

    posterior: Any
    run: Any


def consensus_posterior(
    subposteriors: Sequence[Any],
    supports: Mapping[str, Constraint],
    *,
    key: PRNGKeyArray,
    var_names: Sequence[str] | None = None,
    weights: Float[Array, " k"] | None = None,
    atoms: int = 500,
    particles: int = 300,
    epsilon: float | None = None,
    temperature: float | None = None,
    debiased: bool = False,
    num_warmup: int = 300,
    num_samples: int = 300,
    thinning: int = 30,
    num_chains: int = 2,
    progress_bar: bool = False,
) -> Consensus:
    r"""The Wasserstein barycenter of K subset posteriors (Srivastava, Li and Dunson 2018).

    Each worker has a part of the data and the whole prior, and raises its likelihood to the power
    K (`numpyro.handlers.scale`), so that its posterior is as wide as that of all data. The
    barycenter of such posteriors of the same shape and covariance is that shape at their mean.

    Distances are measured in coordinates z that whiten the draws: their mean covariance over the
    subsets is the identity, whatever the units and correlations of the sites. Particles live in
    the product of the supports, and the law that they find is that of `models.barycenter`,

        min over mu of  sum_k weights[k] OT_epsilon(mu, nu_k) + temperature * KL(mu | Lebesgue),

    where the transport takes out as much spread as the entropy puts in: the default temperature is
    `calibrated_temperature`, exact for Gaussians of any correlations that are alike in all subsets.

    subposteriors: `InferenceData` or `DataTree` with a posterior, or {site: draws} dictionaries as
      `MCMC.get_samples()` gives them; constrained values.
    supports: {site: constraint}; `site_supports(model, *args)` reads them off a NumPyro model.
    var_names: the sites to combine; default, all of `supports`.
    weights: of the subsets, as their shares of the data; default, equal.
    atoms: draws of each subset to use, evenly spaced. particles: N, see below.
    epsilon: in whitened squared units. The larger, the closer to a Gaussian consensus; the smaller,
      the more of the shape is kept, and the more the finite number of draws shrinks the
      result in many dimensions. Default: `default_epsilon`.
    temperature: default as above; with `debiased`, .02, which adds about that to the unit variance.
    debiased: subtract OT_epsilon(mu, mu)/2 in place of the calibration.
    num_warmup, num_samples, thinning, num_chains, progress_bar: of the run; `num_chains` replicates
      of the particle system.

    Returns the posterior, in which the particles of the kept measures follow one another as draws,
    and a chain is a replicate; and the run. Particles of one system depend on each other weakly,
    so ArviZ's errors of the posterior are a little optimistic: those across replicates are in
    `mm.summary(run)`.
    Raises ValueError on draws outside of their support, not finite, or of other sites or shapes
    from subset to subset, on supports that are not convex, and on bad weights."""
    if not subposteriors:
        raise ValueError("a consensus needs at least one subposterior, got none")
    if isinstance(subposteriors, Mapping):
        raise TypeError("subposteriors must be a list, one entry for each subset of the data")
    if num_samples < 2 * thinning:
        raise ValueError(
            f"every thinning-th of num_samples draws is kept: thinning={thinning} leaves "
            f"{num_samples // thinning} of {num_samples}, and a posterior takes two or more"
        )
    chosen = _chosen(supports, var_names)
    parts = [read_subposterior(k, s, list(chosen), atoms) for k, s in enumerate(subposteriors)]
    require_supported(parts, chosen)
    equal = np.full(len(parts), 1 / len(parts))
    shares = np.asarray(as_array("weights", equal if weights is None else weights), float)
    require_one_each("weights", shares, len(parts), "subposteriors")
    require_probabilities("weights", shares)
    shares = shares / shares.sum()
    white = whitening(parts, shares, chosen)
    targets = [mm.Measure.uniform(white(part.values)) for part in parts]
    dimension = targets[0].points.shape[1]
    if epsilon is None:
        epsilon = default_epsilon(dimension)
    if temperature is None:
        variances = [float(jnp.var(t.points, axis=0).mean()) for t in targets]
        temperature = 0.02 if debiased else calibrated_temperature(epsilon, variances, shares)
    # The squared distance splits off the means, so that their average is all that they contribute.
    # Without them the transport problems are better conditioned.
    centred = [mm.Measure(t.points - t.points.mean(axis=0), t.weights) for t in targets]
    loss = SinkhornBarycenter(centred, jnp.asarray(shares), epsilon=epsilon, debiased=debiased)
    shapes = {name: parts[0].values[name].shape[1:] for name in chosen}
    dims = _dims(parts[0], shapes)

    model = functools.partial(_consensus, chosen, shapes, white, loss, particles, temperature)
    mcmc = MCMC(
        mm.MMFLD(model),
        num_warmup=num_warmup,
        num_samples=num_samples,
        thinning=thinning,
        num_chains=num_chains,
        chain_method="vectorized",
        progress_bar=progress_bar,
    )
    key_init, key_run = jax.random.split(key)
    start = _start(key_init, parts, chosen, shares, particles, num_chains)
    mcmc.run(key_run, init_params=start if num_chains > 1 else {n: x[0] for n, x in start.items()})
    run = mm.to_inference_data(mcmc, dims=dims, coords=parts[0].coords)
    run = with_transport(
        run,
        targets,
        epsilon=epsilon,
        weights=jnp.asarray(shares),
        debiased=debiased,
        site="z",
        draws=3,
    )
    return Consensus(_as_draws(run, list(chosen)), run)


def calibrated_temperature(
    epsilon: float, variances: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray
) -> float:
    r"""The temperature at which the doubly regularised barycenter of isotropic Gaussians of these
    variances has the variance of their Wasserstein barycenter, v = (sum_k weights[k] s_k)^2:

        tau = 2 (v + epsilon/4 - sum_k weights[k] sqrt(v s_k^2 + epsilon^2/16)),

    about epsilon/2, the value that Chizat (2023) recommends."""
    s2, w = np.asarray(variances, float), np.asarray(weights, float)
    v = np.sum(w * np.sqrt(s2)) ** 2
    return float(2 * (v + epsilon / 4 - np.sum(w * np.sqrt(v * s2 + epsilon**2 / 16))))


def default_epsilon(dimension: int) -> float:
    """Larger in more dimensions, where draws are further from each other."""
    return 0.5 * dimension


def _consensus(supports, shapes, white: Whitening, loss, particles: int, temperature: float):
    with mm.particles("particle", particles):
        values = {
            name: numpyro.sample(name, dist.ImproperUniform(support, (), shapes[name]))
            for name, support in supports.items()
        }
        z = numpyro.deterministic("z", white(values))
    mm.objective("loss", loss, z, temperature=temperature)


def _chosen(supports: Mapping[str, Constraint], var_names: Sequence[str] | None) -> dict:
    if not isinstance(supports, Mapping) or not supports:
        raise TypeError(
            "supports must be {site: constraint}, as site_supports(model, *args) gives it, got "
            f"{supports!r}"
        )
    names = list(supports) if var_names is None else list(var_names)
    if unknown := sorted(set(names) - set(supports)):
        raise ValueError(f"no support is given for {unknown}, only for {sorted(supports)}")
    return {name: supports[name] for name in names}


def _start(
    key: PRNGKeyArray,
    parts: Sequence[Subposterior],
    supports: Mapping[str, Constraint],
    shares: np.ndarray,
    particles: int,
    chains: int,
) -> dict[str, Array]:
    """Draws of the subsets, brought to their average location and scale in unconstrained
    coordinates, which is close to the barycenter: (chains, particles, ...)."""
    masses = np.concatenate(
        [np.full(_size(p), w / _size(p)) for p, w in zip(parts, shares, strict=True)]
    )
    chosen = jax.random.choice(key, len(masses), (chains, particles), p=jnp.asarray(masses))
    start = {}
    for name, support in supports.items():
        draws = [part.values[name] for part in parts]
        everything, chart = np.concatenate(draws), biject_to(support)
        free = [np.asarray(chart.inv(jnp.asarray(inwards(x, everything, INWARDS)))) for x in draws]
        centres, scales = (np.stack([f(u, axis=0) for u in free]) for f in (np.mean, np.std))
        centre, scale = (np.tensordot(shares, v, axes=1) for v in (centres, scales))
        aligned = [
            centre + scale * (u - c) / s for u, c, s in zip(free, centres, scales, strict=True)
        ]
        start[name] = chart(jnp.asarray(np.concatenate(aligned)))[chosen]
    return start


def _size(part: Subposterior) -> int:
    return len(next(iter(part.values.values())))


def _dims(part: Subposterior, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[str]]:
    for name in shapes:
        if taken := sorted({"particle", "measure"} & set(part.dims.get(name) or ())):
            raise ValueError(
                f"the subposteriors' site '{name}' has a dimension {taken[0]!r}, which is that of "
                "the consensus' own: give it another name"
            )
    return {n: part.dims[n] for n, shape in shapes.items() if shape and part.dims.get(n)}


def _as_draws(run: Any, names: Sequence[str]) -> Any:
    """The particles of every kept measure, one after the other, as draws of a posterior."""
    posterior = dataset(run, "posterior")
    stacked = (
        posterior[list(names)]
        .rename(draw="measure")
        .stack(draw=("measure", "particle"), create_index=False)
    )
    stacked = stacked.transpose("chain", "draw", ...).drop_vars(["measure", "particle"])
    stacked = stacked.assign_coords(draw=np.arange(stacked.sizes["draw"]))
    keep = ("created_at", "creation_library", "creation_library_version", "temperature", "supports")
    attrs = {name: posterior.attrs[name] for name in keep if name in posterior.attrs}
    attrs |= {
        "inference_library": "mmfld_ppl",
        "num_particles": posterior.sizes["particle"],
        "num_measures": posterior.sizes["draw"],
    }
    stacked.attrs = attrs
    return from_groups({"posterior": stacked}, attrs)
