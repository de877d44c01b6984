"""One move of one unit: how a point answers a force and a noise.

A transition is deterministic; the samplers draw its noise. It knows nothing of the target but the
slope (gradient of the potential V) at the point.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..arrays import is_count
from ..mirrors import MirrorMap
from ..trees import add

#: A fraction of a step.
Share = Float[Array, ""] | float


class Move(NamedTuple):
    """A proposed move of one unit.

    position: the proposed point x'. log_forward: log density of having proposed it, in dual
    coordinates and relative to the volume there, up to a constant. dual, dual_position: the dual
    points y and y' of both ends. momentum: at the far end of a symmetric step. All but the position
    are empty where a transition has no use for them."""

    position: PyTree
    log_forward: Any = None
    dual: PyTree = None
    dual_position: PyTree = None
    momentum: PyTree = None


class Transition(eqx.Module):
    """A way to move one unit: one event, or a pytree of the events that are accepted together.

    A step takes x, the slope of V there, noise and h; `Langevin` and `MeanFieldLangevin` draw the
    noise, and accept or refuse. A subclass owes `noise_like` and `advance`. One that has a density,
    and so can be adjusted, says so by `has_density` and implements `log_backward`; one whose moves
    have a momentum, which can go on for several steps or be kept for the next, says so by
    `has_momentum` and implements `momentum`, `begin`, and what steps are made of: `kick`, `glide`
    and `refresh`. Each states the law that its unadjusted steps have, and their bias.

    map: of the set on which the points are."""

    map: MirrorMap

    @property
    def has_density(self) -> bool:
        """Whether `log_backward` is available, and with it a Metropolis ratio."""
        return False

    @property
    def has_momentum(self) -> bool:
        """Whether `momentum`, `begin`, `kick`, `glide` and `refresh` are available."""
        return False

    @abc.abstractmethod
    def noise_like(self, x: PyTree) -> PyTree:
        """Zeros of the shape of the standard normal noise that `advance` takes."""

    @abc.abstractmethod
    def advance(self, x: PyTree, slope: PyTree, noise: PyTree, h: Float[Array, ""]) -> Move:
        """The move from x under the slope of V at x, with step h."""

    def inside(self, x: PyTree) -> Float[Array, ""]:
        """Positive where x is a valid point."""
        return self.map.slack(x)

    def drift(self, x: PyTree, slope: PyTree, h: Float[Array, ""]) -> PyTree:
        """Where a step without noise goes."""
        nothing = jax.tree.map(jnp.zeros_like, self.noise_like(x))
        return self.advance(x, slope, nothing, h).position

    def log_backward(self, move: Move, slope: PyTree, h: Float[Array, ""]) -> Float[Array, ""]:
        """Log density of proposing the old point from `move.position`, whose slope is given, in
        the same units as `log_forward`."""
        raise NotImplementedError(f"{type(self).__name__} has no transition density")

    def momentum(self, x: PyTree, noise: PyTree) -> PyTree:
        """A momentum at x drawn by standard normal noise."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def begin(self, x: PyTree, p: PyTree) -> Move:
        """The move from x with momentum p, before its first step."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def kick(self, move: Move, slope: PyTree, h: Float[Array, ""], share: Share) -> Move:
        """The move with its momentum after this share of a step's time in the force where it is,
        the slope of V there being given."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def glide(self, move: Move, h: Float[Array, ""], share: Share) -> Move:
        """The move after this share of a step's time without a force."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def refresh(self, move: Move, time: Float[Array, ""], noise: PyTree) -> Move:
        """The move with e^-time of its momentum and sqrt(1 - e^(-2 time)) of a new one."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")


class Mirror(Transition):
    r"""Mirror Langevin step (Gu and Kim 2025, algorithm 1; Zhang, Peyre, Fadili and Pereyra 2020).

        y' = grad phi(x) - h grad V(x) + diffusion for time h,    x' = grad phi*(y')

    diffusion is the discretisation of dY = sqrt(2 G) dB:
      "one-step"  sqrt(2h) S(x) xi with S S^T = G(x): the only one with a density;
      k           k Euler steps of length h/k, G evaluated anew at each;
      "exact"     the map's closed form.
    The drift is one explicit step under each. Where the slope is unbounded in the metric of the
    map, as under an entropy where the density vanishes at the boundary (on an orthant and like x:
    y' = log x + h/x), no step is short enough for it, and an exact diffusion does not help."""

    diffusion: str | int = eqx.field(
        default="one-step", static=True, converter=lambda d: int(d) if is_count(d) else d
    )

    def __check_init__(self):
        check_diffusion(self.diffusion)
        if self.diffusion == "exact" and not self.map.has_exact_diffusion:
            raise ValueError(
                f"diffusion='exact' needs a map with a closed-form diffusion, and "
                f"{self.map.describe()} has none; use diffusion='one-step' or a number of sub-steps"
            )

    @property
    def has_density(self) -> bool:
        return self.diffusion == "one-step"

    def noise_like(self, x: PyTree) -> PyTree:
        if self.diffusion == "exact":
            return self.map.diffusion_noise_like(x)
        noise = self.map.noise_like(x)
        if self.diffusion == "one-step":
            return noise
        k = self.diffusion
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (k, *leaf.shape)), noise)

    def drift(self, x: PyTree, slope: PyTree, h: Float[Array, ""]) -> PyTree:
        return self.map.conjugate_grad(add(self.map.grad(x), slope, -h), x)

    def advance(self, x: PyTree, slope: PyTree, noise: PyTree, h: Float[Array, ""]) -> Move:
        y = self.map.grad(x)
        drifted = add(y, slope, -h)
        if self.diffusion == "one-step":
            metric = self.map.metric(x)
            kick = metric.sqrt(noise)
            y_new = add(drifted, kick, jnp.sqrt(2 * h))
            log_forward = -0.5 * metric.inverse_norm_sq(kick) - 1.5 * metric.log_det()
            return Move(self.map.conjugate_grad(y_new, x), log_forward, y, y_new)
        if self.diffusion == "exact":
            half = self.map.conjugate_grad(drifted, x)
            return Move(self.map.diffuse(half, noise, h))

        k = jax.tree.leaves(noise)[0].shape[0]

        def substep(carry, xi):
            y, x = carry
            y = add(y, self.map.metric(x).sqrt(xi), jnp.sqrt(2 * h / k))
            return (y, self.map.conjugate_grad(y, x)), None

        start = drifted, self.map.conjugate_grad(drifted, x)
        (_, x_new), _ = jax.lax.scan(substep, start, noise)
        return Move(x_new)

    def log_backward(self, move: Move, slope: PyTree, h: Float[Array, ""]) -> Float[Array, ""]:
        # In dual coordinates the target has density e^-V / det G and the proposal is Gaussian
        # with covariance 2 h G: together the powers 1 and 1/2 of det G make 3/2.
        metric = self.map.metric(move.position)
        residual = add(add(move.dual, move.dual_position, -1), slope, h)
        return -metric.inverse_norm_sq(residual) / (4 * h) - 1.5 * metric.log_det()


def check_diffusion(diffusion: str | int) -> None:
    """Raises unless `diffusion` is "one-step", "exact" or a positive number of sub-steps."""
    if diffusion in ("one-step", "exact"):
        return
    if is_count(diffusion):
        return
    raise ValueError(
        f"diffusion must be 'one-step', 'exact' or a positive number of sub-steps, got "
        f"{diffusion!r}"
    )
