"""From a NumPyro model to sites, charts, mirror maps and densities."""

from .charts import Chart
from .interface import LatentProblem
from .layout import Layout, Site, product_of
from .problem import Evaluation, ModelField, Problem
from .sites import read_model
from .values import Sites

__all__ = [
    "Chart",
    "Evaluation",
    "LatentProblem",
    "Layout",
    "ModelField",
    "Problem",
    "Site",
    "Sites",
    "product_of",
    "read_model",
]
