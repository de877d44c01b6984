"""Mirror maps: the geometry of each support.

The defaults are self-concordant barriers, under which a step has the same local size everywhere.
`EntropyOrthant`, `EntropySimplex`, `EntropyInterval`, `VonNeumannPSD`, `VonNeumannSpectraplex` and
`LogBarrier` are offered by name.
"""

from .agreement import check_map
from .arc_length import ArcLength
from .ball import Ball
from .base import MirrorMap, Moments, Observation, Weighted
from .constants import (
    MapConstants,
    RelativeConstants,
    map_constants,
    relative_constants,
    self_concordance_ratio,
)
from .correlation import CorrelationMatrix
from .entropy import EntropyInterval, EntropyOrthant, EntropySimplex
from .euclidean import Euclidean, ZeroSum
from .half_line import HalfLine, LogBarrier
from .hermitian import HermitianSpectraplex
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
    "ArcLength",
    "Ball",
    "Concatenation",
    "CorrelationMatrix",
    "EntropyInterval",
    "EntropyOrthant",
    "EntropySimplex",
    "Euclidean",
    "HalfLine",
    "HalfSpace",
    "HermitianSpectraplex",
    "Independent",
    "Interval",
    "LinearImage",
    "LogBarrier",
    "LowerCholesky",
    "MapConstants",
    "Metric",
    "MirrorMap",
    "Moments",
    "Observation",
    "OrderedVector",
    "Polytope",
    "PositiveDefinite",
    "PositiveOrderedVector",
    "Product",
    "RelativeConstants",
    "Simplex",
    "Spectraplex",
    "VonNeumannPSD",
    "VonNeumannSpectraplex",
    "Weighted",
    "ZeroSum",
    "check_map",
    "map_constants",
    "mirror_map",
    "register",
    "registered",
    "relative_constants",
    "self_concordance_ratio",
]
