"""The law of one particle before it sees the data: what a model's `base` may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpyro.distributions as dist
from jaxtyping import Array, PRNGKeyArray
from numpyro.distributions.constraints import Constraint

#: A constraint stands for the uniform law on that support, which needs no finite volume.
Base: TypeAlias = dist.Distribution | Constraint


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
            "neither a shape nor draws: pass a law on it, such as Exponential, Dirichlet or "
            "mm.distributions.UniformBox(low, high)"
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
            "that has, such as mm.distributions.UniformBox(low, high)"
        )
    return law.sample(key, (size,))
