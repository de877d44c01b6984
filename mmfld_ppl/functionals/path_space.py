"""The reduced problem of trajectory inference in path space, as a functional of the marginals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.errors import ConcretizationTypeError, TracerArrayConversionError
from jax.nn import logsumexp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..arrays import as_array, is_known
from ..linalg import matmul
from ..measures import Measure
from .base import Functional, Linearization, cast, scalar
from .checks import (
    require_arguments,
    require_limits,
    require_one_each,
    require_positive,
    require_probabilities,
    require_same_events,
)
from .distances import half_squared_distance
from .snapshots import Snapshot, stack_snapshots
from .soft_transform import soft_transform
from .transport import SinkhornReport, assess, coupling, each, solve


class PathTangent(NamedTuple):
    """What the first variation of `PathSpace` needs; T blocks of M atoms.

    points: the atoms. masses: their masses, of sum one in each block. grown: the masses of the
    first T-1 blocks after growth, of sum one. log_growth: log of the factor by which each of those
    blocks grew. potentials: g at the atoms of the later block of each gap; sources: f at those of
    the earlier one. evidence: log of the blurred marginal at each cell."""

    points: PyTree[Float[Array, "t m ..."]]
    masses: Float[Array, "t m"]
    grown: Float[Array, "t-1 m"]
    log_growth: Float[Array, " t-1"]
    potentials: Float[Array, "t-1 m"]
    sources: Float[Array, "t-1 m"]
    evidence: Float[Array, "t n"]


class PathSpace(Functional):
    r"""Trajectory inference from snapshots z_tj at times s_1 < ... < s_T, reduced to marginals.

        F(mu) = (1/T) { (1/lambda) sum_t w_t Fit_t(mu_t)
                        + sum_t OT_{tau dt_t}(mu_t, mu_{t+1}) / dt_t },

        Fit_t(mu_t) = -sum_j b_tj log E_{x ~ mu_t} exp(-|x - z_tj|^2 / (2 sigma^2)),
        OT_eps(mu, nu) = min_P <C, P> + eps KL(P | mu x nu),   C(x, y) = |x - y|^2 / 2,

    with dt_t = s_{t+1} - s_t. The family (mu_1, ..., mu_T) is one measure: its N atoms come in T
    equal blocks, in the order of the times, N = T M, and mu_t is block t with its mass made one.
    Likewise `first_variation` takes points in T equal blocks: entry j depends on point j and on
    the block that it is in. At x in block t it is  (w_t / lambda) Fit_t'(x) + f_t(x)/dt_t +
    g_{t-1}(x)/dt_{t-1}, with f_t and g_t the two potentials of gap t.

    The estimator: Chizat, Zhang, Heitz and Schiebinger (2022) minimise over laws R of paths
    sum_t w_t Fit_t(R_t) + lambda tau KL(R | W), W being Brownian motion of variance tau per unit
    of time, started from the base measure. Given its marginals the best R is Markov, and by the
    chain rule of the relative entropy  KL(R | W) = sum_t KL(mu_t | base) + sum_t OT_{tau dt_t}
    (mu_t, mu_{t+1}) / (tau dt_t), up to a constant on an unbounded flat base. Divided by lambda T
    this is  F(mu) + tau * (1/T) sum_t KL(mu_t | base),  and the last mean is KL(mu | base) of the
    family. So an `objective` with temperature = diffusivity is the paper's estimator, with
    the paper's tau, lambda and sigma; R is the chain of the couplings, with Brownian bridges in
    between.

    F alone is convex in each mu_t but not jointly: OT_eps relative to the product of two measures
    that move together is not. F + temperature * KL(mu | base) is jointly convex for every
    temperature >= diffusivity, as a minimum over R of a convex function. At a smaller temperature
    nothing is promised, nor with a growth that differs from point to point: the population that
    mu_t grows into is not linear in mu_t.

    Growth: with a rate g(x, s) mu_t is replaced, in the transport of gap t, by the population
    that it grows into, masses a(x) proportional to mu_t(x) exp(g(x, s_t) dt_t) with sum one. The
    first variation of that term at x is  a(x)/mu_t(x) (f_t(x) - <f_t, a>) / dt_t. A rate that does
    not depend on x changes nothing.

    snapshots: T of them, arrays of cells (n_t, ...) or `Measure`s of mass one, of any sizes from
      one cell on. times: s_t, increasing.
    diffusivity: tau, squared distance per unit of time. bandwidth: sigma, a distance: the scale on
      which a cell says where mass is. regularization: lambda; the smaller, the closer to the data.
    growth: g(point, time), a rate per unit of `times`, or None. It is called inside of JAX with one
      point, of the shape of one cell, and a time, and gives one number.
    weights: w_t, non-negative with sum one. Default: by the number of cells, so that every cell
      counts alike (as the authors' code does); by time, for sums over unequal snapshots, give them.
    threshold, max_iterations: of the transport solves, as in `SinkhornBarycenter`.

    The carry is g, (T-1, M); one that is not finite makes a cold start.

        >>> import jax.numpy as jnp
        >>> snapshots = [jnp.array([[0.0], [0.2]]), jnp.array([[1.1]]), jnp.array([[1.9], [2.2]])]
        >>> setting = {"diffusivity": 0.1, "bandwidth": 0.3, "regularization": 0.1}
        >>> F = PathSpace(snapshots, [0.0, 1.0, 2.0], **setting)
        >>> along, still = jnp.array([[0.1], [1.0], [2.0]]), jnp.array([[1.0], [1.0], [1.0]])
        >>> print(f"{F(Measure.uniform(along)):.2f} {F(Measure.uniform(still)):.1f}")
        0.60 14.4

    Raises ValueError for fewer than two snapshots, snapshots that are empty, not finite or of
    differing shapes, masses or weights that are negative or do not sum to one, times that do not
    increase or are dates, diffusivity, bandwidth or regularization <= 0, a growth that does not
    give one number, and measures whose number of atoms T does not divide, or with a block of no
    mass; TypeError for a mapping of snapshots, and a growth that is no function, does not take a
    point and a time, or cannot be traced. What is traced is checked for its shape only.
    """

    cells: PyTree[Float[Array, "t n ..."]]
    masses: Float[Array, "t n"]
    weights: Float[Array, " t"]
    times: Float[Array, " t"] | Float[np.ndarray, " t"]
    gaps: Float[Array, " t-1"]
    diffusivity: Float[Array, ""]
    bandwidth: Float[Array, ""]
    regularization: Float[Array, ""]
    growth: Callable[[Any, Array], Float[Array, ""]] | None
    threshold: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)

    def __init__(
        self,
        snapshots: Sequence[Snapshot],
        times: Float[Array, " t"] | np.ndarray | Sequence[float],
        *,
        diffusivity: float | Array,
        bandwidth: float | Array,
        regularization: float | Array,
        growth: Callable[[Any, Array], Array] | None = None,
        weights: Float[Array, " t"] | None = None,
        threshold: float = 1e-3,
        max_iterations: int = 1000,
    ):
        stacked, counts, at = stack_snapshots(snapshots, times)
        self.cells, self.masses = stacked.points, stacked.weights
        # As given, in NumPy's double precision: in single precision neighbours may become one.
        self.times = at
        self.gaps = jnp.asarray(np.diff(at) if isinstance(at, np.ndarray) else jnp.diff(at))
        equal = counts / counts.sum()
        shares = as_array("the weights of the snapshots", equal if weights is None else weights)
        require_one_each("the weights of the snapshots", shares, len(counts), "snapshots")
        require_probabilities("the weights of the snapshots", shares)
        self.weights = jnp.asarray(shares)
        self.diffusivity = require_positive("diffusivity", diffusivity)
        self.bandwidth = require_positive("bandwidth", bandwidth)
        self.regularization = require_positive("regularization", regularization)
        if growth is not None:
            if not callable(growth):
                raise TypeError(
                    "growth must be a function (point, time) -> rate, got "
                    f"{type(growth).__name__}: particles are not the cells, so fit a function of "
                    "the coordinates to the scores"
                )
            require_arguments("growth", growth, "growth(point, time)", 2)
        self.growth = growth
        require_limits(threshold, max_iterations)
        self.threshold, self.max_iterations = threshold, max_iterations

    @property
    def num_times(self) -> int:
        """T."""
        return self.times.shape[0]

    @property
    def num_blocks(self) -> int:
        return self.num_times

    def blocks(self, points: PyTree[Float[Array, "n ..."]]) -> PyTree[Float[Array, "t m ..."]]:
        """Points, or anything with one entry an atom, as T blocks."""
        t = self.num_times
        sizes = {jnp.shape(leaf)[0] for leaf in jax.tree.leaves(points)}
        if any(size % t for size in sizes):
            raise ValueError(
                f"a path over {t} times takes its points in {t} equal blocks, got "
                f"{sorted(sizes)} of them: use a number of particles that is a multiple of {t}"
            )
        return jax.tree.map(lambda x: x.reshape(t, -1, *jnp.shape(x)[1:]), points)

    def linearize(
        self,
        measure: Measure,
        carry: Float[Array, "t-1 m"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Linearization:
        like = cast(self, measure.weights.dtype)
        x, w = like._family(measure)
        a, log_growth = like._grow(x, w)
        g, _ = like._solve(*jax.lax.stop_gradient((x, w, a)), carry)
        # By the envelope theorem the gradient of this in points and masses is that of OT.
        f = like._each(soft_transform, *_split(x), w[1:], g)
        transported = jnp.sum(a * f, axis=1) + jnp.sum(w[1:] * g, axis=1)
        evidence = like._evidence(x, w)
        fit = -matmul(like.weights, jnp.sum(like.masses * evidence, axis=1))
        total = fit / like.regularization + jnp.sum(transported / like.gaps)
        tangent = jax.lax.stop_gradient(PathTangent(x, w, a, log_growth, g, f, evidence))
        return Linearization(total / self.num_times, tangent, g)

    def first_variation(
        self, tangent: PathTangent, points: PyTree[Float[Array, "m ..."]]
    ) -> Float[Array, " m"]:
        x, w, a, log_growth, g, f, evidence = tangent
        like = cast(self, g.dtype)
        p, gaps = like.blocks(points), like.gaps
        earlier, later = _split(p)
        before, after = _split(x)
        leave = like._each(soft_transform, earlier, after, w[1:], g)
        if like.growth is not None:
            factor = jnp.exp(like.log_factors(p) - log_growth[:, None])
            leave = factor * (leave - jnp.sum(a * f, axis=1, keepdims=True))
        arrive = like._each(soft_transform, later, before, a, f)
        fit = -like.weights[:, None] * like._explained(p, evidence)
        total = fit / like.regularization
        total = total.at[:-1].add(leave / gaps[:, None])
        return total.at[1:].add(arrive / gaps[:, None]).reshape(-1)

    def init_carry(self, measure: Measure) -> Float[Array, "t-1 m"]:
        return jnp.zeros_like(self.blocks(measure.weights)[1:])

    def report(
        self, measure: Measure, carry: Float[Array, "t-1 m"] | None = None
    ) -> SinkhornReport:
        """How the solve of each gap goes at `measure`, started from `carry` (default: cold)."""
        like, a, b, g, iterations = self._solved(measure, carry)
        x, _ = like._family(measure)
        found = like._each(assess, *_split(x), b, a, g)
        return SinkhornReport.of(iterations, found, self.threshold)

    def couplings(
        self, measure: Measure, carry: Float[Array, "t-1 m"] | None = None
    ) -> Float[Array, "t-1 m m"]:
        """Of each block, after growth (rows), with the next (columns)."""
        like, a, b, g, _ = self._solved(measure, carry)
        x, _ = like._family(measure)
        return jnp.swapaxes(like._each(coupling, *_split(x), b, a, g), 1, 2)

    def log_factors(self, blocks: PyTree[Float[Array, "t m ..."]]) -> Float[Array, "t-1 m"]:
        """Log of the factor by which each point of a block grows over the gap after it; zero
        without growth."""
        if self.growth is None:
            return jnp.zeros(jax.tree.leaves(blocks)[0][:-1].shape[:2], self.gaps.dtype)
        return self._rates(blocks) * self.gaps[:, None]

    def _solved(
        self, measure: Measure, carry: Float[Array, "t-1 m"] | None
    ) -> tuple[PathSpace, Array, Array, Array, Array]:
        like = cast(self, measure.weights.dtype)
        x, w = like._family(measure)
        a, _ = like._grow(x, w)
        return like, a, w[1:], *like._solve(x, w, a, carry)

    def _solve(
        self, x: PyTree, w: Array, a: Array, carry: Array | None
    ) -> tuple[Float[Array, "t-1 m"], Int[Array, " t-1"]]:
        """Potentials at the later blocks, and the iterations that they took."""
        g = jnp.zeros_like(w[1:]) if carry is None else carry
        limits = {"threshold": self.threshold, "max_iterations": self.max_iterations}
        return self._each(functools.partial(solve, **limits), *_split(x), w[1:], a, g)

    def _family(self, measure: Measure) -> tuple[PyTree, Float[Array, "t m"]]:
        """Points and masses in blocks."""
        first = jax.tree.map(lambda leaf: leaf[0], self.cells)
        require_same_events("the measure", measure.points, "the snapshots", first)
        w = self.blocks(measure.weights)
        total = jnp.sum(w, axis=1, keepdims=True)
        if is_known(total) and not np.all(some := np.asarray(total) > 0):
            empty = int(np.argmin(some))
            raise ValueError(
                f"the marginal at time {self.times[empty]} has no mass: each of the "
                f"{self.num_times} blocks of atoms needs some"
            )
        return self.blocks(measure.points), w / total

    def _grow(self, x: PyTree, w: Array) -> tuple[Float[Array, "t-1 m"], Float[Array, " t-1"]]:
        """Masses of the first T-1 blocks when the next snapshot is taken, and the log growth."""
        if self.growth is None:
            return w[:-1], jnp.zeros_like(w[:-1, 0])
        log_masses = jnp.log(w[:-1]) + self.log_factors(x)
        log_growth = logsumexp(log_masses, axis=1)
        return jnp.exp(log_masses - log_growth[:, None]), log_growth

    def _rates(self, x: PyTree[Float[Array, "t m ..."]]) -> Float[Array, "t-1 m"]:
        def growth(x: Any, s: Array) -> Float[Array, ""]:
            try:
                return jnp.asarray(rate(x, s), self.gaps.dtype)
            except (IndexError, ConcretizationTypeError, TracerArrayConversionError) as error:
                shape = jax.tree.map(jnp.shape, x)
                raise TypeError(
                    f"growth is called inside of JAX with one point, of shape {shape}, and a time, "
                    f"and failed: {str(error).splitlines()[0]}. Write it for one cell, in jax.numpy"
                ) from error

        rate: Any = self.growth
        rates = jax.vmap(scalar(growth, "growth"), (0, None))
        return jax.vmap(rates)(_split(x)[0], self.times[:-1])

    def _evidence(self, x: PyTree, w: Float[Array, "t m"]) -> Float[Array, "t n"]:
        """log E_mu_t[k(c, .)] at the cells, up to a constant: minus a soft minimum over points."""
        square = self.bandwidth**2

        def at(cells: PyTree, x: PyTree, w: Array) -> Float[Array, " n"]:
            none = jnp.zeros_like(w)
            return -soft_transform(half_squared_distance, cells, x, w, none, square) / square

        return each(at, self.cells, x, w, pairs=w.shape[1] * self.masses.shape[1])

    def _explained(
        self, p: PyTree[Float[Array, "t m ..."]], evidence: Float[Array, "t n"]
    ) -> Float[Array, "t m"]:
        """The mean over cells c of k(c, p) / E_mu_t[k(c, .)] at points: of exp(-distance), minus
        evidence, so that a soft minimum over cells is its logarithm."""
        square = self.bandwidth**2

        def at(p: PyTree, cells: PyTree, masses: Array, evidence: Array) -> Float[Array, " m"]:
            level = -square * evidence
            f = soft_transform(half_squared_distance, p, cells, masses, level, square)
            return jnp.exp(-f / square)

        pairs = jax.tree.leaves(p)[0].shape[1] * evidence.shape[1]
        return each(at, p, self.cells, self.masses, evidence, pairs=pairs)

    def _each(
        self, function: Callable[..., PyTree], *gaps: PyTree[Float[Array, "t-1 ..."]]
    ) -> PyTree:
        """A function of `transport`, or the soft transform, in each gap."""
        return each(
            functools.partial(function, half_squared_distance),
            *gaps,
            self.diffusivity * self.gaps,
            pairs=jax.tree.leaves(gaps[0])[0].shape[1] * gaps[-1].shape[1],
        )


def _split(x: PyTree[Float[Array, "t ..."]]) -> tuple[PyTree, PyTree]:
    """All blocks but the last, all but the first."""
    return jax.tree.map(lambda leaf: leaf[:-1], x), jax.tree.map(lambda leaf: leaf[1:], x)
