"""Functionals of a measure, and how they are linearised."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import kernels
from .agreement import check_functional
from .base import Autodiff, Functional, Linearization, Scaled, Sum, as_functional
from .composition import Composition
from .interaction import MMD, Interaction
from .of_mean import OfMean
from .over_data import EmpiricalRisk, MixtureLikelihood
from .pushforward import Pushforward
from .stein import KSD

if TYPE_CHECKING:
    from .barycenter import SinkhornBarycenter
    from .path_space import PathSpace

__all__ = [
    "KSD",
    "MMD",
    "Autodiff",
    "Composition",
    "EmpiricalRisk",
    "Functional",
    "Interaction",
    "Linearization",
    "MixtureLikelihood",
    "OfMean",
    "PathSpace",
    "Pushforward",
    "Scaled",
    "SinkhornBarycenter",
    "Sum",
    "as_functional",
    "check_functional",
    "kernels",
]

#: OTT-JAX takes a second to import: only those who transport pay for it.
_TRANSPORT = {"SinkhornBarycenter": "barycenter", "PathSpace": "path_space"}


def __getattr__(name: str) -> Any:
    if name in _TRANSPORT:
        return getattr(import_module(f".{_TRANSPORT[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
