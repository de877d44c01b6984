"""The NumPyro kernels: `MMFLD`, and the paper's projected baseline `ProjectedMFLD`."""

from .base import LangevinKernel
from .mirror import MMFLD
from .projected import ProjectedMFLD

__all__ = ["MMFLD", "LangevinKernel", "ProjectedMFLD"]
