"""Functionals of a measure, and how they are linearised."""

from .base import Autodiff, Functional, Linearization, Scaled, Sum, as_functional
from .of_mean import OfMean

__all__ = [
    "Autodiff",
    "Functional",
    "Linearization",
    "OfMean",
    "Scaled",
    "Sum",
    "as_functional",
]
