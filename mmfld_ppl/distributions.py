"""Uniform laws on the supports of `mmfld_ppl.constraints`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import random
from jaxtyping import Array, ArrayLike, Float
from numpyro.distributions import constraints as nc
from numpyro.distributions.util import validate_sample
from scipy.special import multigammaln

from .constraints import ball, box, hermitian_spectraplex, polytope, spectraplex
from .constraints.basic import as_float
from .constraints.hermitian import to_real
from .constraints.polytopes import matvec

Shape = tuple[int, ...]


class UniformBall(dist.Distribution):
    """The uniform law on {x in R^d : |x| < radius}.

    The density is Gamma(d/2 + 1) / (pi^(d/2) radius^d). A draw is radius u^(1/d) g/|g| with g
    Gaussian and u uniform, pulled inwards by a few units of rounding so that it is never on the
    sphere.

    >>> from mmfld_ppl.distributions import UniformBall
    >>> UniformBall(2, radius=3.0).variance
    Array([2.25, 2.25], dtype=float32)

    Args:
        dimension: d, at least 1.
        radius: positive, of the batch shape.

    Raises:
        ValueError: dimension is not a positive integer; with validation, a radius is not
            positive."""

    arg_constraints = {"radius": nc.positive}
    reparametrized_params = ["radius"]

    def __init__(
        self, dimension: int, radius: ArrayLike = 1.0, *, validate_args: bool | None = None
    ) -> None:
        self.radius = as_float(radius)
        event_shape = (_size("UniformBall", "dimension", dimension, least=1),)
        super().__init__(jnp.shape(self.radius), event_shape, validate_args=validate_args)

    @nc.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> nc.Constraint:
        return ball(self.radius)

    def sample(self, key: Array, sample_shape: Shape = ()) -> Array:
        dtype = jnp.result_type(self.radius)
        shape = sample_shape + self.batch_shape
        d = self.event_shape[0]
        direction_key, radius_key = random.split(key)
        g = random.normal(direction_key, (*shape, d), dtype)
        u = random.uniform(radius_key, (*shape, 1), dtype)
        inwards = 1 - 4 * jnp.finfo(dtype).eps
        unit = inwards * u ** (1 / d) * g / jnp.linalg.norm(g, axis=-1, keepdims=True)
        return jnp.expand_dims(self.radius, -1) * unit

    @validate_sample
    def log_prob(self, value: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        d = self.event_shape[0]
        log_unit_volume = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
        constant = -log_unit_volume - d * jnp.log(self.radius)
        return _constant_density(self, constant, value)

    @property
    def mean(self) -> Array:
        return jnp.zeros(self.batch_shape + self.event_shape, jnp.result_type(self.radius))

    @property
    def variance(self) -> Array:
        d = self.event_shape[0]
        each = jnp.square(self.radius) / (d + 2)
        return self.mean + jnp.expand_dims(each, -1)


class UniformSpectraplex(dist.Distribution):
    """The uniform law on symmetric positive definite n x n matrices of trace 1.

    The density is Gamma(n(n+1)/2) / Gamma_n((n+1)/2) with respect to Lebesgue measure on the
    lower triangle without its last diagonal entry; Gamma_n is the multivariate gamma function.
    It follows from the integral of exp(-tr X) over positive definite X, in the coordinates
    tr X and X / tr X. For the same reason a draw is W / tr W with W = G G^T and G an n x (n+1)
    Gaussian matrix: W is Wishart with n+1 degrees of freedom, of density proportional to
    exp(-tr W / 2).

    Args:
        n: size of the matrices, at least 2.

    Raises:
        ValueError: n is not an integer of at least 2 (for n = 1 there is one matrix)."""

    support = spectraplex

    def __init__(self, n: int, *, validate_args: bool | None = None) -> None:
        n = _size("UniformSpectraplex", "n", n, least=2)
        super().__init__((), (n, n), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: Shape = ()) -> Array:
        n = self.event_shape[0]
        G = random.normal(key, (*sample_shape, *self.batch_shape, n, n + 1))
        W = jnp.einsum("...ik,...jk->...ij", G, G, precision="highest")
        trace = jnp.sum(jnp.square(G), axis=(-2, -1), keepdims=True)
        return (W + jnp.swapaxes(W, -2, -1)) / (2 * trace)

    @validate_sample
    def log_prob(self, value: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
        n = self.event_shape[0]
        log_volume = float(multigammaln((n + 1) / 2, n)) - math.lgamma(n * (n + 1) / 2)
        return _constant_density(self, -log_volume, value)

    @property
    def mean(self) -> Array:
        n = self.event_shape[0]
        return jnp.broadcast_to(jnp.eye(n) / n, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Array:
        # The diagonal is Dirichlet with parameters a; correlations have variance 1/(n+1).
        n = self.event_shape[0]
        a, total = (n + 1) / 2, n * (n + 1) / 2
        diagonal = (n - 1) / (n**2 * (total + 1))
        off_diagonal = a**2 / (total * (total + 1) * (n + 1))
        variance = jnp.where(jnp.eye(n, dtype=bool), diagonal, off_diagonal)
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)


class UniformHermitianSpectraplex(dist.Distribution):
    """The uniform (Hilbert-Schmidt) law on complex density matrices: n x n, Hermitian, positive
    definite, of trace 1, held as M = Re X + Im X (see `constraints.hermitian`).

    The density is (n^2 - 1)! / (pi^(n(n-1)/2) prod_{k=1}^{n} (k-1)!) with respect to Lebesgue
    measure on the real and imaginary parts of the lower triangle without the last diagonal entry
    (Zyczkowski and Sommers 2003). A draw is W / tr W with W = G G^H and G an n x n matrix of
    independent complex Gaussians. For n = 2 it is the uniform law on the Bloch ball.

    Args:
        n: size of the matrices, at least 2.

    Raises:
        ValueError: n is not an integer of at least 2."""

    support = hermitian_spectraplex

    def __init__(self, n: int, *, validate_args: bool | None = None) -> None:
        n = _size("UniformHermitianSpectraplex", "n", n, least=2)
        super().__init__((), (n, n), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: Shape = ()) -> Array:
        n = self.event_shape[0]
        parts = random.normal(key, (2, *sample_shape, *self.batch_shape, n, n))
        G = parts[0] + 1j * parts[1]
        W = jnp.matmul(G, jnp.conj(jnp.swapaxes(G, -1, -2)), precision="highest")
        return to_real(W) / jnp.sum(jnp.square(parts), axis=(0, -2, -1))[..., None, None]

    @validate_sample
    def log_prob(self, value: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
        n = self.event_shape[0]
        log_volume = n * (n - 1) / 2 * math.log(math.pi) - math.lgamma(n * n)
        log_volume += sum(math.lgamma(k) for k in range(1, n + 1))
        return _constant_density(self, -log_volume, value)

    @property
    def mean(self) -> Array:
        n = self.event_shape[0]
        return jnp.broadcast_to(jnp.eye(n) / n, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Array:
        # The diagonal is Dirichlet with parameters n, n, ..., n; off it Re and Im of an entry have
        # half of the rest of E tr X^2 = 2n/(n^2 + 1) each, and M holds their sum.
        n = self.event_shape[0]
        variance = jnp.where(jnp.eye(n, dtype=bool), (n - 1) / n, 1.0) / (n * (n**2 + 1))
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)


class UniformPolytope(dist.Distribution):
    """The uniform law on {x : A x <= b, C x = c}, up to its volume, which is not computed.

    `log_prob` is 0 inside: a normalised density would subtract the logarithm of the volume, with
    respect to Lebesgue measure on the affine set C x = c. `sample` is only approximately
    uniform: each draw ends an independent hit-and-run walk of `num_steps` steps from the centre,
    in the coordinates that make the Dikin ellipsoid at the centre a ball (Smith 1984; Lovász and
    Vempala 2006). Relaxation took about k^2 steps or fewer on cubes, simplices and a metabolic
    network of dimension k up to 24, hence the default. The walk keeps away from the boundary by a
    few units of rounding, so that draws are interior points as computed. A draw costs
    O(num_steps m k).

    Args:
        A, b, C, c: as of `constraints.polytope`; concrete arrays, leading axes are batch axes.
        num_steps: length of a walk, 8 k (k + 3) by default.

    Raises:
        ValueError, TypeError: as `constraints.polytope`; num_steps is not a positive integer."""

    pytree_data_fields = ("_support",)
    pytree_aux_fields = ("num_steps",)

    def __init__(
        self,
        A: ArrayLike,
        b: ArrayLike,
        C: ArrayLike | None = None,
        c: ArrayLike | None = None,
        *,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._support: Any = polytope(A, b, C, c)
        *batch_shape, d, k = self._support.basis.shape
        steps = 8 * k * (k + 3) if num_steps is None else num_steps
        self.num_steps = _size("UniformPolytope", "num_steps", steps, least=1)
        super().__init__(tuple(batch_shape), (d,), validate_args=validate_args)

    @nc.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> nc.Constraint:
        return self._support

    def sample(self, key: Array, sample_shape: Shape = ()) -> Array:
        p = self._support
        slack = p.b - matvec(p.A, p.center)
        directions = jnp.matmul(p.basis, p.rounding, precision="highest")
        rows = jnp.matmul(p.A, directions, precision="highest") / slack[..., None]
        shape = sample_shape + self.batch_shape
        walk = jnp.vectorize(
            lambda i, rows, limits: hit_and_run(
                random.fold_in(key, i), rows, limits, self.num_steps
            ),
            signature="(),(m,k),(m)->(k)",
        )
        z = walk(jnp.arange(math.prod(shape)).reshape(shape), rows, 1 - p.resolution() / slack)
        return p.center + matvec(directions, z)

    @validate_sample
    def log_prob(self, value: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
        return _constant_density(self, 0.0, value)


def UniformBox(
    low: ArrayLike, high: ArrayLike, *, validate_args: bool | None = None
) -> dist.Distribution:
    """The uniform law on {x in R^d : low <= x <= high}: `Uniform(low, high).to_event(1)`, with the
    bounds checked as by `constraints.box`.

    Args:
        low, high: shape (*batch, d); one of them may be a scalar.

    Raises:
        ValueError: both are scalars; or low < high fails for a coordinate."""
    interval = box(low, high).base_constraint
    low, high = interval.lower_bound, interval.upper_bound
    if jnp.ndim(low) == 0 and jnp.ndim(high) == 0:
        raise ValueError(
            "UniformBox needs a vector as low or high, got two scalars; "
            "a single coordinate is dist.Uniform(low, high)"
        )
    return dist.Uniform(low, high, validate_args=validate_args).to_event(1)


def hit_and_run(
    key: Array, rows: Float[Array, "m k"], limits: Float[Array, " m"], num_steps: int
) -> Float[Array, " k"]:
    """The end of a walk from 0 in the bounded {z : rows z <= limits}, 0 < limits.

    Each step goes to a uniform point of the chord in a uniform direction, which leaves the uniform
    law invariant (Smith 1984). After few steps the law is still that of a walk from 0: see
    `UniformPolytope` for how many are enough. O(num_steps m k). Nothing is checked: in an unbounded
    set points are not finite."""

    def step(i, z):
        direction_key, chord_key = random.split(random.fold_in(key, i))
        u = random.normal(direction_key, z.shape, z.dtype)
        slack = limits - matvec(rows, z)
        speed = matvec(rows, u)
        upper = jnp.min(jnp.where(speed > 0, slack / speed, jnp.inf))
        lower = jnp.max(jnp.where(speed < 0, slack / speed, -jnp.inf))
        return z + (lower + (upper - lower) * random.uniform(chord_key, (), z.dtype)) * u

    return jax.lax.fori_loop(0, num_steps, step, jnp.zeros(rows.shape[-1], rows.dtype))


def _constant_density(law: dist.Distribution, constant: ArrayLike, value: Array) -> Array:
    """The constant, once for every event of the value."""
    leading = jnp.shape(value)[: jnp.ndim(value) - law.event_dim]
    shape = jnp.broadcast_shapes(leading, law.batch_shape, jnp.shape(constant))
    return jnp.broadcast_to(constant, shape).astype(jnp.result_type(value, constant))


def _size(law: str, name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{law} needs an integer {name} of at least {least}, got {value!r}")
    return int(value)
