"""What a model must satisfy before its particles and latents can be moved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints as nc
from numpyro.ops.provenance import eval_provenance

from ..arrays import is_known
from ..constraints.by_type import base_of
from ..functionals.variation import require_first_variation
from ..measures import Measure
from ..primitives import OBJECTIVE, PARTICLES
from .reading import Reading, unwrapped

#: By how much densities of particles in one place may differ, relative to one plus their size: what
#: rounding leaves where large terms cancel, in arithmetic that is not the same for all rows.
EXCHANGEABLE = 1e-2


def require_continuous(latents: Mapping[str, Any]) -> None:
    if not latents:
        raise ValueError(
            "the model has no latent site, so there is nothing to sample: state one by "
            "numpyro.sample without obs="
        )
    for name, site in latents.items():
        if site["fn"].support.is_discrete:
            raise ValueError(
                f"latent site '{name}' is discrete ({type(unwrapped(site['fn'])).__name__}), and "
                "Langevin dynamics move continuous variables only, and enumerate none: sum it out "
                "(numpyro.distributions.MixtureSameFamily), or combine kernels with "
                "numpyro.infer.Gibbs([(DiscreteGibbs(model), ['" + name + "']), (MMFLD(model), "
                "None)]), several chains by chain_method='sequential'"
            )
        if isinstance(unwrapped(site["fn"]), dist.Delta):
            raise ValueError(
                f"latent site '{name}' has a Delta, one value, which no move can leave: state it "
                f"by numpyro.deterministic('{name}', value)"
            )


def require_stated_supports(latents: Mapping[str, Any]) -> None:
    """Raises ValueError for an image of a bounded law under a transform of the whole line: NumPyro
    takes its support for the image of the line."""
    for name, site in latents.items():
        law = unwrapped(site["fn"])
        if type(law) is not dist.TransformedDistribution:
            continue
        base, transform = base_of(unwrapped(law.base_dist).support), law.transforms[0]
        if base_of(transform.domain) is nc.real and base is not nc.real:
            raise ValueError(
                f"site '{name}': its law is the image of one on {base!r} under "
                f"{type(transform).__name__}, whose domain is the whole line, so that its support "
                "is stated too large, and most of it has no density: pass the transform "
                "domain=base.support, as AffineTransform(loc, scale, domain=base.support)"
            )


def warn_of_outer_products(tr: Mapping[str, Any]) -> None:
    """Where each of several data is taken to be drawn from several laws, along an axis that is no
    plate's: nobody means that, and NumPyro sums all of it."""
    for name, site in tr.items():
        if site["type"] != "sample" or not site["is_observed"] or OBJECTIVE in site["infer"]:
            continue
        law, plates = site["fn"], {frame.dim for frame in site["cond_indep_stack"]}
        data = jnp.shape(site["value"])[: jnp.ndim(site["value"]) - law.event_dim]
        try:
            terms = jnp.broadcast_shapes(data, law.batch_shape)
        except ValueError:  # NumPyro refuses these, and names the site.
            continue
        sizes = (1,) * (len(terms) - len(data)) + data
        repeated = [at - len(terms) for at, size in enumerate(sizes) if size < terms[at]]
        if math.prod(data) > 1 and not plates.issuperset(repeated):
            warnings.warn(
                f"site '{name}': data of batch shape {data} under laws of batch shape "
                f"{law.batch_shape} are {math.prod(terms)} terms, each datum under several laws: "
                "give both the same shape, as a covariate of shape (n,) in place of (n, 1); where "
                "it is meant, put the site into a plate for each axis",
                stacklevel=2,
            )


def require_whole(latents: Mapping[str, Any], subsampled: set[str]) -> None:
    for name, site in latents.items():
        for frame in site["cond_indep_stack"]:
            if frame.name in subsampled:
                raise ValueError(
                    f"latent site '{name}' is inside plate '{frame.name}', which is subsampled: "
                    "its values would not be updated together; only observed sites can be in a "
                    "subsampled plate"
                )


def subsampled_plates(tr: Mapping[str, Any]) -> set[str]:
    return {
        name
        for name, site in tr.items()
        if site["type"] == "plate"
        and site["args"][1] is not None
        and site["args"][1] < site["args"][0]
    }


def particle_plate(tr: Mapping[str, Any]) -> str | None:
    suffix = f"_{PARTICLES}"
    # The name under which handlers such as `scope` let the plate itself be seen.
    plates = [name.removesuffix(suffix) for name, s in tr.items() if s["type"] == PARTICLES]
    if len(plates) > 1:
        raise ValueError(
            f"a model has one plate of particles, got {plates}; put all sites of a particle into "
            "one `particles` plate"
        )
    return plates[0] if plates else None


def find_objective(
    tr: Mapping[str, Any], plate: str | None, latents: Mapping[str, Any]
) -> str | None:
    objectives = [
        name for name, site in tr.items() if site["type"] == "sample" and OBJECTIVE in site["infer"]
    ]
    if not objectives:
        if plate is not None:
            warnings.warn(
                f"the model has particles '{plate}' and no mm.objective: they are independent "
                "draws of the laws that they are sampled from; state what their measure is to "
                "minimise by mm.objective(name, functional, points, temperature=...)",
                stacklevel=2,
            )
        return None
    if len(objectives) > 1:
        raise ValueError(
            f"a model states one objective, got {objectives}; add the functionals: "
            "mm.objective('F', F + G, points, temperature=...)"
        )
    name = objectives[0]
    stated = tr[name]["infer"][OBJECTIVE]
    size = jax.tree.leaves(stated.points)[0].shape[0]
    if plate is None:
        raise ValueError(
            f"objective '{name}' has no particles: sample its points inside "
            "`with mm.particles(name, size):`, outside of any `scan`"
        )
    if not any(plate in (f.name for f in s["cond_indep_stack"]) for s in latents.values()):
        raise ValueError(
            f"objective '{name}': no latent site is inside the particle plate '{plate}'; sample "
            "the particles inside it, and leave one of its sites unobserved"
        )
    frames = [frame.name for frame in tr[name]["cond_indep_stack"]]
    if frames:
        raise ValueError(
            f"objective '{name}' is stated inside of plate '{frames[0]}', which would count it "
            "once for each element; state it outside of all plates"
        )
    if isinstance(tr[name]["fn"], dist.MaskedDistribution):
        raise ValueError(
            f"objective '{name}' is under a mask handler; leave it out of the mask, or put the "
            "mask on single sites"
        )
    expected = tr[plate]["args"][0]
    if size != expected:
        raise ValueError(
            f"objective '{name}': its points have {size} atoms along the leading axis and the "
            f"particle plate '{plate}' has {expected}; move the particle axis to the front"
        )
    return name


def require_uncoupled(reading: Reading, plate: str, objective: str) -> None:
    """The points of the objective must depend on the particles, every other density outside of
    their plate must not; and the temperature is no function of latent sites."""
    inside = _inside(reading, plate)
    others = {
        name
        for name, site in reading.trace.items()
        if site["type"] == "sample" and name not in inside and name != objective
    }

    def outputs(**values):
        log_probs, tr = reading.at(values)
        stated = tr[objective]["infer"][OBJECTIVE]
        points = jax.tree.leaves(stated.points)
        return points, stated.temperature, {name: log_probs[name] for name in others}

    points, temperature, densities = eval_provenance(outputs, **reading.values())
    for name, sources in densities.items():
        coupled = sorted(sources & inside)
        if coupled:
            raise ValueError(
                f"site '{name}' is outside the particle plate '{plate}' and its density depends "
                f"on the particles {coupled}: state that term as part of the objective, as a "
                "functional of their measure"
            )
    if not any(sources & inside for sources in points):
        raise ValueError(
            f"objective '{objective}': its points do not depend on the sites in the particle plate "
            f"'{plate}', {sorted(inside & set(reading.latents))}; pass these sites, or functions "
            "of them"
        )
    if temperature:
        raise ValueError(
            f"objective '{objective}': its temperature depends on the latent sites "
            f"{sorted(temperature)}, and the dynamics are those of a given temperature; let the "
            "functional depend on them instead"
        )


def require_separate(reading: Reading, plate: str, objective: str) -> None:
    """A particle's density and its point must be its own affair, and its density that of any other
    in its place.

    Put to the test: all others take the place of the first particle, or of the last, which must not
    notice. Only outside of a trace, where values can be compared."""
    log_probs, tr = reading.at(reading.values())
    for k in (0, -1):
        new_log_probs, new_tr = reading.at(_gathered(reading, plate, k))
        for name, log_prob in log_probs.items():
            dims = [f.dim for f in tr[name]["cond_indep_stack"] if f.name == plate]
            if not dims:
                continue
            old, new = (jnp.moveaxis(v, dims[0], 0) for v in (log_prob, new_log_probs[name]))
            if not _same(old[k], new[k]):
                raise ValueError(
                    f"site '{name}' in the particle plate '{plate}': the density of a particle "
                    "changes when another one moves; state what couples them as part of the "
                    "objective, as a functional of their measure"
                )
            if not _same(new, jnp.broadcast_to(new[k], new.shape), EXCHANGEABLE):
                raise ValueError(
                    f"site '{name}' in the particle plate '{plate}': particles in the same place "
                    "have different densities, and those of a measure are exchangeable: give all "
                    "of them one law; data belong to the objective, or outside of the plate"
                )
        stated, new = (t[objective]["infer"][OBJECTIVE].points for t in (tr, new_tr))
        for point, new_point in zip(jax.tree.leaves(stated), jax.tree.leaves(new), strict=True):
            if not _same(point[k], new_point[k]):
                raise ValueError(
                    f"objective '{objective}': its points must be functions of the particles, one "
                    "by one along the leading axis, and a point changes when another particle "
                    "moves; move the particle axis to the front, and take averages inside of the "
                    "functional"
                )


def require_variation(reading: Reading, objective: str) -> None:
    """Plain functions of a measure must have the first variation that is taken for theirs."""
    stated = reading.trace[objective]["infer"][OBJECTIVE]
    if not all(map(is_known, jax.tree.leaves(stated.points))):
        return
    try:
        require_first_variation(stated.functional, Measure.uniform(stated.points))
    except ValueError as error:
        raise ValueError(f"objective '{objective}': {error}") from error


def _gathered(reading: Reading, plate: str, k: int) -> dict[str, Array]:
    """The values with all particles in the place of the k-th."""
    inside, moved = _inside(reading, plate), reading.values()
    for name, x in moved.items():
        if name in inside:
            site = reading.latents[name]
            dim = next(f.dim for f in site["cond_indep_stack"] if f.name == plate)
            rows = jnp.moveaxis(x, dim - site["fn"].event_dim, 0)
            rows = jnp.broadcast_to(rows[k], rows.shape)
            moved[name] = jnp.moveaxis(rows, 0, dim - site["fn"].event_dim)
    return moved


def _inside(reading: Reading, plate: str) -> set[str]:
    return {
        name
        for name, site in reading.trace.items()
        if plate in [frame.name for frame in site.get("cond_indep_stack", ())]
    }


def _same(a: Array, b: Array, tolerance: float | None = None) -> bool:
    """Up to rounding, or a tolerance; True of traced values, which cannot be compared."""
    if not (is_known(a) and is_known(b)):
        return True
    if tolerance is None:
        tolerance = 100 * float(jnp.finfo(jnp.result_type(a, float)).eps)
    return bool(jnp.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))
