"""Mirror mean-field Langevin dynamics for NumPyro models on constrained supports.

    import mmfld_ppl as mm

A model states its particles and its objective with `particles` and `objective`; the kernel `MMFLD`
runs it, and any other NumPyro model with continuous latent sites, through NumPyro's `MCMC`;
`to_inference_data` hands the run to ArviZ, and `diagnose` says whether to trust it.
"""

from . import (
    constraints,
    diagnostics,
    distributions,
    dynamics,
    functionals,
    mirrors,
    plots,
)
from .inference_data import (
    Diagnosis,
    chain_summary,
    diagnose,
    particle_number_bias,
    step_size_bias,
    summary,
    to_inference_data,
)
from .kernel import MMFLD, ProjectedMFLD
from .measures import Measure
from .primitives import objective, particles
from .runs import MemoryEstimate, estimate_memory, open_run, run

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "MMFLD",
    "Measure",
    "MemoryEstimate",
    "ProjectedMFLD",
    "chain_summary",
    "constraints",
    "diagnose",
    "diagnostics",
    "distributions",
    "dynamics",
    "estimate_memory",
    "functionals",
    "mirrors",
    "objective",
    "open_run",
    "particle_number_bias",
    "particles",
    "plots",
    "run",
    "step_size_bias",
    "summary",
    "to_inference_data",
]
