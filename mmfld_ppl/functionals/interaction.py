"""Pairwise interactions of a measure with itself and with a target, in memory O(N)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..arrays import is_known
from ..measures import Measure
from .base import Functional, Linearization, cast, scalar
from .blocks import by_blocks, fitting
from .checks import as_probability, require_block, require_kernel, require_same_events
from .distances import flatten
from .kernels import Radial
from .radial import smooth_radial
from .remembered import remembered

#: k(x, y) of two points.
PairKernel = Callable[[Any, Any], Float[Array, ""]]

#: Coordinates of pairs in one block: on a CPU what stays in its cache, on other devices enough to
#: keep them busy.
BLOCK = 2**20, 2**24


class Interaction(Functional):
    r"""F(mu) = (1/2) iint k(x, y) mu(dx) mu(dy) + E_mu[U(x)].

    First variation at x:  E_mu[k(x, .)] + U(x).  Convex along mixtures of measures of one mass
    where k is conditionally positive definite, as those of `functionals.kernels` are.

    kernel: k, of two points, to a number; symmetric, and finite where the two are one, as each
      particle meets itself. A `kernels.Radial` is several times faster.
    potential: U, of one point, to a number. None for U = 0.
    block_size: points whose interactions are held at a time. Default: as the device calls for.
    Cost: O(N^2) kernels in time and O(block_size N) in memory, by default O(N), also where it is
    differentiated.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.functionals.kernels import Gaussian
        >>> F = Interaction(Gaussian(1.0))
        >>> print(F(Measure.uniform(jnp.array([[0.0], [0.0]]))))
        0.5

    Raises ValueError when kernel or potential do not give a number, and for a block_size below 1;
    TypeError for a kernel that is a class, or does not take two points. `MMFLD` raises for a kernel
    that is not symmetric.
    """

    kernel: PairKernel
    potential: Callable[[Any], Float[Array, ""]] | None = None
    block_size: int | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self):
        require_kernel("the kernel of an interaction", self.kernel)
        require_block(self.block_size)

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        value = measure.mean(self._smooth(measure, measure.points)) / 2
        if self.potential is not None:
            value = value + measure.mean(self._potential(measure.points))
        return Linearization(value, measure, None)

    def first_variation(
        self, tangent: Measure, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        smoothed = self._smooth(tangent, points)
        return smoothed if self.potential is None else smoothed + self._potential(points)

    def _smooth(self, measure: Measure, points: PyTree) -> Float[Array, " m"]:
        return smooth(self.kernel, measure, points, self.block_size)

    def _potential(self, points: PyTree) -> Float[Array, " m"]:
        assert self.potential is not None
        return jax.vmap(scalar(self.potential, "the potential of Interaction"))(points)


class MMD(Functional):
    r"""F(mu) = (1/2) MMD^2(mu, nu) = (1/2) iint k(x, y) (mu - nu)(dx) (mu - nu)(dy).

    First variation at x:  E_mu[k(x, .)] - E_nu[k(x, .)].  Convex in mu where k is conditionally
    positive definite, and zero at nu. In single precision F is exact to about 1e-7 of the size of
    k, the three integrals being of that size however close mu and nu are.

    target: nu, a `Measure` or a (points, masses) pair, of mass one.
    kernel: k, of two points, to a number; symmetric. A `kernels.Radial` is several times faster.
    block_size: points whose interactions are held at a time. Default: as the device calls for.
    Cost: O(N (N + n)) kernels in time and O(block_size (N + n)) in memory, by default O(N + n), n
    being the number of atoms of nu; O(n^2) kernels once, when the functional is made.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.functionals.kernels import Energy
        >>> F = MMD(Measure.uniform(jnp.array([0.0, 1.0])), Energy())
        >>> print(F(Measure.uniform(jnp.array([0.0, 1.0]))), F(Measure.uniform(jnp.array([3.0]))))
        0.0 2.25

    Raises ValueError for a target whose points are not finite or whose masses are negative or do
    not sum to one, and for a measure whose points are of another shape; TypeError for a target that
    is no measure, and for a kernel that is a class, or does not take two points. `MMFLD` raises for
    one that is not symmetric.
    """

    target: Measure
    kernel: PairKernel
    constant: Float[Array, ""]
    block_size: int | None = eqx.field(static=True)

    def __init__(
        self,
        target: Measure | tuple[PyTree, Array],
        kernel: PairKernel,
        *,
        block_size: int | None = None,
    ):
        require_kernel("the kernel of MMD", kernel)
        require_block(block_size)
        self.target = as_probability("the target of MMD", target)
        self.kernel = kernel
        self.block_size = block_size
        if all(map(is_known, jax.tree.leaves((self.target, kernel)))):
            # Not anew in each step of a model in which this is made, nor each time that it is run.
            with jax.ensure_compile_time_eval():
                self.constant = remembered(self._self_energy)
        else:
            self.constant = self._self_energy()

    def linearize(
        self, measure: Measure, carry: PyTree = None, key: PRNGKeyArray | None = None
    ) -> Linearization:
        target = self._target_like(measure)
        energy = measure.mean(smooth(self.kernel, measure, measure.points, self.block_size)) / 2
        cross = measure.mean(smooth(self.kernel, target, measure.points, self.block_size))
        return Linearization(energy - cross + self.constant.astype(energy.dtype), measure, None)

    def first_variation(
        self, tangent: Measure, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        target = self._target_like(tangent)
        own = smooth(self.kernel, tangent, points, self.block_size)
        return own - smooth(self.kernel, target, points, self.block_size)

    def _self_energy(self) -> Float[Array, ""]:
        points = self.target.points
        return self.target.mean(smooth(self.kernel, self.target, points, self.block_size)) / 2

    def _target_like(self, measure: Measure) -> Measure:
        """In the precision of the measure, which that of the target must not change."""
        require_same_events("the measure", measure.points, "the target of MMD", self.target.points)
        return cast(self.target, measure.weights.dtype)


def smooth(
    kernel: PairKernel, measure: Measure, points: PyTree, block_size: int | None
) -> Float[Array, " m"]:
    """E_mu[k(x, .)] at each of m points, `block_size` of them at a time."""
    if isinstance(kernel, Radial):
        x, y = flatten(points), flatten(measure.points)
        return smooth_radial(kernel, x, y, measure.weights, block_size=block_size)
    size = default_block(measure) if block_size is None else block_size
    pair = scalar(kernel, "the kernel of an interaction")

    # Differentiating a block computes its kernels again instead of keeping them. In a loop nothing
    # else could be merged with that; a guard against it makes the compiler of jaxlib 0.10 crash.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def at(x: PyTree) -> Float[Array, ""]:
        return measure.mean(jax.vmap(pair, (None, 0))(x, measure.points))

    return by_blocks(jax.vmap(at), points, size)


def default_block(measure: Measure) -> int:
    """Points to compare with all of a measure's at a time, on the device that JAX runs on."""
    return fitting(BLOCK, sum(leaf.size for leaf in jax.tree.leaves(measure.points)))
