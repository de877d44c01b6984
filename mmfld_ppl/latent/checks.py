"""What a model must satisfy before its particles and latents can be moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from numpyro.handlers import seed, substitute
from numpyro.infer.util import compute_log_probs
from numpyro.ops.provenance import eval_provenance

from ..primitives import OBJECTIVE, PARTICLES
from .charts import leaves_of


def require_continuous(latents: Mapping[str, Any]) -> None:
    for name, site in latents.items():
        if site["fn"].support.is_discrete:
            raise ValueError(
                f"latent site '{name}' is discrete ({type(site['fn']).__name__}), and Langevin "
                "dynamics move continuous variables only: sum it out, or combine kernels with "
                "numpyro.infer.Gibbs([(DiscreteGibbs(model), ['" + name + "']), (MMFLD(model), "
                "None)])"
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
    plates = [site["value"] for site in tr.values() if site["type"] == PARTICLES]
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
            "`with mm.particles(name, size):`"
        )
    if not any(plate in (f.name for f in s["cond_indep_stack"]) for s in latents.values()):
        raise ValueError(
            f"objective '{name}': no latent site is inside the particle plate '{plate}'; sample "
            "the particles inside it"
        )
    expected = tr[plate]["args"][0]
    if size != expected:
        raise ValueError(
            f"objective '{name}': its points have {size} atoms along the leading axis and the "
            f"particle plate '{plate}' has {expected}; move the particle axis to the front"
        )
    return name


def run(model, args, kwargs, key, values):
    """(log densities, trace) of the model at given values of its latent sites."""
    placed = substitute(seed(model, key), data=values)
    return compute_log_probs(placed, args, kwargs, {}, sum_log_prob=True)


def dynamic_supports(model, args, kwargs, key, latents) -> set[str]:
    """Sites whose support depends on other latent sites.

    Asked of the computation itself: NumPyro's own test misses supports inside `independent`."""

    def supports(**values):
        _, tr = run(model, args, kwargs, key, values)
        return {name: leaves_of(tr[name]["fn"].support) for name in latents}

    found = eval_provenance(supports, **{name: site["value"] for name, site in latents.items()})
    is_set = lambda leaf: isinstance(leaf, frozenset)  # noqa: E731
    return {name for name, sets in found.items() if any(jax.tree.leaves(sets, is_leaf=is_set))}


def require_uncoupled(model, args, kwargs, key, tr, latents, plate, objective) -> None:
    """Every density outside the particle plate must be free of the particles."""
    inside = {
        name
        for name, s in tr.items()
        if plate in [frame.name for frame in s.get("cond_indep_stack", ())]
    }
    others = {
        name
        for name, s in tr.items()
        if s["type"] == "sample" and name not in inside and name != objective
    }

    def densities(**values):
        log_probs, _ = run(model, args, kwargs, key, values)
        return {name: log_probs[name] for name in others}

    found = eval_provenance(densities, **{name: site["value"] for name, site in latents.items()})
    for name, sources in found.items():
        coupled = sorted(sources & inside)
        if coupled:
            raise ValueError(
                f"site '{name}' is outside the particle plate '{plate}' and its density depends "
                f"on the particles {coupled}: state that term as part of the objective, as a "
                "functional of their measure"
            )
