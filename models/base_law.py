"""The law of one particle before it sees the data: what a model's `base` may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions import constraints
from numpyro.distributions.constraints import Constraint

import mmfld_ppl as mm
from mmfld_ppl.constraints.by_type import ByType, base_of

#: A constraint stands for the uniform law on that support, which needs no finite volume.
Base: TypeAlias = dist.Distribution | Constraint

UNIFORM = "mm.distributions.Uniform"
#: A law with draws, by the kind of its support.
LAWS: ByType[str] = ByType(
    {
        type(constraints.real): "Normal(mean, sd)",
        type(constraints.simplex): "Dirichlet(jnp.ones(d))",
        constraints.greater_than: "Exponential(rate)",
        constraints.interval: "Uniform(low, high)",
        mm.constraints.ball: f"{UNIFORM}Ball(dimension, radius)",
        mm.constraints.polytope: f"{UNIFORM}Polytope(A, b)",
        type(mm.constraints.spectraplex): f"{UNIFORM}Spectraplex(n)",
        type(mm.constraints.hermitian_spectraplex): f"{UNIFORM}HermitianSpectraplex(n)",
    }
)


def base_law(base: Any, event_shape: tuple[int, ...], name: str = "base") -> dist.Distribution:
    """The law of one particle of this shape.

    Raises TypeError for what is neither a distribution nor a constraint, ValueError for one of
    another shape."""
    if isinstance(base, Constraint):
        if base.event_dim > len(event_shape):
            raise ValueError(
                f"{name}={base!r} has events of {base.event_dim} axes, a particle is of shape "
                f"{event_shape} here: take a constraint on such values"
            )
        return dist.ImproperUniform(base, (), event_shape)
    law = distribution(base, name)
    if law.event_shape != event_shape:
        raise ValueError(
            f"{name} must be a law of one particle, of event shape {event_shape} as the data "
            f"have, got event shape {law.event_shape}"
        )
    return law


def distribution(base: Any, name: str = "base") -> dist.Distribution:
    """The law of one particle, where nothing but itself says of which shape.

    Raises TypeError for a constraint or anything else, ValueError for a batch of laws."""
    if isinstance(base, Constraint):
        raise TypeError(
            f"{name} must be a NumPyro distribution here, got the constraint {base!r}, which has "
            f"neither a shape nor draws: pass a law on it, such as {_law_on(base)}"
        )
    if not isinstance(base, dist.Distribution):
        raise TypeError(
            f"{name} must be a NumPyro distribution of one particle, or a constraint for the "
            f"uniform law on it, got {base!r}"
        )
    if base.batch_shape:
        raise ValueError(
            f"{name} must be a law of one particle, got batch shape {base.batch_shape} and event "
            f"shape {base.event_shape}: .to_event({len(base.batch_shape)}) makes events of the "
            "batch axes"
        )
    return base


def distributions(parts: Mapping[str, Any]) -> dict[str, dist.Distribution]:
    """The laws of the parts of a particle by name. Raises as `distribution`, naming the part."""
    return {name: distribution(law, f"base[{name!r}]") for name, law in parts.items()}


def draw_from(law: dist.Distribution, key: PRNGKeyArray, size: int, name: str = "base") -> Array:
    """As many draws. Raises TypeError for the uniform law on a constraint, which has none."""
    if isinstance(law, dist.ImproperUniform):
        raise TypeError(
            f"{name} is uniform on the constraint {law.support!r}, which has no draws: pass a law "
            f"that has, such as {_law_on(law.support)}"
        )
    return law.sample(key, (size,))


def _law_on(constraint: Constraint) -> str:
    """A law with draws on this kind of support, in words."""
    each = base_of(constraint)
    axes = constraint.event_dim - each.event_dim
    law = LAWS.of(each) or "a NumPyro distribution with this support"
    return f"{law}.to_event({axes})" if axes else law
