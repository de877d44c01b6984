"""Pictures of exported runs, of either ArviZ generation."""

from .barycenter import barycenter
from .boundary import boundary_slack
from .fixed_point import fixed_point
from .free_energy import trace_free_energy
from .mixture import certificate, density_band, mixing_distribution, shrinkage
from .moves import trace_moves
from .objective import trace_objective
from .particle_number import particle_number
from .plane import particle_cloud, particle_density
from .simplex import simplex

__all__ = [
    "barycenter",
    "boundary_slack",
    "certificate",
    "density_band",
    "fixed_point",
    "mixing_distribution",
    "particle_cloud",
    "particle_density",
    "particle_number",
    "shrinkage",
    "simplex",
    "trace_free_energy",
    "trace_moves",
    "trace_objective",
]
