"""The paper's third experiment: two-layer networks whose neurons live in a ball.

Start them at draws of the base, with `init_strategy=init_to_sample`. NumPyro's default draws the
coordinates of an unbounded chart, and in many dimensions nearly all of these lie on the rim of the
ball, where neurons move slowly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, Int

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array, is_known
from mmfld_ppl.functionals import EmpiricalRisk
from mmfld_ppl.functionals.checks import require_finite
from mmfld_ppl.linalg import matmul


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
    Raises ValueError for labels other than -1 and 1, and inputs that are not finite numbers."""
    inputs, labels = _checked(inputs, labels)
    if is_known(labels):
        others = sorted(set(np.unique(np.asarray(labels)).tolist()) - {-1.0, 1.0})
        if others:
            raise ValueError(
                f"labels must be -1 or 1, got {others[:5]}: map your classes to these two"
            )
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


def two_layer_classes(
    inputs: Float[Array, "n d"],
    labels: Int[Array, " n"],
    *,
    classes: int,
    neurons: int = 512,
    radius: float | Array = 1.0,
    scale: float | Array = 100.0,
    temperature: float | Array = 1e-2,
    batch_size: int | None = None,
) -> None:
    r"""`two_layer` for several classes, by multinomial logistic regression on the network.

        min over mu of  -(1/n) sum_i log softmax(f_mu(x_i))_{c_i} + tau KL(mu | uniform on the ball)
        f_mu(x) = scale * E_mu[a relu(<w, x> + b)],   a neuron being (a, b, w), a of K entries.

    labels: c_i, whole numbers from 0 to K - 1. classes: K. The rest as in `two_layer`.

    Sites: `neuron`, shape (neurons, K + 1 + d).
    Raises ValueError for labels out of range, and inputs that are not finite numbers."""
    inputs, labels = _checked(inputs, labels)
    if is_known(labels) and not set(np.unique(np.asarray(labels)).tolist()) <= set(range(classes)):
        raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}")
    dimension = classes + 1 + jnp.shape(inputs)[1]
    with mm.particles("unit", neurons):
        neuron = numpyro.sample("neuron", mm.distributions.UniformBall(dimension, radius))
    risk = EmpiricalRisk(
        loss=lambda mean, datum: -jax.nn.log_softmax(scale * mean)[datum[1].astype(int)],
        feature=lambda neuron, datum: activations(neuron, datum[0], classes),
        data=(inputs, labels),
        batch_size=batch_size,
    )
    mm.objective("risk", risk, neuron, temperature=temperature)


def activation(neuron: Float[Array, " d+2"], x: Float[Array, " d"]) -> Float[Array, ""]:
    """a relu(<w, x> + b) of one neuron (a, b, w)."""
    return neuron[0] * jax.nn.relu(matmul(neuron[2:], x) + neuron[1])


def activations(
    neuron: Float[Array, " k+1+d"], x: Float[Array, " d"], classes: int
) -> Float[Array, " k"]:
    """a relu(<w, x> + b) of one neuron (a, b, w) with an entry of a for each class."""
    return neuron[:classes] * jax.nn.relu(matmul(neuron[classes + 1 :], x) + neuron[classes])


def output(
    neurons: Float[Array, "k d+2"], inputs: Float[Array, "n d"], scale: float | Array = 10.0
) -> Float[Array, " n"]:
    """f at each input, of the network of these neurons; its sign is the label, and
    1/(1 + exp(-f)) the probability of the label 1."""
    hidden = jax.nn.relu(matmul(jnp.asarray(inputs), neurons[:, 2:].T) + neurons[:, 1])
    return scale * matmul(hidden, neurons[:, 0]) / neurons.shape[0]


def outputs(
    neurons: Float[Array, "k m"],
    inputs: Float[Array, "n d"],
    classes: int,
    scale: float | Array = 100.0,
) -> Float[Array, "n classes"]:
    """f at each input, of the network of these neurons; the largest entry is the class."""
    weights, bias = neurons[:, classes + 1 :], neurons[:, classes]
    hidden = jax.nn.relu(matmul(jnp.asarray(inputs), weights.T) + bias)
    return scale * matmul(hidden, neurons[:, :classes]) / neurons.shape[0]


def _checked(inputs: Array, labels: Array) -> tuple[Array, Array]:
    x, z = as_array("inputs", inputs), as_array("labels", labels)
    if x.ndim != 2 or z.shape != x.shape[:1]:
        raise ValueError(
            f"inputs of shape (n, d) need n labels, got shapes {x.shape} and {z.shape}"
        )
    require_finite("inputs", x)
    require_finite("labels", z)
    return x, z
