"""How far one chain's measure is above the minimum: the upper half of the entropy sandwich."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ..diagnostics import Estimate, Minorant, optimality_gap
from .proximal import Block, FrozenModel

#: Points that densities are estimated from.
POINTS = 5_000
#: Shares of mu_hat in the mixtures at which F is linearised.
SHARES = (0.0625, 0.125, 0.25, 0.5)
#: KL(mu | mu_hat) in nats, from which on draws of mu_hat say little of the laws in between.
FAR = 1.0


def gap(
    model: FrozenModel,
    tangent: Any,
    blocks: Block,
    others: Block,
    step_size: float,
    key: PRNGKeyArray,
) -> tuple[Estimate, Estimate]:
    """The bound on L(mu) - L(mu*), and KL(mu | mu_hat) in nats.

    The bound is the least over mixtures of mu and mu_hat, see `optimality_gap`. The Gibbs density
    of a mixture is seen by reweighting draws of mu_hat. Where mu_hat is far from mu that shows none
    of them, and two are drawn from.

    tangent: of F at mu. blocks: the particles. others: draws of mu_hat, as many. step_size: that
    these were drawn with, the first to try."""
    mixtures = _Mixtures(model, blocks, others)
    minorants = [mixtures.minorant(at, 0.0, others) for at in (tangent, mixtures.own)]
    minorants += [mixtures.minorant(*mixtures.at(share), others) for share in SHARES]
    bound, at_mu = (mixtures.bound(others, among) for among in (minorants, minorants[:1]))
    divergence = Estimate(at_mu.value / model.temperature, at_mu.error / model.temperature)
    if FAR < divergence.value < np.inf:
        bound = min(bound, *_drawn(mixtures, step_size, key))
    return bound, divergence


class _Mixtures:
    """Of the particles and as many draws of mu_hat."""

    def __init__(self, model: FrozenModel, blocks: Block, others: Block) -> None:
        self.model, self.blocks, self.others = model, blocks, others
        self.dtype = jax.tree.leaves(blocks)[0].dtype
        (self.value, self.own), (_, self.other) = (self._linearized(s) for s in (0.0, 1.0))

    def _linearized(self, share: float) -> tuple[float, Any]:
        value, tangent = self.model.mixture(
            self.blocks, self.others, jnp.asarray(share, self.dtype)
        )
        return float(value), tangent

    def at(self, share: float) -> tuple[Any, float]:
        """The tangent at nu = (1 - share) mu + share mu_hat, and the excess of `Minorant`."""
        value, tangent = self._linearized(share)
        mean = [
            float(jnp.mean(self.model.energies(tangent, side)[0]))
            for side in (self.blocks, self.others)
        ]
        return tangent, self.value - value - share * (mean[0] - mean[1])

    def minorant(self, tangent: Any, excess: float, reference: Block) -> Minorant:
        ours, theirs = (self.model.energies(tangent, b)[1] for b in (self.blocks, reference))
        return Minorant(excess, _flat(ours), _flat(theirs))

    def bound(self, reference: Block, minorants: list[Minorant]) -> Estimate:
        """reference: draws of the Gibbs density of the first of `minorants`."""
        z, other_z = (self.model.energies(self.own, b)[2] for b in (self.blocks, reference))
        count, size = z.shape[:2]
        keep = min(size, POINTS)
        return optimality_gap(
            _flat(z),
            _flat(other_z),
            minorants,
            self.model.temperature,
            particles=np.tile(np.arange(keep), count),
            draws=np.repeat(np.arange(count), keep),
        )

    def pull(self, block: Block) -> float:
        """The mean of dF(mu_hat) - dF(mu) over points."""
        there, here = (self.model.energies(t, block)[0] for t in (self.other, self.own))
        return float(jnp.mean(there - here))


def _drawn(mixtures: _Mixtures, step_size: float, key: PRNGKeyArray) -> Iterator[Estimate]:
    """The bounds at two mixtures, each from draws of its own Gibbs density: half and half, and
    where the slope of the bound in the share vanishes by the secant.

    For a quadratic F that slope is <dF(mu_hat) - dF(mu), nu - nu_hat>."""
    model, share = mixtures.model, 0.5
    ends = [mixtures.pull(block) for block in (mixtures.blocks, mixtures.others)]
    begin = ends[0] - ends[1]
    for walk_key in jax.random.split(key):
        tangent, excess = mixtures.at(share)
        drawn = model.draw(tangent, mixtures.blocks, step_size, walk_key).blocks
        found = mixtures.bound(drawn, [mixtures.minorant(tangent, excess, drawn)])
        # What overflowed is no bound.
        yield found if np.isfinite(found.value) else Estimate(np.inf, np.nan)
        slope = (1 - share) * ends[0] + share * ends[1] - mixtures.pull(drawn)
        share = min(1.0, 0.5 * begin / (begin - slope)) if begin < min(slope, 0.0) else 1.0


def _flat(values: Any) -> Float[np.ndarray, "n ..."]:
    # Particles are exchangeable: with very many, the first ones are a sample.
    kept = np.asarray(values)[:, :POINTS]
    return kept.reshape(-1, *kept.shape[2:])
