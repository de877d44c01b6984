"""The symmetric step: the discretisation of mirror Langevin that adjusted dynamics take."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..trees import add
from .transition import Move, Share, Transition

#: How far a truncated slope carries a point at the most, in lengths sqrt(d).
REACH = 3.0


class Symmetric(Transition):
    r"""One leapfrog step of Riemannian Hamiltonian dynamics in the metric of a mirror map.

        p = S(x) xi,                        S S^T = G(x)
        p <- p - (e/2) f(x),                e = sqrt(2h)
        (x, e p) -> (x', e p')              `MirrorMap.symmetric_step`
        p' <- p' - (e/2) f(x')

        f = grad V + grad log det G / 2

    A discretisation of the same diffusion as `Mirror`, dY = -grad V dt + sqrt(2 G) dB. Every line
    after the first keeps volume and is undone by the same line from (x', -p'), so the ratio of
    exp(-V(x) - |p|^2_{G^-1}/2 - log det G/2) at both ends is the Metropolis ratio (Girolami and
    Calderhead 2011; the third line takes the place of their implicit steps).

    Why: the noise of `Mirror` has the metric of one end only. Its log ratio then has a term of
    order sqrt(h) for each coordinate, whatever the target, and the step that is accepted shrinks
    as 1/d. Here the ratio is of order h^(3/2), and the step shrinks as d^(-1/3), as that of MALA
    does (Bou-Rabee, Donev and Vanden-Eijnden 2014 on both orders).
    Without adjustment its law has a bias of first order in h.

    truncated: c grad V takes the place of grad V, for points of d coordinates with

        c = min(1, REACH sqrt(d) max(1, e) / |h grad V|_{G^-1}).

    It is for many points that start in a strong field. Where that fades within a step, a full kick
    gains more energy than the fall gives, and the point stays where it is; the others bring the
    mean acceptance to its target all the same, with longer and longer steps that end at the
    boundary. A kick may be by any function of the point, and the law is the same (Roberts and
    Tweedie 1996 truncate drifts in this way). In equilibrium a slope moves a point by about
    h sqrt(d), which is far less at a step that is accepted.

    map: as `MirrorMap.stepping` gives it."""

    truncated: bool = eqx.field(default=False, static=True)

    @property
    def has_density(self) -> bool:
        return True

    @property
    def has_momentum(self) -> bool:
        return True

    def noise_like(self, x: PyTree) -> PyTree:
        return self.map.noise_like(x)

    def drift(self, x: PyTree, slope: PyTree, h: Float[Array, ""]) -> PyTree:
        """Where a step without noise goes under all of the slope, truncated or not: two fields of
        which both are truncated would seem to give the same answer."""
        ahead, _ = self.map.symmetric_step(x, jax.tree.map(lambda f: -h * f, self._force(x, slope)))
        return ahead

    def advance(self, x: PyTree, slope: PyTree, noise: PyTree, h: Float[Array, ""]) -> Move:
        move = self.begin(x, self.momentum(x, noise))
        return self.glide(self.kick(move, slope, h, 0.5), h, 1.0)

    def momentum(self, x: PyTree, noise: PyTree) -> PyTree:
        return self.map.metric(x).sqrt(noise)

    def begin(self, x: PyTree, p: PyTree) -> Move:
        return Move(x, self._log_density(x, p), momentum=p)

    def kick(self, move: Move, slope: PyTree, h: Float[Array, ""], share: Share) -> Move:
        x, e = move.position, jnp.sqrt(2 * h)
        if self.truncated:
            d = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.noise_like, x)))
            length = h * jnp.sqrt(self.map.metric(x).inverse_norm_sq(slope))
            most = REACH * d**0.5 * jnp.maximum(1, e)
            c = jnp.where(length > most, most / length, 1)
            slope = jax.tree.map(lambda g: c * g, slope)
        return move._replace(momentum=add(move.momentum, self._force(x, slope), -share * e))

    def glide(self, move: Move, h: Float[Array, ""], share: Share) -> Move:
        time = share * jnp.sqrt(2 * h)
        reach = jax.tree.map(lambda v: time * v, move.momentum)
        x, reach = self.map.symmetric_step(move.position, reach)
        return move._replace(position=x, momentum=jax.tree.map(lambda v: v / time, reach))

    def refresh(self, move: Move, time: Float[Array, ""], noise: PyTree) -> Move:
        metric = self.map.metric(move.position)
        left, fresh, drawn = jnp.exp(-time), jnp.sqrt(-jnp.expm1(-2 * time)), metric.sqrt(noise)
        p = jax.tree.map(lambda old, new: left * old + fresh * new, move.momentum, drawn)
        # What energy it brings or takes is no error of the step: either momentum has its law.
        brought = (metric.inverse_norm_sq(p) - metric.inverse_norm_sq(move.momentum)) / 2
        return move._replace(momentum=p, log_forward=move.log_forward - brought)

    def log_backward(self, move: Move, slope: PyTree, h: Float[Array, ""]) -> Float[Array, ""]:
        return self._log_density(move.position, self.kick(move, slope, h, 0.5).momentum)

    def _log_density(self, x: PyTree, p: PyTree) -> Float[Array, ""]:
        metric = self.map.metric(x)
        return -0.5 * (metric.inverse_norm_sq(p) + metric.log_det())

    def _force(self, x: PyTree, slope: PyTree) -> PyTree:
        return add(slope, self.map.log_det_grad(x), 0.5)
