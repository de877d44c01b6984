"""From a NumPyro model to sites, charts, mirror maps and densities."""

from .problem import Evaluation, ModelField, Problem
from .sites import Layout, Site, product_of, read_model
from .values import Sites

__all__ = [
    "Evaluation",
    "Layout",
    "ModelField",
    "Problem",
    "Site",
    "Sites",
    "product_of",
    "read_model",
]
