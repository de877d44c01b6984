"""The symmetric step: the discretisation of mirror Langevin that adjusted dynamics take."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .transition import Move, Transition, add


class Symmetric(Transition):
    r"""One leapfrog step of Riemannian Hamiltonian dynamics in the metric of a mirror map.

        p = S(x) xi,                        S S^T = G(x)
        p <- p - (e/2) grad U(x),           U = V + log det G / 2,   e = sqrt(2h)
        (x, e p) -> (x', e p')              `MirrorMap.symmetric_step`
        p' <- p' - (e/2) grad U(x')

    A discretisation of the same diffusion as `Mirror`, dY = -grad V dt + sqrt(2 G) dB. Every line
    after the first keeps volume and is undone by the same line from (x', -p'), so the ratio of
    exp(-V(x) - |p|^2_{G^-1}/2 - log det G/2) at both ends is the Metropolis ratio (Girolami and
    Calderhead 2011; the third line takes the place of their implicit steps).

    Why: the noise of `Mirror` has the metric of one end only. Its log ratio then has a term of
    order sqrt(h) for each coordinate, whatever the target, and the step that is accepted shrinks
    as 1/d. Here the ratio is of order h^(3/2), and the step shrinks as d^(-1/3), as that of MALA
    does (Bou-Rabee, Donev and Vanden-Eijnden 2014 on both orders).
    Without adjustment its law has a bias of first order in h.

    map: as `MirrorMap.stepping` gives it."""

    @property
    def has_density(self) -> bool:
        return True

    @property
    def can_go_on(self) -> bool:
        return True

    def noise_like(self, x: PyTree) -> PyTree:
        return self.map.noise_like(x)

    def advance(self, x: PyTree, slope: PyTree, noise: PyTree, h: Float[Array, ""]) -> Move:
        metric, e = self.map.metric(x), jnp.sqrt(2 * h)
        p = metric.sqrt(noise)
        log_forward = -0.5 * (metric.inverse_norm_sq(p) + metric.log_det())
        return self._leap(Move(x, log_forward, momentum=p), slope, e, 0.5)

    def advance_again(self, move: Move, slope: PyTree, h: Float[Array, ""]) -> Move:
        return self._leap(move, slope, jnp.sqrt(2 * h), 1.0)

    def _leap(self, move: Move, slope: PyTree, e: Float[Array, ""], share: float) -> Move:
        p = self._kicked(move.position, move.momentum, slope, share * e)
        position, p = self.map.symmetric_step(move.position, jax.tree.map(lambda v: e * v, p))
        return Move(position, move.log_forward, momentum=jax.tree.map(lambda v: v / e, p))

    def log_backward(self, move: Move, slope: PyTree, h: Float[Array, ""]) -> Float[Array, ""]:
        x = move.position
        e = jnp.sqrt(2 * h)
        metric, p = self.map.metric(x), self._kicked(x, move.momentum, slope, 0.5 * e)
        return -0.5 * (metric.inverse_norm_sq(p) + metric.log_det())

    def _kicked(self, x: PyTree, p: PyTree, slope: PyTree, time: Float[Array, ""]) -> PyTree:
        force = add(slope, self.map.log_det_grad(x), 0.5)
        return add(p, force, -time)
