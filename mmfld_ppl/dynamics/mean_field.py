"""Mean-field Langevin dynamics of N interacting particles, adjusted or not."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, PyTree

from ..linalg import inner
from ..trees import add, all_finite, select, standard_normal
from .culprit import Culprit, locate
from .field import Felt, Field, Frozen
from .langevin import acceptances, require_density, trapezoidal_rise
from .momentum import at_rest, going_on, kept, require_friction, require_same, set_out, turned
from .transition import Transition

#: Particles whose answers tell that of all: they are exchangeable.
ANSWERING = 256


class MeanFieldState(NamedTuple):
    """particles: N points, stacked along the leading axis. frozen: F linearised at them.
    felt: the field at the particles under that linearisation. momentum: of each particle, () where
    none is kept."""

    particles: PyTree
    frozen: Frozen
    felt: Felt
    momentum: PyTree = ()

    def at_rest(self, where: Bool[Array, ""]) -> MeanFieldState:
        """With momenta that are drawn anew, where that holds."""
        return self._replace(momentum=at_rest(self.momentum, where))


class MeanFieldInfo(NamedTuple):
    """accept_prob: mean over the particles of the acceptance probability; the share of moves that
    are finite when unadjusted, and 0 where the measure was refused as a whole. judged: the same, as
    in `LangevinInfo`.
    collective_ratio: the ratio r of `collective_ratio`; beyond 1 the particles overshoot together.
    NaN where the field draws minibatches, whose noise would stand for an answer, and where the
    measure was refused as a whole.
    nonfinite: number of particles whose move was refused since it ended where something is not
    finite. culprit: where that was; of no unit where F alone was not finite."""

    accept_prob: Float[Array, ""]
    judged: Float[Array, ""]
    collective_ratio: Float[Array, ""]
    nonfinite: Int[Array, ""]
    culprit: Culprit


class MeanFieldLangevin(eqx.Module):
    r"""Mirror mean-field Langevin dynamics for  min F(mu) + temperature * KL(mu | base).

    Every particle makes one move of the transition under V = (1/temperature) dF/dmu(mu_k) -
    log base. With `metropolize` each particle is accepted or refused against its own proximal
    Gibbs density exp(-V), F being frozen at mu_k. The acceptance does not fall with N, and a
    stationary mu obeys mu = mu_hat(mu), the paper's optimality condition: the step-size bias of
    its theorem 4.2 is absent and the O(1/N) term alone remains. Without `metropolize`, with a
    `Mirror` transition, this is algorithm 1 of Gu and Kim 2025.

    With a `friction` gamma the particles keep their momenta p from step to step. This is kinetic
    (underdamped) mean-field Langevin dynamics (Kazeykina, Ren, Tan and Yang 2020; Fu and Wilson
    2023) in the metric of the mirror map,

        dx = dH/dp dt,    dp = -dH/dx dt - gamma p dt + sqrt(2 gamma) S(x) dB,

        H = V(x) + |p|^2_{G(x)^-1} / 2 + log det G(x) / 2,        S S^T = G,

    a step taking the time e = sqrt(2h): half a kick by the field, half the way, friction and noise
    that leave exp(-gamma e) of p, the other half of the way, half a kick (the order BAOAB of
    Leimkuhler and Matthews 2013); and p reversed where that is refused (Horowitz 1991). Its
    acceptance is by the error in H of kicks and ways alone, so that under a frozen F the law
    exp(-H) is exact as before, and mu obeys the same condition. The kick that ends a step is by the
    field of the new measure: all particles together make the same splitting, whose positions have
    no bias where forces are linear. That is what the means of the particles do as one, which no
    acceptance of a single particle judges. What momenta are for: F of large curvature L keeps steps
    short (`collective_ratio`), and what F does not see then takes of the order of L steps to relax
    without momenta and sqrt(L) with them.

    field: the forces. transition: how one particle moves. step_size: h = temperature * eta in the
    paper's symbols. next_temperature: the temperature of the step after this one, where a
    schedule changes it. friction: gamma; None where nothing is kept.
    Cost: one linearisation, and the first variation at N particles three times, twice with its
    gradient: at the proposals, for the ratio and to refuse what is not finite; under the new
    linearisation, at the particles and, without the gradient, where they were. Two gradients more
    where the temperature changes. The ratio takes two drifts of some particles besides, momenta
    that are kept another half of the way, and a metric there and where a step ends. Under a fixed
    field of one temperature: no linearisation, and one gradient less."""

    field: Field
    transition: Transition
    step_size: Float[Array, ""] | float
    temperature: Float[Array, ""] | float
    next_temperature: Float[Array, ""] | float | None = None
    metropolize: bool = eqx.field(default=True, static=True)
    friction: float | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        require_density(self.metropolize, self.transition)
        require_friction(self.friction, self.metropolize, self.transition)

    def init(
        self, particles: PyTree, key: PRNGKeyArray, before: MeanFieldState | None = None
    ) -> MeanFieldState:
        """The state at these particles, at rest; with the momenta of `before`, and from where it
        left solvers, if that is given."""
        carry = self.field.init_carry(particles) if before is None else before.frozen.carry
        state = self._settle(particles, carry, self.temperature, key)
        momentum = None if before is None else before.momentum
        return state._replace(momentum=going_on(self.friction, particles, momentum))

    def step(
        self, key: PRNGKeyArray, state: MeanFieldState
    ) -> tuple[MeanFieldState, MeanFieldInfo]:
        """One move of every particle."""
        key_noise, key_accept, key_field = jax.random.split(key, 3)
        x, felt, frozen = state.particles, state.felt, state.frozen
        dtype = felt.variation.dtype
        n = felt.variation.shape[0]
        h = jnp.asarray(self.step_size, dtype)
        noise_like = jax.eval_shape(jax.vmap(self.transition.noise_like), x)
        noise = standard_normal(key_noise, noise_like)
        require_same(self.friction, state.momentum)
        move, momentum = jax.vmap(set_out, (None, 0, 0, 0, 0, None, None))(
            self.transition, x, felt.slope, state.momentum, noise, h, self.friction
        )
        proposed = self.field.feel(frozen, move.position, self.temperature, key_field)
        finite = jax.vmap(all_finite)((move.position, proposed))
        finite &= jax.vmap(self.transition.inside)(move.position) > 0
        accept_prob = judged = finite.astype(dtype)
        if self.metropolize:
            backward = jax.vmap(self.transition.log_backward, (0, 0, None))(move, proposed.slope, h)
            energy, energy_new = self._energy(felt), self._energy(proposed)
            rise = jax.vmap(trapezoidal_rise)(x, move.position, felt.slope, proposed.slope)
            log_ratio = energy - energy_new + backward - move.log_forward
            accept_prob, judged = acceptances(log_ratio, finite, energy, energy_new, rise)
        accept = jax.random.uniform(key_accept, (n,), dtype) < accept_prob
        x_new = select(accept, move.position, x)
        following = self.temperature if self.next_temperature is None else self.next_temperature
        if self.field.fixed and self.next_temperature is None:
            new = MeanFieldState(x_new, frozen, select(accept, proposed, felt))
        else:
            new = self._settle(x_new, frozen.carry, following, key_field)
        # A measure at which F or the field is not finite is refused as a whole.
        usable = all_finite((new.frozen.value, new.felt))
        if self.field.stochastic:
            ratio = jnp.full((), jnp.nan, dtype)
        else:
            ratio = self._collective_ratio(state, proposed, accept, new, key_field)
            ratio = jnp.where(usable, ratio, jnp.nan)
        if self.next_temperature is not None:
            # Where it is refused the particles stay, and feel another temperature all the same.
            state = state._replace(felt=self.field.feel(frozen, x, following, key_field))
        if self.friction is not None:
            after = jax.vmap(kept, (None, 0, 0, 0, 0, None))(
                self.transition, move, new.felt.slope, momentum, accept, h
            )
            new = new._replace(momentum=after)
            state = state._replace(momentum=jax.vmap(turned)(momentum))
        info = MeanFieldInfo(
            jnp.where(usable, jnp.mean(accept_prob), 0),
            jnp.where(usable, jnp.mean(judged), 0),
            ratio,
            jnp.where(usable, jnp.sum(~finite), n),
            locate(
                jnp.where(usable, ~finite, ~jax.vmap(all_finite)(new.felt)),
                move.position,
                select(usable, proposed.slope, new.felt.slope),
            ),
        )
        return select(usable, new, state), info

    def _settle(
        self, x: PyTree, carry: PyTree, temperature: ArrayLike, key: PRNGKeyArray
    ) -> MeanFieldState:
        frozen = self.field.linearize(x, carry, key)
        return MeanFieldState(x, frozen, self.field.feel(frozen, x, temperature, key))

    def _collective_ratio(
        self,
        old: MeanFieldState,
        proposed: Felt,
        accept: Bool[Array, " n"],
        new: MeanFieldState,
        key: PRNGKeyArray,
    ) -> Float[Array, ""]:
        felt = new.felt
        if self.next_temperature is not None:
            felt = self.field.feel(new.frozen, new.particles, self.temperature, key)
        before = select(accept, proposed.slope, old.felt.slope)
        stride = max(1, len(accept) // ANSWERING)
        x, before, after = jax.tree.map(
            lambda leaf: leaf[::stride], (new.particles, before, felt.slope)
        )
        drift = jax.vmap(self.transition.drift, (0, 0, None))
        h = jnp.asarray(self.step_size, felt.variation.dtype)
        taken_back = add(drift(x, before, h), drift(x, after, h), -1)
        answers = jax.vmap(inner)(add(after, before, -1), taken_back)
        behind, _ = self.field.potentials(new.frozen, old.particles, key)
        corners = (felt.variation, proposed.variation), (behind, old.felt.variation)
        corners = jnp.where(accept, jnp.asarray(corners), 0) / self.temperature
        # Where nothing moved, solvers that go on from where they were have changed the field.
        answers = jnp.where(jnp.any(accept), answers, 0)
        return collective_ratio(answers, corners)

    def _energy(self, felt: Felt) -> Float[Array, " n"]:
        return felt.variation / self.temperature - felt.log_base


def collective_ratio(
    answers: Float[Array, " k"], corners: Float[Array, "2 2 n"]
) -> Float[Array, ""]:
    r"""The share of a collective displacement that the drift of the next step takes back.

        r = sum_i <grad u(x_i'), d_mu(x_i') - d_mu'(x_i')> / sum_i (u(x_i') - u(x_i)),

    u = V_mu' - V_mu, for particles that went from x_i to x_i', d_mu(x) being where a step without
    noise takes x under V_mu; 0 where nothing answers, NaN where u or a drift is not finite. Every
    particle answers the same field at once, and each acceptance is blind to that: the collective
    modes (the mean, say) can overshoot although every particle is accepted. Short steps answer by
    h |grad u|^2 in G^-1. Long ones do not: at the ends of an interval, where that norm vanishes,
    all particles may change ends.

    Where F is quadratic, and steps are short, grad u = K d for the step d of all and K = N /
    temperature times the mixed derivatives of its second variation, and r = h |K d|^2_{G^-1} /
    <K d, d>, the quotient of Barzilai and Borwein 1988: a mean of the eigenvalues c of h G^-1 K, by
    what the step moved their modes. A step corrects a mode by the share c of what it is off, times
    the share of the particles that are accepted, and by what the base adds: beyond 1 it oscillates,
    without momenta with up to 2 / (2 - c) times the variance of short steps, and from 2 on it runs
    away. The denominator is N / temperature times the symmetrised Bregman divergence of F between
    both measures: positive where F is convex, negative where it is concave along the step.

    answers: the terms of the numerator, of all particles or evenly of some. corners: V of mu' and
    mu (second axis) at x' and x (first), up to what all share, and 0 for particles that stayed: the
    divergence is known up to their rounding."""
    (there_new, there), (here_new, here) = corners
    divergence = jnp.sum((there_new - there) - (here_new - here))
    largest = jnp.maximum(jnp.max(jnp.abs(corners)), 1)
    rounding = largest * jnp.linalg.norm(corners / largest) * jnp.finfo(corners.dtype).eps
    answer = corners.shape[-1] * jnp.mean(answers)
    ratio = answer / (divergence + jnp.copysign(rounding, divergence))
    return jnp.where(jnp.isfinite(divergence), jnp.where(answer == 0, 0, ratio), jnp.nan)
