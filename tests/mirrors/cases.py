"""The table of maps that every law is checked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints as nc

import mmfld_ppl.mirrors as mirrors
from mmfld_ppl import constraints as convex
from mmfld_ppl.mirrors import MirrorMap, mirror_map
from tests.mirrors import spaces
from tests.mirrors.spaces import COUNT, whole


@dataclass(frozen=True)
class Case:
    """One map, and what the laws need to know about it.

    build: dtype -> the map. points: rng -> stacked interior points, far from symmetric; a
    dictionary of stacks for a product. tangent: orthonormal rows, flattened events.
    constraint: makes the support whose default the map is, if it is one. shape: of an event.
    concordance: the constant that the map should state. exact_observation: whether observed local
    variances are those of the inverse Hessian, not of one with the present scale taken out.
    whole_dual: whether every dual point has a primal one. reach: size of extreme dual points.
    bounded: whether there is a boundary to approach."""

    name: str
    build: Callable[[Any], MirrorMap]
    points: Callable[[np.random.Generator], Any]
    tangent: np.ndarray
    constraint: Callable[[], nc.Constraint] | None = None
    shape: tuple[int, ...] = ()
    concordance: float = 1.0
    exact_observation: bool = True
    whole_dual: bool = True
    reach: float = 1e3
    bounded: bool = True


def default(name, constraint, points, tangent, shape=(), **options) -> Case:
    """Of the map that the registry gives."""

    def build(dtype):
        return mirror_map(constraint(), shape, dtype)

    return Case(name, build, points, tangent, constraint, shape, **options)


class UnstatedLens(MirrorMap):
    """A user's own map, for the part of the unit disk with x_1 > -0.2: a potential and a slack
    are all that it takes."""

    def potential(self, x):
        return -jnp.log(1 - jnp.sum(x**2)) - jnp.log(x[0] + 0.2)

    def slack(self, x):
        return jnp.minimum(1 - jnp.linalg.norm(x), x[0] + 0.2)


class Lens(UnstatedLens):
    """The same by a user who knows the constant of a sum of logarithms."""

    self_concordance: ClassVar[float] = 1.0


NORMAL = np.array([1.0, -2.0, 0.5])
# A prism in the plane of an equality, much shorter along one axis, with a redundant inequality.
PRISM_A = np.vstack([-np.eye(4), [1.0, 2.0, 0.5, 1.0], [0.0, 0.0, 30.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
PRISM_B = np.array([0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 2.5])
PRISM_C, PRISM_CENTER = np.ones((1, 4)), np.array([0.6, 0.6, 0.05, 0.75])
# A rectangle with a cut corner.
CORNER_A = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -3.0], [5.0, 5.0]])
CORNER_B = np.array([1.0, 1.0, 2.0, 3.0, 7.0])

DEFAULTS = [
    default(
        "real",
        lambda: nc.real,
        lambda rng: 3 * rng.normal(size=COUNT) + 1,
        whole(1),
        concordance=0.0,
        bounded=False,
    ),
    default(
        "zero_sum",
        lambda: nc.zero_sum(2),
        lambda rng: (rng.gamma(1.0, 2.0, (COUNT, 6)) @ spaces.zero_sums(3, 4)).reshape(COUNT, 3, 4),
        spaces.zero_sums(3, 4),
        (3, 4),
        concordance=0.0,
        bounded=False,
    ),
    default(
        "greater_than",
        lambda: nc.greater_than(-0.7),
        lambda rng: spaces.gammas(rng) - 0.7,
        whole(1),
        exact_observation=False,
    ),
    default(
        "less_than",
        lambda: nc.less_than(0.3),
        lambda rng: 0.3 - spaces.gammas(rng),
        whole(1),
        exact_observation=False,
    ),
    default(
        "interval",
        lambda: nc.interval(-1.0, 2.0),
        lambda rng: 3 * rng.beta(0.7, 2, COUNT) - 1,
        whole(1),
    ),
    default(
        "simplex",
        lambda: nc.simplex,
        spaces.shares,
        spaces.zero_sums(4),
        (4,),
        exact_observation=False,
    ),
    default(
        "ball", lambda: convex.ball(2.5), lambda rng: spaces.in_ball(rng, 3, 2.5), whole(3), (3,)
    ),
    default(
        "positive_definite",
        lambda: nc.positive_definite,
        spaces.matrices,
        spaces.symmetric(3),
        (3, 3),
        exact_observation=False,
    ),
    default(
        "positive_semidefinite",
        lambda: nc.positive_semidefinite,
        spaces.matrices,
        spaces.symmetric(3),
        (3, 3),
        exact_observation=False,
    ),
    default(
        "spectraplex",
        lambda: convex.spectraplex,
        spaces.unit_trace,
        spaces.symmetric(3, "traceless"),
        (3, 3),
    ),
    default(
        "hermitian_spectraplex",
        lambda: convex.hermitian_spectraplex,
        spaces.quantum_states,
        spaces.perpendicular(np.eye(3).ravel()),
        (3, 3),
    ),
    default(
        "corr_matrix",
        lambda: nc.corr_matrix,
        spaces.correlations,
        spaces.symmetric(4, "hollow"),
        (4, 4),
    ),
    default(
        "ordered_vector",
        lambda: nc.ordered_vector,
        lambda rng: np.sort(3 * rng.normal(size=(COUNT, 4)), axis=1),
        whole(4),
        (4,),
        exact_observation=False,
    ),
    default(
        "positive_ordered_vector",
        lambda: nc.positive_ordered_vector,
        lambda rng: np.sort(spaces.gammas(rng, 4), axis=1),
        whole(4),
        (4,),
        exact_observation=False,
    ),
    default(
        "lower_cholesky",
        lambda: nc.lower_cholesky,
        lambda rng: np.linalg.cholesky(spaces.matrices(rng)),
        spaces.lower(3),
        (3, 3),
        exact_observation=False,
    ),
    default(
        "halfspace",
        lambda: convex.halfspace(NORMAL, 0.4),
        lambda rng: spaces.below_plane(rng, NORMAL, 0.4),
        whole(3),
        (3,),
        exact_observation=False,
    ),
    default(
        "cat",
        lambda: nc.cat([nc.positive, nc.simplex, nc.real], dim=-1, lengths=[2, 3, 1]),
        lambda rng: np.concatenate(
            [spaces.gammas(rng, 2), rng.dirichlet([0.7, 2, 3], COUNT), rng.normal(size=(COUNT, 1))],
            axis=1,
        ),
        spaces.perpendicular(np.array([[0.0, 0, 1, 1, 1, 0]])),
        (6,),
        exact_observation=False,
    ),
    default(
        "polytope",
        lambda: convex.polytope(PRISM_A, PRISM_B, PRISM_C, np.array([2.0])),
        lambda rng: spaces.in_polytope(
            rng, PRISM_A, PRISM_B, spaces.perpendicular(PRISM_C), PRISM_CENTER
        ),
        spaces.perpendicular(PRISM_C),
        (4,),
    ),
]

NAMED = [
    Case(
        "LogBarrier",
        lambda dtype: mirrors.LogBarrier(jnp.asarray(0.5, dtype)),
        lambda rng: spaces.gammas(rng, 3) + 0.5,
        whole(3),
        whole_dual=False,
    ),
    Case(
        "EntropyOrthant",
        lambda dtype: mirrors.EntropyOrthant(),
        lambda rng: spaces.gammas(rng, 2),
        whole(2),
        concordance=np.inf,
        reach=30,
    ),
    Case(
        "EntropySimplex",
        lambda dtype: mirrors.EntropySimplex(),
        spaces.shares,
        spaces.zero_sums(4),
        concordance=np.inf,
        reach=30,
    ),
    Case(
        "EntropyInterval",
        lambda dtype: mirrors.EntropyInterval(-1.0, 2.0),
        lambda rng: 3 * rng.beta(0.7, 2, (COUNT, 2)) - 1,
        whole(2),
        concordance=np.inf,
        reach=30,
    ),
    Case(
        "VonNeumannPSD",
        lambda dtype: mirrors.VonNeumannPSD(),
        spaces.matrices,
        spaces.symmetric(3),
        concordance=np.inf,
        reach=1,
    ),
    Case(
        "VonNeumannSpectraplex",
        lambda dtype: mirrors.VonNeumannSpectraplex(),
        spaces.unit_trace,
        spaces.symmetric(3, "traceless"),
        concordance=np.inf,
        reach=5,
    ),
    Case(
        "UnstatedLens", lambda dtype: UnstatedLens(), spaces.in_lens, whole(2), concordance=np.inf
    ),
    Case(
        "Product",
        lambda dtype: mirrors.Product(
            {
                "share": mirrors.Simplex.of_size(4, dtype),
                "size": mirrors.HalfLine.above(0.0, dtype),
            }
        ),
        lambda rng: {"share": spaces.shares(rng), "size": spaces.gammas(rng)},
        np.block([[spaces.zero_sums(4), np.zeros((3, 1))], [np.zeros((1, 4)), np.ones((1, 1))]]),
        exact_observation=False,
    ),
]

CASES = DEFAULTS + NAMED
