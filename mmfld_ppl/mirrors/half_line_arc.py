"""Half-lines for symmetric steps: logarithmic below a scale, linear above it."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax.scipy.special import spence
from jaxtyping import Array, Bool, DTypeLike, Float

from .arc_length import ArcLength
from .base import Event, MirrorMap, Moments, Observation, Scalar, interpolate_scale

#: A scale that leaves no linear part.
UNTAILED = 1e6
#: Candidates for the scale, in root mean squares of the distance.
LADDER = (0.125, 0.25, 0.5, 1.0, 2.0, UNTAILED)


class SoftplusHalfLine(ArcLength):
    r"""t = log(e^z - 1),  z = u/s,  u = sign (x - bound) > 0, whose inverse is u = s softplus(t).

    About log z where z is small, z where it is large. phi = w (z^2/2 + Li_2(e^-z) -
    log(1 - e^-z)), a log barrier and a quadratic but for a bounded part. Self-concordant with
    M = 1 / sqrt(w).

    Warm-up chooses s among candidates, the one in whose t the law is nearest to a Gaussian: where
    the product of variance and Fisher information is least (1 for a Gaussian and more for any
    other law). Heavy tails so get no linear part, and what falls off as e^-u one of its scale.

    anchor: root mean square of u in the last window, which the candidates are multiples of."""

    weight: Float[Array, ""]
    bound: Float[Array, ""]
    sign: Float[Array, ""]
    scale: Float[Array, ""]
    anchor: Float[Array, ""]

    @classmethod
    def of(
        cls, bound: Float[Array, ""], sign: Float[Array, ""], scale: Float[Array, ""]
    ) -> SoftplusHalfLine:
        """Unit weight."""
        return cls(jnp.ones_like(scale), bound, sign, scale, anchor=scale)

    @property
    def self_concordance(self) -> Scalar:
        return 1 / jnp.sqrt(self.weight)

    def _distance(self, x: Event) -> Scalar:
        return self.sign * (x - self.bound)

    def potential(self, x: Event) -> Scalar:
        u = self._distance(x)
        z = u / self.scale
        return self.weight * (
            0.5 * jnp.square(z) + spence(-jnp.expm1(-z)) - _log_share(u, self.scale)
        )

    def slack(self, x: Event) -> Scalar:
        return self._distance(x)

    def arc(self, x: Event) -> Scalar:
        return _arc(self._distance(x), self.scale)

    def point(self, t: Scalar) -> Event:
        return self.bound + self.sign * _from_arc(t, self.scale)

    def speed(self, x: Event) -> Scalar:
        return self.sign * _speed(self._distance(x), self.scale)

    def log_det_grad(self, x: Event) -> Event:
        return -2 * self.sign * _bend(self._distance(x), self.scale)

    def observe(self, x: Event) -> Observation:
        u = self._distance(x)
        arcs = _arc(u, self._candidates())
        # The distance itself goes along for the next anchor.
        return Observation(jnp.append(arcs, u), jnp.append(jnp.ones_like(arcs), jnp.square(u)))

    def pull_slope(self, x: Event, slope: Event) -> Event:
        u, scales = self._distance(x), self._candidates()
        scores = (self.sign * slope - _bend(u, scales)) / _speed(u, scales)
        return jnp.append(scores, jnp.zeros_like(u))

    def _candidates(self) -> Float[Array, " k"]:
        """The present scale, and the others."""
        return jnp.append(self.scale, self.anchor * jnp.asarray(LADDER, self.anchor.dtype))

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        untailed = dataclasses.replace(self, scale=jnp.full_like(self.scale, UNTAILED))
        return super(SoftplusHalfLine, untailed).adaptable(dtype)

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        ratio = moments.ratio()[:-1]
        if moments.variance is None or moments.score_variance is None:
            return dataclasses.replace(self, weight=interpolate_scale(self.weight, ratio[0], trust))
        product = (moments.variance * moments.score_variance)[:-1]
        usable = jnp.isfinite(product) & (product > 0)
        best = jnp.argmin(jnp.where(usable, product, jnp.inf))
        chosen = jnp.where(tail_trust(trust) > 0, best, 0)
        weight = interpolate_scale(self.weight, ratio[chosen], jnp.where(chosen == 0, trust, 1))
        rms = jnp.sqrt(moments.local_variance[-1])
        anchor = interpolate_scale(self.anchor, rms, jnp.ones_like(trust))
        return SoftplusHalfLine(weight, self.bound, self.sign, self._candidates()[chosen], anchor)


def tail_trust(trust: Scalar) -> Scalar:
    """How far to move a tail's scale where weights are moved by `trust`.

    Not at all by short windows: a tail that is set while the points still travel holds them back,
    and none at all costs little."""
    return jnp.maximum(0, 5 * trust - 4)


def _is_small(u: Float[Array, "..."], scale: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Whether rounding sees no difference between u and s (e^(u/s) - 1).

    u is then used as it is: u / s is a number that may be too small to hold."""
    return u < jnp.finfo(u.dtype).eps * scale


def _log_share(u: Scalar, scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - e^(-u/s))."""
    small = _is_small(u, scale)
    share = jnp.where(small, u, -jnp.expm1(-u / scale))
    return jnp.log(share) - jnp.where(small, jnp.log(scale), 0)


def _arc(u: Scalar, scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(e^(u/s) - 1), without overflow or cancellation."""
    return u / scale + _log_share(u, scale)


def _from_arc(t: Scalar, scale: Float[Array, ""]) -> Scalar:
    """The u of t, s log(1 + e^t)."""
    small = t < jnp.log(jnp.finfo(t.dtype).eps)
    power = jnp.exp(jnp.where(small, jnp.log(scale), 0) - jnp.abs(t))
    return jnp.where(small, power, scale * (jnp.maximum(t, 0) + jnp.log1p(power)))


def _speed(u: Scalar, scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """dt/du."""
    return 1 / jnp.where(_is_small(u, scale), u, -scale * jnp.expm1(-u / scale))


def _bend(u: Scalar, scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """-d/du log(dt/du)."""
    return 1 / jnp.where(_is_small(u, scale), u, scale * jnp.expm1(u / scale))
