"""Mirror mean-field Langevin dynamics for NumPyro models on constrained supports."""

from . import constraints, dynamics, functionals, mirrors
from .kernel import MMFLD, ProjectedMFLD
from .measures import Measure
from .primitives import objective, particles

__version__ = "0.1.0"

__all__ = [
    "MMFLD",
    "Measure",
    "ProjectedMFLD",
    "constraints",
    "dynamics",
    "functionals",
    "mirrors",
    "objective",
    "particles",
]
