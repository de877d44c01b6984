"""Functionals of a measure, and how they are linearised."""

from typing import TYPE_CHECKING, Any

from .base import Autodiff, Functional, Linearization, Scaled, Sum, as_functional
from .of_mean import OfMean
from .over_data import EmpiricalRisk, MixtureLikelihood

if TYPE_CHECKING:
    from .barycenter import SinkhornBarycenter

__all__ = [
    "Autodiff",
    "EmpiricalRisk",
    "Functional",
    "Linearization",
    "MixtureLikelihood",
    "OfMean",
    "Scaled",
    "SinkhornBarycenter",
    "Sum",
    "as_functional",
]


def __getattr__(name: str) -> Any:
    # OTT-JAX takes a second to import: only those who transport pay for it.
    if name == "SinkhornBarycenter":
        from .barycenter import SinkhornBarycenter

        return SinkhornBarycenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
