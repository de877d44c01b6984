"""Diagnostics: pure functions of arrays that a run has exported."""

from .boundary import boundary_fraction
from .health import run_complaints

__all__ = ["boundary_fraction", "run_complaints"]
