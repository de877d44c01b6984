"""Pictures of exported runs, of either ArviZ generation."""

from .barycenter import barycenter
from .objective import trace_objective
from .plane import particle_cloud, particle_density
from .simplex import simplex

__all__ = ["barycenter", "particle_cloud", "particle_density", "simplex", "trace_objective"]
