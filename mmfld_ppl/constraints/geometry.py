"""Is a polytope usable, and where is its middle? NumPy in float64, linear programmes by HiGHS."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

#: Inscribed radius, relative to the largest slack, below which a polytope counts as flat.
FLAT = 1e-9


class Interior(NamedTuple):
    """What is computed once for a polytope {Ax <= b, Cx = c} in R^d of dimension k."""

    center: np.ndarray
    """(d,) analytic centre: minimises -sum log(b - Ax) over Cx = c."""
    basis: np.ndarray
    """(d, k) orthonormal basis N of the null space of C."""
    rounding: np.ndarray
    """(k, k) upper triangular R: {center + N R z : |z| <= 1} is the Dikin ellipsoid, which lies
    inside the polytope and, scaled by the number of inequalities, contains it."""


def interior(A: np.ndarray, b: np.ndarray, C: np.ndarray, c: np.ndarray, eps: float) -> Interior:
    """Centre, basis and rounding of one polytope; remembered by content.

    Args:
        A, b, C, c: shapes (m, d), (m,), (p, d), (p,), float64.
        eps: relative precision that the entries are known to.

    Raises:
        ValueError: the polytope is empty, a point, without interior, or unbounded."""
    packed = tuple((np.ascontiguousarray(x).tobytes(), x.shape) for x in (A, b, C, c))
    return _interior(packed, eps)


@functools.lru_cache(maxsize=64)
def _interior(packed: tuple[tuple[bytes, tuple[int, ...]], ...], eps: float) -> Interior:
    A, b, C, c = (np.frombuffer(data).reshape(shape) for data, shape in packed)
    start, N = _affine_hull(C, c, eps)
    if N.shape[1] == 0:
        raise ValueError(
            "polytope is at most a point: C, c leave no direction free; "
            "use the value itself instead of a latent variable"
        )
    reach = np.linalg.norm(A, axis=1)
    slack = b - A @ start
    rows = A @ N
    length = np.linalg.norm(rows, axis=1)
    moving = length > max(A.shape) * eps * reach
    # A row that is constant on the affine hull holds everywhere, nowhere, or with equality.
    rounding_error = 100 * eps * (np.abs(A) @ np.abs(start) + np.abs(b))
    constant = ~moving
    if np.any(constant & (slack < -rounding_error)):
        raise ValueError(
            "polytope is empty: C x = c contradicts the inequalities "
            f"{_indices(constant & (slack < -rounding_error))}"
        )
    if np.any(constant & (slack <= rounding_error)):
        _raise_flat(constant & (slack <= rounding_error))

    B, s = rows[moving] / length[moving, None], slack[moving] / length[moving]
    unit = np.max(np.abs(s), initial=0.0) or 1.0
    z, radius = _chebyshev(B, s / unit)
    tolerance = max(FLAT, eps)
    if radius < -tolerance:
        raise ValueError(
            "polytope is empty: no x satisfies A x <= b and C x = c; "
            f"the best x violates an inequality by a distance {-radius * unit:.3g}"
        )
    if radius <= tolerance:
        _raise_flat(_spread(moving, _implicit_equalities(B, s / unit)))
    direction = _recession(B)
    if direction is not None:
        with np.printoptions(precision=3, suppress=True, threshold=10):
            raise ValueError(
                f"polytope is unbounded in direction {N @ direction}: add an inequality that ends "
                "it there, however far out"
            )

    z = _analytic_center(B, s / unit, z)
    R = np.linalg.qr(B / (s / unit - B @ z)[:, None], mode="r")
    R *= np.where(np.diag(R) < 0, -1, 1)[:, None]
    rounding = unit * np.triu(solve_triangular(R, np.eye(len(R))))
    result = Interior(start + N @ (unit * z), N, rounding)
    for array in result:
        array.setflags(write=False)
    return result


def corners(A: np.ndarray, b: np.ndarray, within: Interior) -> np.ndarray:
    """(n, 2) corners of the polygon {Ax <= b} in the plane, in their order."""
    # Where the Dikin ellipsoid is the unit disk no polygon is thin.
    rows = A @ within.rounding / (b - A @ within.center)[:, None]
    # The dual polygon has the rows that touch for its corners.
    active = rows[ConvexHull(rows).vertices]
    pairs = np.stack([active, np.roll(active, -1, axis=0)], axis=1)
    z = np.linalg.solve(pairs, np.ones((len(pairs), 2, 1)))[..., 0]
    return within.center + z @ within.rounding.T


def _affine_hull(C: np.ndarray, c: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The point of {Cx = c} nearest to the origin, and an orthonormal basis of ker C."""
    p, d = C.shape
    if p == 0:
        return np.zeros(d), np.eye(d)
    U, sigma, Vt = np.linalg.svd(C)
    rank = int(np.sum(sigma > max(p, d) * eps * sigma[0]))
    x = Vt[:rank].T @ ((U[:, :rank].T @ c) / sigma[:rank])
    error = np.abs(C @ x - c)
    if np.any(error > 100 * max(p, d) * eps * (np.abs(C) @ np.abs(x) + np.abs(c))):
        raise ValueError("polytope is empty: the equalities C x = c contradict one another")
    return x, Vt[rank:].T.copy()


def _chebyshev(B: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius, at most 1 and negative if empty, of a largest ball in {Bz <= s}.

    The rows of B have unit length."""
    k = B.shape[1]
    extended = np.hstack([B, np.ones((len(B), 1))])
    z_r = _minimise(np.append(np.zeros(k), -1.0), extended, s, [(None, None)] * k + [(None, 1.0)])
    return z_r[:-1], float(z_r[-1])


def _implicit_equalities(B: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Which of Bz <= s hold with equality everywhere on a non-empty {Bz <= s}.

    Freund, Roundy and Todd (1985): the scale a >= 1 is free, so every inequality that can be
    strict somewhere reaches t_i = 1 at the maximum of sum t, and the others stay at 0."""
    m, k = B.shape
    homogeneous = np.hstack([B, np.eye(m), -s[:, None]])
    bounds = [(None, None)] * k + [(0.0, 1.0)] * m + [(1.0, None)]
    cost = np.concatenate([np.zeros(k), -np.ones(m), [0.0]])
    return _minimise(cost, homogeneous, np.zeros(m), bounds)[k : k + m] < 0.5


def _recession(B: np.ndarray) -> np.ndarray | None:
    """A unit direction with Bz <= 0, or None if there is none but zero."""
    k = B.shape[1]
    _, sigma, Vt = np.linalg.svd(B)
    if len(sigma) < k or sigma[-1] <= FLAT * sigma[0]:
        return Vt[-1]
    z = _minimise(B.sum(axis=0), B, np.zeros(len(B)), [(-1.0, 1.0)] * k)
    return z / np.linalg.norm(z) if np.min(B @ z) < -FLAT else None


def _analytic_center(B: np.ndarray, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Newton's method on -sum log(s - Bz) from an interior z, with backtracking."""
    for _ in range(100):
        D = B / (s - B @ z)[:, None]
        step = np.linalg.lstsq(D, -np.ones(len(s)), rcond=None)[0]
        change = D @ step
        decrement = np.linalg.norm(change)
        if decrement < 1e-5:
            break
        t = 1.0 if change.max() < 0.9 else 0.9 / change.max()
        while -np.log1p(-t * change).sum() > -0.25 * t * decrement**2:
            t /= 2
        z = z + t * step
    return z


def _minimise(cost: np.ndarray, A: np.ndarray, b: np.ndarray, bounds: list) -> np.ndarray:
    # The tightest tolerances that HiGHS accepts.
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    solution = linprog(cost, A_ub=A, b_ub=b, bounds=bounds, method="highs", options=options)
    if solution.status != 0:
        raise RuntimeError(
            f"the linear programme for a polytope failed: {solution.message}; "
            "rescale the rows or coordinates to comparable sizes"
        )
    return solution.x


def _spread(where: np.ndarray, values: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(where), bool)
    mask[where] = values
    return mask


def _indices(mask: np.ndarray) -> str:
    return ", ".join(str(i) for i in np.flatnonzero(mask))


def _raise_flat(mask: np.ndarray) -> None:
    raise ValueError(
        f"polytope has no interior: the inequalities {_indices(mask)} hold with equality "
        "everywhere: state them in C, c, and drop those that C, c imply"
    )
