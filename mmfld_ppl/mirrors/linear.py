"""Linear images of other maps."""

from __future__ import annotations

import abc
import dataclasses

import equinox as eqx
import jax
from jaxtyping import DTypeLike, PyTree

from .base import Event, MirrorMap, Moments, Observation, Scalar
from .metric import Metric


class LinearImage(MirrorMap):
    r"""phi(x) = psi(u) for x = c + L u, with u an event of a base map psi, perhaps a pytree.

    With P the inverse of L on its image: grad phi = P^T grad psi, grad phi*(y) = c + L grad
    psi*(L^T y), G = P^T G_u P. L has full column rank; where its image is not the whole space,
    dual vectors are classes modulo what L^T takes to zero. Self-concordance, exact diffusions and
    adaptation are those of the base, in its coordinates u.

    A subclass implements `forward` and `inverse`; their transposes come from automatic
    differentiation."""

    base: eqx.AbstractVar[MirrorMap]

    @abc.abstractmethod
    def forward(self, u: Event) -> Event:
        """c + L u."""

    @abc.abstractmethod
    def inverse(self, x: Event) -> Event:
        """P (x - c)."""

    @property
    def self_concordance(self) -> float | Scalar:
        return self.base.self_concordance

    @property
    def has_exact_diffusion(self) -> bool:
        return self.base.has_exact_diffusion

    @property
    def has_symmetric_step(self) -> bool:
        return self.base.has_symmetric_step

    def potential(self, x: Event) -> Scalar:
        return self.base.potential(self.inverse(x))

    def slack(self, x: Event) -> Scalar:
        return self.base.slack(self.inverse(x))

    def grad(self, x: Event) -> Event:
        u, pull = jax.vjp(self.inverse, x)
        return pull(self.base.grad(u))[0]

    def conjugate_grad(self, y: Event, start: Event) -> Event:
        u = self.inverse(start)
        pulled = jax.vjp(self.forward, u)[1](y)[0]
        return self.forward(self.base.conjugate_grad(pulled, u))

    def metric(self, x: Event) -> Metric:
        u = self.inverse(x)
        return LinearImageMetric(self, self.base.metric(u), x, u)

    def noise_like(self, x: Event) -> PyTree:
        return self.base.noise_like(self.inverse(x))

    def diffuse(self, x: Event, noise: PyTree, time: Scalar) -> Event:
        return self.forward(self.base.diffuse(self.inverse(x), noise, time))

    def diffusion_noise_like(self, x: Event) -> PyTree:
        return self.base.diffusion_noise_like(self.inverse(x))

    def symmetric_step(self, x: Event, momentum: Event) -> tuple[Event, Event]:
        u = self.inverse(x)
        u, momentum = self.base.symmetric_step(u, jax.vjp(self.forward, u)[1](momentum)[0])
        return self.forward(u), jax.vjp(self.inverse, x)[1](momentum)[0]

    def stepping(self) -> MirrorMap:
        return dataclasses.replace(self, base=self.base.stepping())

    def restore(self, x: Event) -> Event:
        return self.forward(self.base.restore(self.inverse(x)))

    def log_det_grad(self, x: Event) -> Event:
        u, pull = jax.vjp(self.inverse, x)
        return pull(self.base.log_det_grad(u))[0]

    def observe(self, x: Event) -> Observation:
        return self.base.observe(self.inverse(x))

    def pull_slope(self, x: Event, slope: Event) -> PyTree:
        u = self.inverse(x)
        return self.base.pull_slope(u, jax.vjp(self.forward, u)[1](slope)[0])

    def adaptable(self, dtype: DTypeLike) -> MirrorMap:
        return dataclasses.replace(self, base=self.base.adaptable(dtype))

    def adapted(self, moments: Moments, trust: Scalar) -> MirrorMap:
        return dataclasses.replace(self, base=self.base.adapted(moments, trust))


class LinearImageMetric(Metric):
    """G = P^T G_u P. `x` and `u` are the point before and after `inverse`."""

    image: LinearImage
    base: Metric
    x: PyTree
    u: PyTree

    def _reduce(self, tangent: PyTree) -> PyTree:
        return jax.jvp(self.image.inverse, (self.x,), (tangent,))[1]

    def _expand(self, tangent: PyTree) -> PyTree:
        return jax.jvp(self.image.forward, (self.u,), (tangent,))[1]

    def _reduce_transpose(self, dual: PyTree) -> PyTree:
        return jax.vjp(self.image.inverse, self.x)[1](dual)[0]

    def _expand_transpose(self, dual: PyTree) -> PyTree:
        return jax.vjp(self.image.forward, self.u)[1](dual)[0]

    def apply(self, u: PyTree) -> PyTree:
        return self._reduce_transpose(self.base.apply(self._reduce(u)))

    def solve(self, v: PyTree) -> PyTree:
        return self._expand(self.base.solve(self._expand_transpose(v)))

    def sqrt(self, noise: PyTree) -> PyTree:
        return self._reduce_transpose(self.base.sqrt(noise))

    def log_det(self) -> Scalar:
        return self.base.log_det()

    def inverse_norm_sq(self, v: PyTree) -> Scalar:
        return self.base.inverse_norm_sq(self._expand_transpose(v))

    def shortest(self, v: PyTree) -> PyTree:
        return self._reduce_transpose(self.base.shortest(self._expand_transpose(v)))
