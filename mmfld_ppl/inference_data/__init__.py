"""From a finished run to ArviZ, and the tables that its result needs."""

from .convert import to_inference_data
from .diagnose import Diagnosis, diagnose
from .groups import dataset
from .rerun import particle_number_bias, step_size_bias
from .summary import chain_summary, summary

__all__ = [
    "Diagnosis",
    "chain_summary",
    "dataset",
    "diagnose",
    "particle_number_bias",
    "step_size_bias",
    "summary",
    "to_inference_data",
]
