"""Convex supports that NumPyro lacks, each with a bijection for NumPyro's own kernels.

They are ordinary NumPyro constraints: pass them to distributions, `biject_to`, `mirror_map`.
NumPyro's HMC and NUTS read a support once, so with one of these supports whose parameters are
themselves latent they need a `deterministic` site in the model, which makes them read it again
for every draw."""

from .basic import ball, box, halfspace, spectraplex
from .bijections import BallTransform, HalfspaceTransform, PolytopeTransform
from .hermitian import HermitianSpectraplexTransform, hermitian_spectraplex
from .matrix_bijection import SpectraplexTransform
from .polytopes import polytope

__all__ = [
    "BallTransform",
    "HalfspaceTransform",
    "HermitianSpectraplexTransform",
    "PolytopeTransform",
    "SpectraplexTransform",
    "ball",
    "box",
    "halfspace",
    "hermitian_spectraplex",
    "polytope",
    "spectraplex",
]
