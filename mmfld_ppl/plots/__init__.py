"""Pictures of exported runs, of either ArviZ generation."""

from .barycenter import barycenter
from .boundary import boundary_slack
from .ellipses import ellipses
from .evolution import animate, particles_over_time
from .fixed_point import fixed_point
from .free_energy import trace_free_energy
from .line import line_density
from .mixture import certificate, density_band, mixing_distribution, shrinkage
from .moves import trace_moves
from .objective import trace_objective
from .particle_number import particle_number
from .plane import particle_cloud, particle_density
from .simplex import simplex
from .stein import trace_stein
from .trajectories import trajectories

__all__ = [
    "animate",
    "barycenter",
    "boundary_slack",
    "certificate",
    "density_band",
    "ellipses",
    "fixed_point",
    "line_density",
    "mixing_distribution",
    "particle_cloud",
    "particle_density",
    "particle_number",
    "particles_over_time",
    "shrinkage",
    "simplex",
    "trace_free_energy",
    "trace_moves",
    "trace_objective",
    "trace_stein",
    "trajectories",
]
