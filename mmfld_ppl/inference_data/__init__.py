"""From a finished run to ArviZ, and the tables that its result needs."""

from .convert import to_inference_data
from .diagnose import Diagnosis, diagnose
from .groups import dataset
from .summary import chain_summary, summary

__all__ = [
    "Diagnosis",
    "chain_summary",
    "dataset",
    "diagnose",
    "summary",
    "to_inference_data",
]
