"""Langevin dynamics in pure JAX: states, steps, adaptation."""

from .adaptation import Adaptation, AdaptationState
from .culprit import Culprit
from .field import Felt, Field, Frozen, FunctionalField
from .langevin import Langevin, LangevinInfo, LangevinState
from .mean_field import MeanFieldInfo, MeanFieldLangevin, MeanFieldState, collective_ratio
from .projected import Projected
from .symmetric import Symmetric
from .transition import Mirror, Move, Transition, check_diffusion

__all__ = [
    "Adaptation",
    "AdaptationState",
    "Culprit",
    "Felt",
    "Field",
    "Frozen",
    "FunctionalField",
    "Langevin",
    "LangevinInfo",
    "LangevinState",
    "MeanFieldInfo",
    "MeanFieldLangevin",
    "MeanFieldState",
    "Mirror",
    "Move",
    "Projected",
    "Symmetric",
    "Transition",
    "check_diffusion",
    "collective_ratio",
]
