"""Whether what a map states in closed form agrees with its potential.

A wrong metric is no error to a sampler: it targets another law, and diagnostics that take the same
map see nothing of it. So closed forms are compared with derivatives of the potential.

Everything is measured in the local norm at a point: along tangent vectors between which the Hessian
is the identity, however badly scaled the point."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree
from numpy.typing import ArrayLike

from ..linalg import matmul
from .base import Event, MirrorMap
from .constants import local_frame

#: What is meant to hold, by the method that is held to it. A law takes those before it for granted,
#: so that the first to fail is the one to mend.
LAWS = {
    "grad": "it is the gradient of the potential",
    "metric(x).apply": "it multiplies by the Hessian of the potential",
    "metric(x).sqrt": "S S^T is the Hessian of the potential",
    "metric(x).solve": "it undoes apply, and gives tangent vectors",
    "metric(x).inverse_norm_sq": "it is the square of the local norm of a dual vector",
    "metric(x).log_det": "it is that of the Hessian, up to one constant for all points",
    "log_det_grad": "it is the gradient of the log determinant of the Hessian",
    "conjugate_grad": "it takes grad(x) to x, and grad takes what it gives back to its argument",
}
#: What adds up over the operations of a method, in units of rounding: four times the most that was
#: seen among the maps of the package.
ROUNDINGS = 300
#: An error that rounding must not explain: it would hide a wrong method.
GROSS = 0.1

Rows = Float[Array, "m n"]
Vector = Float[Array, " n"]


class _Seen(NamedTuple):
    """At one point: the least pivot of the potential's Hessian, errors in the order of `LAWS`, and
    the size that an error of one unit of rounding has."""

    pivot: Float[Array, ""]
    errors: Float[Array, " laws"]
    unit: Float[Array, ""]


def check_map(mirror: MirrorMap, points: PyTree) -> None:
    r"""Compare the methods of a map with derivatives of its potential, at points of its domain.

    With H = hess phi(x) on the tangent space: `grad` is grad phi; `metric` gives H u, H^-1 v, S xi
    with S S^T = H, |v|^2 in H^-1, and log det H up to a constant, `log_det_grad` the gradient of
    that; `conjugate_grad` is the inverse of `grad`, at the dual points of these points and half a
    local unit away. The tangent space of an affine set is that of the metric, which must hold the
    differences of points and the moves of `conjugate_grad`. Not looked at: `self_concordance`,
    symmetric steps, adaptation.

    Errors are in the local norm, and may be what rounding makes of them in the dtype of the points:
    more is seen in double precision, and away from the boundary.

    mirror: the map. points: events of shape (k, ...), stacked along a leading axis, k >= 2, far
      from symmetric: no derivative is known of a von Neumann map where eigenvalues are equal.
      Cost: a Hessian at each of them, with its derivatives.

    Raises:
        ValueError: `points` are fewer than two or not stacked; one is outside, or so close to the
          boundary that rounding hides errors; the potential is not strictly convex there; the
          metric is not finite; or a method disagrees. The message says which, by how much, at which
          point, and what is meant to hold.

        >>> import jax.numpy as jnp
        >>> from mmfld_ppl.mirrors import Ball, check_map
        >>> check_map(Ball(jnp.array(2.0)), jnp.array([[0.3, -0.9], [1.1, 0.2]]))
    """
    name, shapes = mirror.describe(), [jnp.shape(leaf) for leaf in jax.tree.leaves(points)]
    if len({shape[:1] for shape in shapes}) != 1 or min(shapes) < (2,):
        raise ValueError(
            f"check_map takes two or more events of {name}, stacked along a leading axis, got "
            f"shapes {shapes}"
        )
    points = jax.tree.map(jnp.asarray, points)

    def where(i: int) -> str:
        return f"at point {i}, {jax.tree.map(lambda leaf: np.asarray(leaf[i]).tolist(), points)}"

    slack = np.asarray(jax.vmap(mirror.slack)(points))
    if (i := _first(~(slack > 0))) is not None:
        raise ValueError(f"{name} is checked inside: the slack is {slack[i]:.2g} {where(i)}")
    frames, lengths = map(np.asarray, jax.jit(jax.vmap(lambda x: _frame(mirror, x)))(points))
    if (i := _first(~np.isfinite(frames).all((1, 2)))) is not None:
        raise ValueError(f"the metric of {name} is not finite {where(i)}: it is to be the Hessian")
    # Of noise, some may have been normal to the tangent space: its vectors are rounding.
    dimension = np.min(np.sum(lengths > 1e-3 * lengths[:, :1], axis=1))

    def see(x: Event, other: Event, frame: Rows) -> _Seen:
        return _see(mirror, x, other, frame)

    others = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), points)
    pivot, errors, unit = map(
        np.array, jax.jit(jax.vmap(see))(points, others, frames[:, :dimension])
    )
    if (i := _first(~(pivot > 0))) is not None:
        raise ValueError(f"the potential of {name} has no positive definite Hessian {where(i)}")
    eps = jnp.finfo(frames.dtype).eps
    # Newton's method stops where the next step would be as small as the root.
    allowed = ROUNDINGS * eps * np.maximum(unit, unit[0]) + eps**0.5
    if (i := _first(~(allowed < GROSS))) is not None:
        raise ValueError(
            f"rounding hides what the methods of {name} are {where(i)}: pass points in double "
            "precision, or farther from the boundary"
        )
    constant = list(LAWS).index("metric(x).log_det")
    errors[:, constant] = np.abs(errors[:, constant] - errors[0, constant])
    for (method, law), error in zip(LAWS.items(), errors.T, strict=True):
        if (i := _first(~(error <= allowed))) is not None:
            raise ValueError(
                f"{method} of {name} disagrees with the potential by {error[i]:.2g} in the local "
                f"norm, of which rounding explains {allowed[i]:.1g}, {where(i)}: {law}"
            )


def _first(wrong: ArrayLike) -> int | None:
    """Index of the first point that is."""
    return int(np.argmax(wrong)) if np.any(wrong) else None


def _flat(tree: PyTree) -> Vector:
    return ravel_pytree(tree)[0]


def _over_rows(method: Callable[[PyTree], PyTree], like: PyTree) -> Callable[[Rows], Rows]:
    """A method of events like this one, of flattened events in rows."""
    unravel = ravel_pytree(like)[1]
    return jax.vmap(lambda row: _flat(method(unravel(row))))


def _frame(mirror: MirrorMap, x: Event) -> tuple[Rows, Vector]:
    """Tangent vectors that are orthogonal in the map's own metric, and their lengths squared there,
    decreasing: one or zero."""
    metric = mirror.metric(x)
    images = jax.vmap(_flat)(local_frame(mirror, metric, x))
    turn, lengths, _ = jnp.linalg.svd(matmul(images, _over_rows(metric.apply, x)(images).T))
    return matmul(turn.T, images), lengths


def _see(mirror: MirrorMap, x: Event, other: Event, frame: Rows) -> _Seen:
    """`other`: a second point. `frame`: a basis of the tangent space."""
    vector, unravel = ravel_pytree(x)
    metric = mirror.metric(x)
    origin = jnp.zeros(len(frame), vector.dtype)

    def along(t: Vector) -> Float[Array, ""]:
        return mirror.potential(unravel(vector + matmul(t, frame)))

    hessian = jax.jacfwd(jax.grad(along))
    factor = jnp.linalg.cholesky(hessian(origin))

    def local(v: Array) -> Array:
        return jsl.solve_triangular(factor, v, lower=True)

    # From here on the Hessian is the identity between the rows of `tangent`.
    tangent, slope = local(frame), local(jax.grad(along)(origin))
    identity = jnp.eye(len(frame), dtype=vector.dtype)
    volume = 2 * jnp.sum(jnp.log(jnp.linalg.svd(tangent, compute_uv=False)))
    steepening = local(jax.grad(lambda t: jnp.linalg.slogdet(hessian(t))[1])(origin))

    applied, solved = _over_rows(metric.apply, x), _over_rows(metric.solve, x)
    zeros = mirror.noise_like(x)
    noise = jnp.eye(_flat(zeros).size, dtype=vector.dtype)
    roots = _over_rows(metric.sqrt, zeros)(noise)
    moves = jnp.concatenate([tangent, (_flat(other) - vector)[None]])
    weights = jax.random.normal(jax.random.key(0), (len(noise),), vector.dtype)
    kick = 0.5 * matmul(weights / jnp.linalg.norm(weights), roots)
    lifted = matmul(tangent, kick)

    y = _flat(mirror.grad(x))
    duals = jnp.stack([y, y + kick])
    reached = _over_rows(lambda v: mirror.conjugate_grad(v, x), x)(duals)
    back = _over_rows(mirror.grad, x)(reached)
    steps = reached - vector
    normal = steps - matmul(matmul(applied(steps), tangent.T), tangent)

    def largest(*errors: Array) -> Float[Array, ""]:
        return jnp.max(jnp.stack([jnp.max(jnp.abs(e)) for e in errors]))

    def relative(found: Rows, expected: Rows) -> Rows:
        size = jnp.max(jnp.abs(expected), axis=1, keepdims=True)
        return (found - expected) / jnp.where(size > 0, size, 1)

    errors = {
        "grad": largest(matmul(tangent, y) - slope) / (1 + jnp.linalg.norm(slope)),
        "metric(x).apply": largest(matmul(applied(tangent), tangent.T) - identity),
        "metric(x).sqrt": largest(
            matmul(matmul(tangent, roots.T), matmul(roots, tangent.T)) - identity
        ),
        "metric(x).solve": largest(
            relative(solved(applied(moves)), moves),
            relative(solved(kick[None]), matmul(lifted, tangent)[None]),
        ),
        "metric(x).inverse_norm_sq": largest(
            metric.inverse_norm_sq(unravel(kick)) / jnp.sum(jnp.square(lifted)) - 1
        ),
        "metric(x).log_det": metric.log_det() + volume,
        "log_det_grad": largest(matmul(tangent, _flat(mirror.log_det_grad(x))) - steepening)
        / (1 + jnp.linalg.norm(steepening)),
        "conjugate_grad": largest(
            matmul(back - duals, tangent.T), normal / largest(vector, reached)
        ),
    }
    # What rounding of x and of y comes to in the local norm.
    diagonal = jnp.abs(jnp.diagonal(applied(jnp.eye(len(vector), dtype=vector.dtype))))
    unit = 1 + jnp.sqrt(jnp.sum(jnp.square(vector) * diagonal)) + jnp.linalg.norm(tangent * y)
    pivot = jnp.min(jnp.diagonal(factor))
    return _Seen(pivot, jnp.stack([errors[method] for method in LAWS]), unit)
