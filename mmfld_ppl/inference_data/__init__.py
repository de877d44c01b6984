"""From a finished run to ArviZ, and the tables that its result needs."""

from .convert import to_inference_data
from .groups import dataset
from .summary import chain_summary, summary

__all__ = ["chain_summary", "dataset", "summary", "to_inference_data"]
