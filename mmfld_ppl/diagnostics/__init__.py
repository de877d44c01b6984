"""Diagnostics: pure functions of arrays. `mm.diagnose` runs those that apply to a run."""

from ..functionals.slopes import slope_ratio
from .boundary import boundary_fraction, stuck_particles
from .certificate import Certificate, likelihood_certificate
from .components import effective_components
from .decay import Decay, fit_decay
from .entropy import entropy, surprise
from .estimate import Estimate, clustered_mean
from .free_energy import FreeEnergy, free_energy
from .health import run_complaints
from .mixing import nested_r_hat
from .optimality_gap import Minorant, optimality_gap, relative_entropy
from .particle_number import ParticleNumberFit, fit_particle_number
from .stein import SteinTest, stein_kernel, stein_test
from .step_bias import StepBias, step_bias
from .unconstrained import unconstrained

__all__ = [
    "Certificate",
    "Decay",
    "Estimate",
    "FreeEnergy",
    "Minorant",
    "ParticleNumberFit",
    "SteinTest",
    "StepBias",
    "boundary_fraction",
    "clustered_mean",
    "effective_components",
    "entropy",
    "fit_decay",
    "fit_particle_number",
    "free_energy",
    "likelihood_certificate",
    "nested_r_hat",
    "optimality_gap",
    "relative_entropy",
    "run_complaints",
    "slope_ratio",
    "stein_kernel",
    "stein_test",
    "step_bias",
    "stuck_particles",
    "surprise",
    "unconstrained",
]
