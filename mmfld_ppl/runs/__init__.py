"""Long runs: draws that go to disk as they are made, and runs that survive being killed."""

from .memory import MemoryEstimate, estimate_memory
from .store import open_run
from .streaming import run

__all__ = ["MemoryEstimate", "estimate_memory", "open_run", "run"]
