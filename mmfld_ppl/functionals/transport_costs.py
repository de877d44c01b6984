"""What OTT-JAX's Sinkhorn iterations see of a cost: a matrix, or points where that is too large."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from ott.geometry.epsilon_scheduler import Epsilon
from ott.geometry.geometry import Geometry

from .blocks import by_blocks
from .distances import Cost, pairwise, transposed
from .soft_transform import block_size, soft_transform

#: Entries of the largest cost matrix that is held, 256 MB in single precision: a solve takes about
#: three times that, and as much again for each other chain that is vectorised. About there making
#: costs anew takes as long where a solve needs few iterations; where it needs many, three times.
HELD = 2**26


def cost_geometry(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    y: PyTree[Float[Array, "m ..."]],
    eps: Float[Array, ""],
) -> Geometry:
    """Of the m x n costs of the y_j (rows) and the x_i."""
    rows, columns = (len(jax.tree.leaves(points)[0]) for points in (y, x))
    if rows * columns > HELD:
        return Streamed(cost, x, y, Epsilon(eps))
    return Geometry(cost_matrix=pairwise(cost, x, y), epsilon=Epsilon(eps))


def largest_cost(geometry: Geometry) -> Float[Array, ""]:
    """In absolute value."""
    if not isinstance(geometry, Streamed):
        return jnp.max(jnp.abs(geometry.cost_matrix))

    def of_columns(x: PyTree) -> Array:
        return jnp.max(jnp.abs(pairwise(geometry.cost, x, geometry.y)), axis=0)

    return jnp.max(by_blocks(of_columns, geometry.x, block_size(geometry.shape[0])))


@jax.tree_util.register_pytree_node_class
class Streamed(Geometry):
    """Costs that are made anew, a block at a time, whenever they are needed."""

    def __init__(self, cost: Cost, x: PyTree, y: PyTree, epsilon: Epsilon):
        super().__init__(epsilon=epsilon)
        self.cost, self.x, self.y = cost, x, y

    @property
    def shape(self) -> tuple[int, int]:
        return len(jax.tree.leaves(self.y)[0]), len(jax.tree.leaves(self.x)[0])

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.result_type(*jax.tree.leaves((self.x, self.y)))

    @property
    def is_online(self) -> bool:
        return True

    def apply_lse_kernel(
        self, f: Array, g: Array, eps: Any, vec: Array | None = None, axis: int = 0
    ) -> tuple[Array, Array]:
        """eps log sum exp((potential - C)/eps) over the rows (axis 0) or the columns."""
        assert vec is None, "OTT's balanced Sinkhorn iterations weight nothing here"
        to, over, potential, cost = self.x, self.y, f, self.cost
        if axis == 1:
            to, over, potential, cost = self.y, self.x, g, transposed(self.cost)
        soft = -soft_transform(cost, to, over, jnp.ones_like(potential), potential, eps)
        return soft, jnp.ones(1, soft.dtype)

    def tree_flatten(self) -> tuple[tuple, Any]:
        arrays, static = eqx.partition(self.cost, eqx.is_array)
        return (arrays, self.x, self.y, self._epsilon_init), static

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: tuple) -> Streamed:
        arrays, x, y, epsilon = children
        return cls(eqx.combine(arrays, aux_data), x, y, epsilon)


@jax.tree_util.register_pytree_node_class
class KernelMatrix(Geometry):
    """A geometry known by its kernel matrix alone, which OTT's own would exponentiate anew in every
    iteration to allow for a changing epsilon."""

    def apply_kernel(self, vec: Array, eps: float | None = None, axis: int = 0) -> Array:
        kernel = jnp.asarray(self._kernel_matrix)
        if axis == 1:
            return jnp.matmul(kernel, vec, precision="highest")
        # A fused sum over rows: the product of a transposed matrix takes three times as long.
        return jnp.sum(kernel * vec[:, None], axis=0)
