"""Mirror maps: the geometry of each support.

The defaults are self-concordant barriers, under which a step has the same local size everywhere.
`EntropyOrthant`, `EntropySimplex`, `EntropyInterval`, `VonNeumannPSD`, `VonNeumannSpectraplex` and
`LogBarrier` are offered by name.
"""

from .ball import Ball
from .base import MirrorMap, Moments, Observation, Weighted
from .correlation import CorrelationMatrix
from .entropy import EntropyInterval, EntropyOrthant, EntropySimplex
from .euclidean import Euclidean, ZeroSum
from .half_line import HalfLine, LogBarrier
from .images import (
    AffineImage,
    Concatenation,
    HalfSpace,
    LowerCholesky,
    OrderedVector,
    PositiveOrderedVector,
)
from .interval import Interval
from .linear import LinearImage
from .log_det import Spectraplex
from .metric import Metric
from .polytope import Polytope
from .positive_definite import PositiveDefinite
from .product import Independent, Product
from .registry import mirror_map, register, registered
from .simplex import Simplex
from .von_neumann import VonNeumannPSD, VonNeumannSpectraplex

__all__ = [
    "AffineImage",
    "Ball",
    "Concatenation",
    "CorrelationMatrix",
    "EntropyInterval",
    "EntropyOrthant",
    "EntropySimplex",
    "Euclidean",
    "HalfLine",
    "HalfSpace",
    "Independent",
    "Interval",
    "LinearImage",
    "LogBarrier",
    "LowerCholesky",
    "Metric",
    "MirrorMap",
    "Moments",
    "Observation",
    "OrderedVector",
    "Polytope",
    "PositiveDefinite",
    "PositiveOrderedVector",
    "Product",
    "Simplex",
    "Spectraplex",
    "VonNeumannPSD",
    "VonNeumannSpectraplex",
    "Weighted",
    "ZeroSum",
    "mirror_map",
    "register",
    "registered",
]
