"""The hot loops on one device, beside plain JAX code of the same formulas.

`mark`: seconds that plain code took on an H100 in single precision, to match or beat there.
Seconds are the wall's, the least of three, of programs that are compiled already; `of plain` is
the ratio in this run. On a CPU sizes are divided by `SHARE`, and the marks say nothing.

`python -m benchmarks.marks`
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import mmfld_ppl as mm
from mmfld_ppl import Measure
from mmfld_ppl.functionals import MMD, kernels
from mmfld_ppl.functionals.distances import squared_distance
from mmfld_ppl.functionals.soft_transform import soft_transform

from .scaling import matching

#: How much smaller the problems are on a CPU.
SHARE = 64
#: Steps of one program, so that the time of a launch does not enter, and their size.
STEPS, STEP = 100, 0.1


def seconds(function: Callable[[Any], Any], argument: Any) -> float:
    program = jax.jit(function).lower(argument).compile()
    jax.block_until_ready(program(argument))
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(program(argument))
        found.append(time.perf_counter() - begin)
    return min(found)


def our_steps(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """Adjusted one-step moves of the kernel: particles on a simplex, pulled to its first vertex."""
    kernel = mm.MMFLD(
        matching,
        diffusion="one-step",
        step_size=STEP,
        adapt_step_size=False,
        adapt_metric=False,
    )

    def advance(_, state):
        return kernel.sample(state, x.shape, {})

    state = kernel.init(jax.random.key(0), 0, {"x": x}, x.shape, {})
    return lambda state: jax.lax.fori_loop(0, STEPS, advance, state), state


def plain_steps(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """The same by hand, with eight steps of Newton's method for the multiplier."""
    h, target = STEP, jnp.zeros(x.shape[1]).at[0].set(1.0)

    def primal(y):
        below = y.max(1, keepdims=True) - y
        shift = (1 - below).max(1, keepdims=True)
        for _ in range(8):
            z = 1 / (shift + below)
            f = z.sum(1, keepdims=True)
            shift = shift + f * (f - 1) / (z * z).sum(1, keepdims=True)
        z = 1 / (shift + below)
        return z / z.sum(1, keepdims=True)

    def norm_and_log_det(x, v):
        square = x * x
        v = v - (square * v).sum(1, keepdims=True) / square.sum(1, keepdims=True)
        return (square * v * v).sum(1), jnp.log(square.sum(1)) - 2 * jnp.log(x).sum(1)

    def step(x, key):
        key_noise, key_accept = jax.random.split(key)
        kick = jax.random.normal(key_noise, x.shape) / x
        slope = 2 * (x.mean(0) - target) / 0.05
        y = -1 / x
        y_new = y - h * slope + jnp.sqrt(2 * h) * kick
        x_new = primal(y_new)
        there, log_det = norm_and_log_det(x, kick)
        back, log_det_new = norm_and_log_det(x_new, y - y_new + h * slope)
        log_ratio = (x - x_new) @ slope + there / 2 - back / (4 * h)
        log_ratio += 1.5 * (log_det - log_det_new)
        accept = jnp.log(jax.random.uniform(key_accept, log_ratio.shape)) < log_ratio
        return jnp.where(accept[:, None], x_new, x), None

    keys = jax.random.split(jax.random.key(1), STEPS)
    return lambda x: jax.lax.scan(step, x, keys)[0], x


def our_force(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """The gradient of an `MMD` at every point, from itself to itself."""

    def gradient(x):
        F = MMD(Measure.uniform(x[::-1]), kernels.Gaussian(1.0))
        _, tangent, _ = F.linearize(Measure.uniform(x))
        return jax.grad(lambda points: F.first_variation(tangent, points).sum())(x)

    return gradient, x


def plain_force(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """Sums of Gaussian forces, a block of rows at a time."""

    def force(point, atoms):
        apart = point - atoms
        k = jnp.exp(-jnp.sum(apart * apart, 1) / 2)
        return -(k[:, None] * apart).mean(0)

    def gradient(x):
        both = lambda point: force(point, x) - force(point, x[::-1])  # noqa: E731
        return jax.lax.map(both, x, batch_size=max(1, 2**24 // x.size))

    return gradient, x


def our_soft_minimum(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """Half a Sinkhorn step: the potential of equal atoms at every point."""
    b, g = jnp.full(len(x), 1 / len(x)), jnp.zeros(len(x))

    return lambda x: soft_transform(squared_distance, x, x[::-1], b, g, jnp.ones(())), x


def plain_soft_minimum(x: Array) -> tuple[Callable[[Any], Any], Any]:
    """The same, a block of rows at a time, distances by products of matrices."""

    def at(point: Array, atoms: Array, squares: Array) -> Array:
        products = jnp.matmul(atoms, point, precision="highest")
        return -jax.nn.logsumexp(2 * products - squares - jnp.sum(point**2)) + jnp.log(len(atoms))

    def potential(x: Array) -> Array:
        atoms, squares = x[::-1], jnp.sum(x[::-1] ** 2, axis=1)
        each = lambda point: at(point, atoms, squares)  # noqa: E731
        return jax.lax.map(each, x, batch_size=max(1, 2**27 // len(x)))

    return potential, x


def run() -> list[dict]:
    share = SHARE if jax.default_backend() == "cpu" else 1
    rng, rows = np.random.default_rng(0), []
    for what, size, dimension, mark, ours, plain in (
        ("mirror step", 1_000_000, 10, 661e-6, our_steps, plain_steps),
        ("mirror step", 1_000, 3, 11e-6, our_steps, plain_steps),
        # The mark is that of one sum over all pairs; an MMD takes two.
        ("Gaussian force", 65_536, 8, 2 * 26e-3, our_force, plain_force),
        ("soft minimum", 65_536, 8, 20e-3, our_soft_minimum, plain_soft_minimum),
    ):
        size = max(size // share, min(size, 1_000))
        steps = what == "mirror step"
        shares = rng.dirichlet(np.ones(dimension), size)
        draw = shares if steps else rng.normal(size=(size, dimension))
        x, per = jnp.asarray(draw, jnp.float32), STEPS if steps else 1
        taken, by_hand = seconds(*ours(x)) / per, seconds(*plain(x)) / per
        rows.append(
            {
                "of": what,
                "N": size,
                "d": dimension,
                "s": taken,
                "plain s": by_hand,
                "of plain": taken / by_hand,
                "mark": mark,
            }
        )
    return rows


if __name__ == "__main__":
    from .__main__ import print_rows

    print_rows(run())
