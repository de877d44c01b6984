"""The paper's third experiment: a two-layer network whose neurons live in a ball."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float

import mmfld_ppl as mm
from mmfld_ppl.functionals import EmpiricalRisk
from mmfld_ppl.functionals.checks import is_known


def two_layer(
    inputs: Float[Array, "n d"],
    labels: Float[Array, " n"],
    *,
    neurons: int = 512,
    radius: float | Array = 1.0,
    scale: float | Array = 10.0,
    temperature: float | Array = 1e-4,
    batch_size: int | None = None,
) -> None:
    r"""Classification by infinitely many ReLU neurons of bounded norm.

        min over mu of  (1/n) sum_i log(1 + exp(-z_i f_mu(x_i))) + tau KL(mu | uniform on the ball)
        f_mu(x) = scale * E_mu[a relu(<w, x> + b)],   a neuron being the point (a, b, w).

    The second-layer weight a is a coordinate of the neuron, so that neurons of both signs are in
    one convex set, and the loss is convex in mu. A neuron counts by |a| |(b, w)|, which the ball
    bounds.

    inputs: of order one. labels: z_i, -1 or 1. neurons: particles. radius: of the ball.
    scale: how large outputs may be; the risk alone would let it grow. temperature: tau, in nats of
    the loss. batch_size: data a step, drawn anew; for kernels with metropolize=False.

    Sites: `neuron`, shape (neurons, d + 2).
    Raises ValueError for labels other than -1 and 1, and inputs that are not finite."""
    _check(inputs, labels)
    dimension = jnp.shape(inputs)[1] + 2
    with mm.particles("unit", neurons):
        neuron = numpyro.sample("neuron", mm.distributions.UniformBall(dimension, radius))
    risk = EmpiricalRisk(
        loss=lambda mean, datum: jax.nn.softplus(-datum[1] * scale * mean),
        feature=lambda neuron, datum: activation(neuron, datum[0]),
        data=(inputs, labels),
        batch_size=batch_size,
    )
    mm.objective("risk", risk, neuron, temperature=temperature)


def activation(neuron: Float[Array, " d+2"], x: Float[Array, " d"]) -> Float[Array, ""]:
    """a relu(<w, x> + b) of one neuron (a, b, w)."""
    return neuron[0] * jax.nn.relu(neuron[2:] @ x + neuron[1])


def output(
    neurons: Float[Array, "k d+2"], inputs: Float[Array, "n d"], scale: float | Array = 10.0
) -> Float[Array, " n"]:
    """f at each input, of the network of these neurons; its sign is the label, and
    1/(1 + exp(-f)) the probability of the label 1."""
    hidden = jax.nn.relu(jnp.asarray(inputs) @ neurons[:, 2:].T + neurons[:, 1])
    return scale * hidden @ neurons[:, 0] / neurons.shape[0]


def _check(inputs: Array, labels: Array) -> None:
    if not (is_known(inputs) and is_known(labels)):
        return
    if np.ndim(inputs) != 2 or np.shape(labels) != np.shape(inputs)[:1]:
        raise ValueError(
            f"inputs of shape (n, d) need n labels, got shapes {np.shape(inputs)} and "
            f"{np.shape(labels)}"
        )
    others = sorted(set(np.unique(np.asarray(labels)).tolist()) - {-1.0, 1.0})
    if others:
        raise ValueError(f"labels must be -1 or 1, got {others[:5]}: map your classes to these two")
