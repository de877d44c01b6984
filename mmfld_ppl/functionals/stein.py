"""Kernel Stein discrepancies: the distance to a density that is known up to its normaliser."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..linalg import matmul
from ..measures import Measure
from ..mirrors import MirrorMap
from .base import Functional, Linearization, scalar
from .checks import require_arguments, require_block, require_kernel
from .interaction import Interaction, PairKernel
from .pushforward import Pushforward

Vector = Float[Array, " d"]


class Lifted(NamedTuple):
    """A point x with what the operator needs there: drift b and mobility a."""

    x: Vector
    drift: Vector
    mobility: Float[Array, "d d"]


def lift_point(geometry: MirrorMap, x: PyTree, score: PyTree) -> Lifted:
    """A point of any structure, flattened, with b = G^-1 (score - grad log det G) and a = G^-1."""
    flat, unravel = ravel_pytree(x)
    metric = geometry.metric(x)
    drift = metric.solve(jax.tree.map(jnp.subtract, score, geometry.log_det_grad(x)))
    columns = jax.vmap(lambda e: ravel_pytree(metric.solve(unravel(e)))[0])
    mobility = columns(jnp.eye(flat.size, dtype=flat.dtype))
    return Lifted(flat, ravel_pytree(drift)[0], mobility)


class KSD(Functional):
    r"""F(mu) = (1/2) KSD^2(mu, p) = (1/2) iint h(x, y) mu(dx) mu(dy), zero at p and convex in mu.

    h applies the operator of Langevin dynamics with the law p to both arguments of a kernel k,

        T g = <b, g> + <a, grad g>,    a = G^-1,    b = a grad(log p - log det G),

        h(x, y) = <b, b'> k + <b, a' grad_y k> + <b', a grad_x k> + <a, (grad_x grad_y k) a'>,

    so that  int h(x, y) p(x) dx = 0  for every y. G = I is the discrepancy of Liu, Lee and Jordan
    (2016) for a p that vanishes on the boundary of its support. On a bounded support G is the
    Hessian of its mirror map: a vanishes at the boundary, and nothing is asked of p there (Shi, Liu
    and Mackey 2022, mirrored Stein operators).

    log_density: log p up to a constant, of one point, a vector. kernel: k, positive definite and
    smooth where points meet: `kernels.Gaussian` or `kernels.InverseMultiquadric`.
    geometry: the mirror map of the support of p, or None for all of R^d.
    block_size: points whose interactions are held at a time. Default: as the device calls for.
    Cost: a score and a factored Hessian a point; O(N^2 d^2) in time and O(block_size N d^2) in
    memory.

        >>> F = KSD(lambda x: -jnp.sum(x**2) / 2, lambda x, y: jnp.exp(-jnp.sum((x - y) ** 2) / 2))
        >>> print(F(Measure.uniform(jnp.array([[1.0]]))))
        1.0

    Raises ValueError for points that are not vectors, for a density or a kernel that does not give
    one number, and for a block_size below 1; TypeError for a kernel that is a class, and for
    functions of other arguments."""

    log_density: Callable[[Vector], Float[Array, ""]]
    kernel: PairKernel
    geometry: MirrorMap | None = None
    block_size: int | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self):
        require_kernel("the kernel of KSD", self.kernel)
        require_arguments("the log density of KSD", self.log_density, "log_density(x)", 1)
        require_block(self.block_size)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        return self._lifted.linearize(measure, carry, key)

    def first_variation(
        self, tangent: PyTree, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        return self._lifted.first_variation(tangent, points)

    def pair(self, x: Lifted, y: Lifted) -> Float[Array, ""]:
        """h of two lifted points."""
        k = scalar(self.kernel, "the kernel of KSD")
        value, (down, right) = jax.value_and_grad(k, (0, 1))(x.x, y.x)
        mixed = jax.jacfwd(jax.grad(k, 0), 1)(x.x, y.x)
        crossed = matmul(x.drift, matmul(y.mobility, right))
        crossed += matmul(y.drift, matmul(x.mobility, down))
        curved = jnp.sum(x.mobility * matmul(mixed, y.mobility))
        return matmul(x.drift, y.drift) * value + crossed + curved

    def lift(self, x: Vector) -> Lifted:
        """One point with its drift and mobility."""
        if jnp.ndim(x) != 1:
            raise ValueError(f"KSD needs points that are vectors, got shape {jnp.shape(x)}")
        log_p = scalar(self.log_density, "the log density of KSD")
        score = jax.grad(log_p)(x)
        if self.geometry is None:
            return Lifted(x, score, jnp.eye(x.shape[0], dtype=x.dtype))
        return lift_point(self.geometry, x, score)

    @property
    def _lifted(self) -> Pushforward:
        return Pushforward(Interaction(self.pair, block_size=self.block_size), self.lift)
