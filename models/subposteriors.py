"""Posteriors of parts of a data set, read and brought to common coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import biject_to
from numpyro.distributions.constraints import Constraint

from mmfld_ppl.inference_data import dataset
from mmfld_ppl.inference_data.thinning import evenly
from mmfld_ppl.latent.reading import Reading, dynamic_supports
from mmfld_ppl.mirrors import mirror_map
from models.supports import ON_BOUNDARY, inwards

#: Directions in which standardised draws vary less than this are those that a support fixes, as
#: the sum of a simplex.
FLAT = 1e-8

Supports = Mapping[str, Constraint]
Values = dict[str, np.ndarray]


def site_supports(model: Callable, *args: Any, **kwargs: Any) -> dict[str, Constraint]:
    """The supports of a NumPyro model's continuous latent sites, for these arguments.

    Raises ValueError for a support that depends on another latent site."""
    reading = Reading.of(model, args, kwargs, jax.random.key(0))
    if moving := sorted(dynamic_supports(reading)):
        raise ValueError(
            f"the supports of {moving} depend on other latent sites, so that there is no one set "
            "for their barycenter; reparametrise them, or leave them out by var_names"
        )
    latents = reading.latents.items()
    return {
        name: site["fn"].support for name, site in latents if not site["fn"].support.is_discrete
    }


class Subposterior(NamedTuple):
    """values: by site, the draws along the first axis. dims, coords: of the axes after it."""

    values: Values
    dims: dict[str, list[str]]
    coords: dict[str, list]


def read_subposterior(k: int, given: Any, names: Sequence[str], atoms: int) -> Subposterior:
    """Some sites of a posterior, at most `atoms` of its draws, evenly spaced over all chains.

    given: `InferenceData` or `DataTree`; or {site: draws}, a draw a row.
    Raises ValueError naming the subposterior and the site."""
    if isinstance(given, Mapping) and "posterior" not in given:  # InferenceData are mappings too
        arrays = {name: np.asarray(v) for name, v in given.items() if name in names}
        dims, coords = {}, {}
    else:
        posterior = dataset(given, "posterior")
        stacked = posterior[[n for n in names if n in posterior]].stack(
            __draw=("chain", "draw"), create_index=False
        )
        arrays = {str(n): v.transpose("__draw", ...).values for n, v in stacked.data_vars.items()}
        dims = {str(n): [str(d) for d in v.dims[2:]] for n, v in posterior.data_vars.items()}
        used = {d for name in arrays for d in dims[name]}
        coords = {d: posterior[d].values.tolist() for d in used if d in posterior.coords}
    if missing := sorted(set(names) - set(arrays)):
        raise ValueError(
            f"subposterior {k} has no draws of {missing}: give all subposteriors the same sites, "
            "or say by var_names= which to combine"
        )
    sizes = {name: len(v) for name, v in arrays.items()}
    if len(set(sizes.values())) != 1 or min(sizes.values()) < 2:
        raise ValueError(
            f"subposterior {k} must have the same number of draws, at least 2, of every site, got "
            f"{sizes}"
        )
    n = next(iter(sizes.values()))
    at = evenly(n, atoms)
    for name, v in arrays.items():
        if not np.all(np.isfinite(v)):
            raise ValueError(
                f"subposterior {k}: {np.sum(~np.isfinite(v))} values of site "
                f"'{name}' are not finite; leave these draws out"
            )
    return Subposterior({name: arrays[name][at] for name in names}, dims, coords)


def require_supported(subposteriors: Sequence[Subposterior], supports: Supports) -> None:
    """Raises ValueError where a site is not convex, has other shapes elsewhere, or has draws
    outside of its closed support."""
    first = subposteriors[0].values
    for name, support in supports.items():
        shape = first[name].shape[1:]
        for k, other in enumerate(subposteriors):
            if other.values[name].shape[1:] != shape:
                raise ValueError(
                    f"site '{name}' has shape {other.values[name].shape[1:]} in subposterior {k} "
                    f"and {shape} in subposterior 0"
                )
        if support.is_discrete or mirror_map(support, shape) is None:
            raise ValueError(
                f"site '{name}': its support {support!r} is not known to be convex, and a "
                "barycenter averages its values; combine the other sites (var_names=), or a "
                "deterministic function of it"
            )
        everything = np.concatenate([s.values[name] for s in subposteriors])
        for k, one in enumerate(subposteriors):
            draws = one.values[name]
            inside = np.asarray(support(jnp.asarray(inwards(draws, everything, ON_BOUNDARY))))
            inside = inside.reshape(len(draws), -1).all(axis=1)
            if not inside.all():
                raise ValueError(
                    f"subposterior {k}, site '{name}': {np.sum(~inside)} of {len(draws)} draws are "
                    f"outside of the support {support!r}, the first is "
                    f"{draws[np.argmin(inside)]}; are these draws of the unconstrained parameter?"
                )


class Whitening(NamedTuple):
    """An affine map of all sites to coordinates in which the subposteriors' mean covariance is the
    identity: (x - mean) @ matrix. As many coordinates as the supports have dimensions."""

    names: tuple[str, ...]
    mean: Float[np.ndarray, " D"]
    matrix: Float[np.ndarray, "D r"]

    def __call__(self, values: Mapping[str, Array | np.ndarray]) -> Float[Array, "n r"]:
        flat = _flat(jnp, self.names, values)
        return jnp.matmul(
            flat - jnp.asarray(self.mean, flat.dtype),
            jnp.asarray(self.matrix, flat.dtype),
            precision="highest",
        )


def whitening(
    subposteriors: Sequence[Subposterior], weights: np.ndarray, supports: Supports
) -> Whitening:
    """Raises ValueError where the draws do not vary in all dimensions of the supports."""
    names = tuple(supports)
    flat = [_flat(np, names, s.values).astype(np.float64) for s in subposteriors]
    covariances = np.stack([np.atleast_2d(np.cov(x, rowvar=False)) for x in flat])
    covariance = np.tensordot(weights, covariances, axes=1)
    sd = np.sqrt(np.diag(covariance))
    if not np.all(sd > 0):
        raise ValueError(
            f"'{_entry(names, subposteriors[0].values, int(np.argmin(sd)))}' is the same in all "
            "draws of a subposterior; leave what does not vary out by var_names="
        )
    spread, directions = np.linalg.eigh(covariance / np.outer(sd, sd))
    kept = spread > FLAT
    dimension = sum(_dimension(supports[n], subposteriors[0].values[n].shape[1:]) for n in names)
    if np.sum(kept) != dimension:
        raise ValueError(
            f"the supports of {list(names)} have {dimension} dimensions and the draws vary in "
            f"{np.sum(kept)}: give more draws than dimensions, and leave out sites that are "
            "functions of others"
        )
    matrix = (directions[:, kept] / np.sqrt(spread[kept])) / sd[:, None]
    mean = weights @ np.stack([x.mean(axis=0) for x in flat])
    return Whitening(names, mean, matrix)


def _flat(xp: Any, names: Sequence[str], values: Mapping[str, Any]) -> Any:
    return xp.concatenate([xp.reshape(values[n], (len(values[n]), -1)) for n in names], axis=1)


def _dimension(support: Constraint, shape: tuple[int, ...]) -> int:
    """Of the affine set that a support of values of this shape spans."""
    return math.prod(biject_to(support).inverse_shape(shape))


def _entry(names: Sequence[str], values: Values, at: int) -> str:
    """The name of a flat coordinate."""
    for name in names:
        shape = values[name].shape[1:]
        if at < math.prod(shape):
            return name + (str(list(map(int, np.unravel_index(at, shape)))) if shape else "")
        at -= math.prod(shape)
    raise IndexError(at)
