"""Entropic optimal transport between weighted points, solved by OTT-JAX from a warm start.

    OT_eps(mu, nu) = min_P <C, P> + eps KL(P | mu x nu)  over couplings P of mu and nu.

A cost matrix has shape (m, n): rows are the m atoms y_j of nu with masses b, columns the n atoms
x_i of mu with masses a, C_ji = cost(x_i, y_j). Potentials leave the log masses out, P_ji = b_j a_i
exp((g_j + f_i - C_ji)/eps), so that an atom without mass has a finite potential. Only g is ever
stored: f follows from it by `soft_transform`, at any point.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree
from ott.geometry.epsilon_scheduler import Epsilon
from ott.geometry.geometry import Geometry
from ott.problems.linear.linear_problem import LinearProblem
from ott.solvers.linear.acceleration import Momentum
from ott.solvers.linear.sinkhorn import Sinkhorn

from ..devices import on_cpu
from ..linalg import matmul
from ..programs import in_all
from .distances import Cost, pairwise, transposed
from .soft_transform import soft_transform, transform
from .transport_costs import KernelMatrix, cost_geometry, largest_cost

#: Pairs that keep an accelerator busy.
BUSY = 2**22


def each(
    function: Callable[..., PyTree], *problems: PyTree[Float[Array, "k ..."]], pairs: int
) -> PyTree:
    """`function` of what belongs to each of k problems, of so many pairs."""
    # One after another: the matrices of one stay in the cache of a CPU, no other is held, and each
    # solve stops by itself. In a batch all wait for the slowest, but its loop starts once, not once
    # a problem, which is what counts where a loop costs more than what it computes: on other
    # devices, those that do not keep them busy.
    count = len(jax.tree.leaves(problems)[0])
    together = 1 if on_cpu() else max(1, BUSY // max(1, pairs))
    even = math.ceil(count / math.ceil(count / together))
    batch_size = even if even > 1 else None
    return jax.lax.map(lambda problem: function(*problem), problems, batch_size=batch_size)


def coupling(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    y: PyTree[Float[Array, "m ..."]],
    b: Float[Array, " m"],
    a: Float[Array, " n"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
) -> Float[Array, "m n"]:
    """P of g and its transform."""
    return _coupling(pairwise(cost, x, y), b, a, g, eps)


def _coupling(matrix: Float[Array, "m n"], b: Array, a: Array, g: Array, eps: Array) -> Array:
    f = transform(matrix, b, g, eps)
    # The logarithm of b inside, as in `transform`: of an atom without mass the potential is not
    # known, and the exponential alone may overflow.
    return a * jnp.exp((g[:, None] + f - matrix) / eps + jnp.log(b)[:, None])


def assess(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    y: PyTree[Float[Array, "m ..."]],
    b: Float[Array, " m"],
    a: Float[Array, " n"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Of g: the L1 error of the marginal on the rows, the value OT_eps, and <C, P>."""

    def at_sources(eps: Array) -> Array:
        return soft_transform(cost, x, y, b, g, eps)

    f, slope = jax.jvp(at_sources, (eps,), (jnp.ones_like(eps),))
    there = soft_transform(transposed(cost), y, x, a, f, eps)
    rows = jnp.exp((g - there) / eps + jnp.log(b))
    # The derivative in eps is f/eps + E[g - C]/eps under each column of P.
    transported = matmul(rows, g) + matmul(a, f) - eps * matmul(a, slope)
    return jnp.sum(jnp.abs(rows - b)), matmul(a, f) + matmul(b, g), transported


class SinkhornReport(NamedTuple):
    """How well each transport problem was solved, and what it costs.

    iterations: Sinkhorn iterations that were needed from the carry.
    marginal_error: L1 error of the target's marginal of the coupling; that of mu is exact.
    converged: marginal_error is below the threshold.
    value: OT_eps(mu, nu_k), entropy included.
    transport_cost: <C, P>.
    """

    iterations: Int[Array, " k"]
    marginal_error: Float[Array, " k"]
    converged: Bool[Array, " k"]
    value: Float[Array, " k"]
    transport_cost: Float[Array, " k"]

    @classmethod
    def of(
        cls, iterations: Int[Array, " k"], found: tuple[Array, Array, Array], threshold: float
    ) -> SinkhornReport:
        """From what `assess` finds of each problem."""
        error, value, transport_cost = found
        return cls(iterations, error, error < threshold, value, transport_cost)


def solve(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    y: PyTree[Float[Array, "m ..."]],
    b: Float[Array, " m"],
    a: Float[Array, " n"],
    g: Float[Array, " m"],
    eps: Float[Array, ""],
    threshold: float,
    max_iterations: int,
) -> tuple[Float[Array, " m"], Int[Array, ""]]:
    """The optimal g, centred to b.g = 0, and the number of iterations, from a guess of g.

    First OTT's kernel iterations about the guess, which need no exponential per entry and
    iteration, and a plain one that confirms the threshold. Where it does not, or so far from the
    guess that what underflowed may count, OTT's log-domain iterations follow from where these
    ended, or from the guess if they overflowed. These alone where the matrix is too large to hold.
    Threshold: L1 error of one marginal, the other being exact."""
    return _solve(cost_geometry(cost, x, y, eps), b, a, g, threshold, max_iterations)


@functools.partial(jax.jit, static_argnames=("threshold", "max_iterations"))
def _solve(
    geometry: Geometry, b: Array, a: Array, g: Array, threshold: float, max_iterations: int
) -> tuple[Array, Array]:
    g, eps = _usable(g, geometry), jnp.asarray(geometry.epsilon)
    # Under vmap OTT evaluates the error in every iteration, whatever the number of inner ones.
    options = {"threshold": threshold, "max_iterations": max_iterations, "inner_iterations": 1}

    # Over-relaxation by the factor that the rate seen at the `start` calls for (Lehmann et al.
    # 2021). Far from the solution that rate misleads, so the safe stage looks at it later.
    def momentum(start: int) -> Momentum:
        return Momentum(start=start, value=g.dtype.type(1))

    def safe(g: Array) -> tuple[Array, Array]:
        solver = Sinkhorn(momentum=momentum(start=100), **options)
        init = g + eps * jnp.log(b), jnp.zeros_like(a)
        out = solver(LinearProblem(geometry, b, a), init=init)
        return jnp.where(b > 0, out.f - eps * jnp.log(b), 0), jnp.asarray(out.n_iters)

    if geometry.is_online:
        g, iterations = safe(g)
        return g - matmul(b, g), iterations

    # Rows (nu) are OTT's first side. It updates the second side first, and so from g.
    kernel = KernelMatrix(None, _coupling(geometry.cost_matrix, b, a, g, eps), Epsilon(eps))
    solver = Sinkhorn(lse_mode=False, momentum=momentum(start=8), **options)
    quick = solver(LinearProblem(kernel, b, a), init=(jnp.ones_like(b), jnp.ones_like(a)))
    # One plain iteration to confirm, since over-relaxed ones leave neither marginal exact.
    u = jnp.exp(quick.f / eps)
    v = a / kernel.apply_kernel(u, axis=0)
    rows = kernel.apply_kernel(v, axis=1)
    error = jnp.sum(jnp.abs(u * rows - b))
    log_u, log_v = jnp.where(b > 0, jnp.log(b / rows), 0), jnp.where(a > 0, jnp.log(v), 0)
    moved = jnp.where(b > 0, g + eps * log_u, 0)
    g = jnp.where(jnp.all(jnp.isfinite(moved)), moved, g)
    # Scaled by less than exp(20), what underflowed in the kernel is nothing beside the threshold.
    near = jnp.max(jnp.abs(log_u)) + jnp.max(jnp.abs(log_v)) < 20
    done = jax.lax.stop_gradient(near & (error < threshold))
    confirmed = g, jnp.ones_like(quick.n_iters)

    def unless_done(g: Array) -> tuple[Array, Array]:
        return jax.tree.map(functools.partial(jnp.where, done), confirmed, safe(g))

    g, more = jax.lax.cond(in_all(done), lambda g: confirmed, unless_done, g)
    return g - matmul(b, g), quick.n_iters + more


def solve_self(
    cost: Cost,
    x: PyTree[Float[Array, "n ..."]],
    a: Float[Array, " n"],
    p: Float[Array, " n"],
    eps: Float[Array, ""],
    threshold: float,
    max_iterations: int,
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    """The p = transform(p) of OT_eps(mu, mu), and the number of iterations, from a guess.

    Averaged symmetric iterations p <- (p + transform(p))/2, whose error halves each time
    (Feydy et al. 2019). a.transform(p) is half of the value."""
    return _solve_self(cost_geometry(cost, x, x, eps), a, p, threshold, max_iterations)


@functools.partial(jax.jit, static_argnames=("threshold", "max_iterations"))
def _solve_self(
    geometry: Geometry, a: Array, p: Array, threshold: float, max_iterations: int
) -> tuple[Array, Array]:
    eps, log_a = geometry.epsilon, jnp.log(a)
    p = _usable(p, geometry) + eps * log_a
    solver = Sinkhorn(
        threshold=threshold,
        max_iterations=max_iterations,
        inner_iterations=1,
        parallel_dual_updates=True,
        momentum=Momentum(value=0.5),
    )
    out = solver(LinearProblem(geometry, a, a), init=(p, p))
    return jnp.where(a > 0, out.f - eps * log_a, 0), jnp.asarray(out.n_iters)


def _usable(g: Float[Array, " m"], geometry: Geometry) -> Float[Array, " m"]:
    """g, or zero if it cannot be a potential, which is of the size of the cost.

    Also what stops a NaN from being handed on for ever."""
    plausible = jnp.all(jnp.abs(g) <= 2 * largest_cost(geometry))
    return jnp.where(plausible, g, jnp.zeros_like(g))
