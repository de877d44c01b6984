"""How a result depends on the number of particles, and how many are enough."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .estimate import Estimate


class ParticleNumberFit(NamedTuple):
    """limit: the value as N grows. slope: c in limit + c/N. chi_squared: of the residuals, and
    degrees: their number less two; much above it the 1/N law does not hold yet."""

    limit: Estimate
    slope: Estimate
    chi_squared: float
    degrees: int

    def bias(self, size: float) -> Estimate:
        """c / size, what is left of it with so many particles."""
        return Estimate(self.slope.value / size, self.slope.error / size)

    def recommend(self, tolerance: float) -> int:
        """The least N for which |c| / N is at most `tolerance`.

        |c| is taken two standard errors up: a slope that cannot be told from zero still asks for
        as many particles as it could need."""
        if not tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {tolerance}")
        return max(1, int(np.ceil((abs(self.slope.value) + 2 * self.slope.error) / tolerance)))


def fit_particle_number(
    sizes: Float[np.ndarray, " s"],
    values: Float[np.ndarray, " s"],
    errors: Float[np.ndarray, " s"],
) -> ParticleNumberFit:
    """Weighted least squares of value_N = limit + c / N, the law of propagation of chaos (theorem
    4.1 of Gu and Kim 2025 bounds c for L).

    sizes: numbers of particles, of separate runs or of subsamples. values: a result at each, such
    as F or a mean. errors: their standard errors, positive.

        >>> import numpy as np
        >>> fit = fit_particle_number([50, 100, 200], [1.04, 1.02, 1.01], [1e-3] * 3)
        >>> print(f"{fit.limit.value:.3f} {fit.slope.value:.2f}", fit.recommend(0.01) > 200)
        1.000 2.00 True

    Raises ValueError with fewer than two sizes, or an error that is not positive."""
    n, y, e = (np.asarray(v, float) for v in (sizes, values, errors))
    if len(np.unique(n)) < 2 or np.any(n <= 0):
        raise ValueError(f"a fit in 1/N needs two different positive sizes, got {n.tolist()}")
    if not np.all((e > 0) & np.isfinite(e)):
        raise ValueError(f"standard errors must be positive and finite, got {e.tolist()}")
    limit, slope, chi_squared = _line(1 / n, y, e)
    return ParticleNumberFit(limit, slope, chi_squared, len(n) - 2)


def _line(x: np.ndarray, y: np.ndarray, e: np.ndarray) -> tuple[Estimate, Estimate, float]:
    """Intercept, slope and chi squared of weighted least squares."""
    design = np.stack([np.ones_like(x), x], axis=1) / e[:, None]
    scale = np.linalg.norm(design, axis=0)
    q, r = np.linalg.qr(design / scale)
    inverse = np.linalg.inv(r)
    found = inverse @ (q.T @ (y / e)) / scale
    errors = np.linalg.norm(inverse, axis=1) / scale
    chi_squared = float(np.sum((y / e - design @ found) ** 2))
    limit, slope = (Estimate(float(v), float(s)) for v, s in zip(found, errors, strict=True))
    return limit, slope, chi_squared
