"""Tangent spaces and random interior points of the sets in the table of maps."""

from __future__ import annotations

import numpy as np

COUNT = 8  # interior points a case
Rng = np.random.Generator


def whole(size: int) -> np.ndarray:
    return np.eye(size)


def perpendicular(normals: np.ndarray) -> np.ndarray:
    """Orthonormal basis, in rows, of what is perpendicular to these rows."""
    _, values, vectors = np.linalg.svd(np.atleast_2d(normals))
    return vectors[np.sum(values > 1e-9) :]


def zero_sums(*shape: int) -> np.ndarray:
    """Arrays that sum to zero along each axis, flattened."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    sums = [units.sum(axis + 1).reshape(len(units), -1).T for axis in range(len(shape))]
    return perpendicular(np.concatenate(sums))


def symmetric(n: int, kind: str = "all") -> np.ndarray:
    """Symmetric matrices, or those of zero trace ("traceless") or zero diagonal ("hollow")."""
    basis = []
    for i in range(n):
        for j in range(i + (kind == "hollow"), n):
            unit = np.zeros((n, n))
            unit[i, j] = unit[j, i] = 1 if i == j else np.sqrt(0.5)
            basis.append(unit.ravel())
    stacked = np.stack(basis)
    if kind == "traceless":
        stacked = perpendicular(stacked @ np.eye(n).ravel()) @ stacked
    return stacked


def lower(n: int) -> np.ndarray:
    return np.eye(n * n)[np.tril(np.ones((n, n))).ravel() > 0]


def gammas(rng: Rng, *shape: int) -> np.ndarray:
    return rng.gamma(1.0, 2.0, (COUNT, *shape))


def shares(rng: Rng) -> np.ndarray:
    return rng.dirichlet([0.5, 1.0, 2.0, 4.0], COUNT)


def matrices(rng: Rng, n: int = 3) -> np.ndarray:
    """Positive definite, with unequal scales."""
    a = rng.normal(size=(COUNT, n, n + 2)) * np.array([0.3, 1.0, 2.0, 0.7])[:n, None]
    return a @ np.swapaxes(a, 1, 2)


def unit_trace(rng: Rng) -> np.ndarray:
    x = matrices(rng)
    return x / np.trace(x, axis1=1, axis2=2)[:, None, None]


def quantum_states(rng: Rng) -> np.ndarray:
    """Re X + Im X of complex density matrices X."""
    a = rng.normal(size=(COUNT, 3, 5)) + 1j * rng.normal(size=(COUNT, 3, 5))
    a *= np.array([0.3, 1.0, 2.0])[:, None]
    x = a @ np.conj(np.swapaxes(a, 1, 2))
    x /= np.trace(x, axis1=1, axis2=2).real[:, None, None]
    return x.real + x.imag


def correlations(rng: Rng) -> np.ndarray:
    x = matrices(rng, 4)
    root = np.sqrt(np.einsum("kii->ki", x))
    x = x / root[:, :, None] / root[:, None, :]
    x[:, np.arange(4), np.arange(4)] = 1
    return x


def in_ball(rng: Rng, size: int, radius: float) -> np.ndarray:
    x = rng.normal(size=(COUNT, size)) + np.linspace(0.5, -0.2, size)
    return radius * x / np.linalg.norm(x, axis=1)[:, None] * rng.uniform(0.1, 0.95, (COUNT, 1))


def in_lens(rng: Rng) -> np.ndarray:
    """Of the unit disk, where x_1 > -0.2."""
    x = in_ball(rng, 2, 1.0)
    return np.stack([0.98 * np.abs(x[:, 0]) - 0.19 * np.abs(x[:, 1]), 0.98 * x[:, 1]], axis=1)


def below_plane(rng: Rng, normal: np.ndarray, offset: float) -> np.ndarray:
    along = rng.normal(size=(COUNT, normal.size - 1)) @ perpendicular(normal)
    return along + normal * (offset - gammas(rng, 1)) / (normal @ normal)


def in_polytope(
    rng: Rng, A: np.ndarray, b: np.ndarray, tangent: np.ndarray, center: np.ndarray
) -> np.ndarray:
    """Unequal parts of the way from an interior point to the boundary."""
    d = rng.normal(size=(COUNT, len(tangent))) @ tangent
    speed = d @ A.T
    reach = 1 / np.max(speed / (b - A @ center), axis=1)
    return center + d * (reach * rng.uniform(0.1, 0.95, COUNT))[:, None]
