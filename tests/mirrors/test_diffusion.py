"""Closed-form diffusions against dY = sqrt(2 G) dB, in law.

Two facts pin the law down without sampling. The generator: the derivative of E f(X_t) at t = 0 is
tr(G hess_y f), with the expectation by Gauss-Hermite quadrature and the right side by automatic
differentiation in dual coordinates. The semigroup: going t and then t' is going t + t'. A closed
form with a wrong clock or a wrong dimension fails the first; an approximate one, such as that of
normalised copies, fails the second, to the order in t that it states. A fine Euler simulation is
a last, independent witness.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from mmfld_ppl.mirrors import (
    EntropyInterval,
    EntropyOrthant,
    EntropySimplex,
    Euclidean,
    HalfLine,
    Independent,
    LogBarrier,
    Product,
    Simplex,
    Weighted,
)
from tests.mirrors.measure import compiled

MAPS = {
    "LogBarrier": (LogBarrier(0.5), np.array(1.7)),
    "EntropyOrthant": (EntropyOrthant(-1.0), np.array(0.3)),
    "EntropyInterval": (EntropyInterval(-1.0, 3.0), np.array(0.4)),
    "EntropySimplex": (EntropySimplex(), np.array([0.2, 0.5, 0.3])),
    "Weighted": (Weighted(EntropyOrthant(), 2.5), np.array(0.6)),
    "Independent": (Independent(LogBarrier(jnp.zeros(2)), (2,)), np.array([0.4, 2.0])),
    "Product": (
        Product({"a": LogBarrier(), "b": Weighted(EntropyOrthant(), 0.5)}),
        {"a": np.array(0.7), "b": np.array(1.5)},
    ),
}
EXACT = [name for name in MAPS if name not in ("EntropyInterval", "EntropySimplex")]


def grid(size: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite points and weights for `size` independent standard normals."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.array(list(itertools.product(x, repeat=size)))
    weights = np.prod(list(itertools.product(w / w.sum(), repeat=size)), axis=1)
    return points, weights


def coordinates(x):
    """Functions of a point to take expectations of: neither symmetric nor linear."""
    flat = ravel_pytree(x)[0]
    return jnp.concatenate([flat, flat**2, flat[:1] * flat[-1:] ** 2])


def expected(mirror, x, t, nodes):
    """E f(X_t) from x, by quadrature."""
    zeros, unravel = ravel_pytree(mirror.diffusion_noise_like(x))
    points, weights = grid(zeros.size, nodes)

    def value(noise):
        return coordinates(mirror.diffuse(x, unravel(noise), t))

    return jnp.asarray(weights) @ jax.vmap(value)(jnp.asarray(points))


@pytest.mark.parametrize("name", MAPS)
def test_generator(name, x64) -> None:
    mirror, x = MAPS[name]

    @compiled
    def both_sides(x, t):
        y, unravel = ravel_pytree(mirror.grad(x))

        def of_dual(y):
            return coordinates(mirror.conjugate_grad(unravel(y), x))

        metric = mirror.metric(x)
        root = jax.vmap(lambda e: ravel_pytree(metric.sqrt(unravel(e)))[0])(jnp.eye(y.size))
        generator = jnp.einsum("fij,ki,kj->f", jax.jacfwd(jax.jacfwd(of_dual))(y), root, root)
        # Extrapolated to t = 0 from two small times.
        after = jax.vmap(lambda t: (expected(mirror, x, t, 5) - coordinates(x)) / t)
        near, far = after(jnp.stack([t, 2 * t]))
        return 2 * near - far, generator

    np.testing.assert_allclose(*both_sides(_arrays(x), 1e-4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_semigroup(name, x64) -> None:
    in_one, in_two = _one_step_and_two(name, 12, 0.25)
    np.testing.assert_allclose(in_one, in_two, rtol=1e-6)


@pytest.mark.parametrize(("name", "nodes"), [("EntropyInterval", 6), ("EntropySimplex", 4)])
def test_normalised_copies_are_of_second_order(name, nodes, x64) -> None:
    """One step and two shorter ones differ by a multiple of t^3, which is not zero."""
    far, near = (np.subtract(*_one_step_and_two(name, nodes, t)) for t in (0.02, 0.01))
    largest = np.argmax(np.abs(far))
    assert abs(far[largest]) > 1e-7
    np.testing.assert_allclose(far[largest] / near[largest], 8, rtol=0.15)


def _one_step_and_two(name, nodes, t):
    """E f(X_t), and the same by way of X_{2t/5}."""
    mirror, x = MAPS[name]

    @compiled
    def run(x):
        zeros, unravel = ravel_pytree(mirror.diffusion_noise_like(x))
        points, weights = grid(zeros.size, nodes)
        first = jax.vmap(lambda noise: mirror.diffuse(x, unravel(noise), 0.4 * t))(
            jnp.asarray(points)
        )
        then = jax.lax.map(lambda x: expected(mirror, x, 0.6 * t, nodes), first, batch_size=64)
        return expected(mirror, x, t, nodes), jnp.asarray(weights) @ then

    return run(_arrays(x))


def _arrays(x):
    return jax.tree.map(jnp.asarray, x)


@pytest.mark.parametrize("name", ["LogBarrier", "EntropyOrthant", "EntropySimplex"])
def test_fine_simulation(name) -> None:
    """Quantiles of 20,000 draws against 400 Euler steps in the dual, within their errors."""
    mirror, x = MAPS[name]
    x = jnp.asarray(x, jnp.float32)
    count, steps, t = 20_000, 400, 0.02
    keys = jax.random.split(jax.random.key(7), 2)

    @jax.jit
    def closed(key):
        zeros = mirror.diffusion_noise_like(x)
        noise = jax.random.normal(key, (count, *zeros.shape))
        return jax.vmap(lambda n: mirror.diffuse(x, n, t))(noise)

    @jax.jit
    def euler(key):
        def step(y, key):
            noise = jax.random.normal(key, y.shape)
            points = jax.vmap(lambda y: mirror.conjugate_grad(y, x))(y)
            kick = jax.vmap(lambda x, n: mirror.metric(x).sqrt(n))(points, noise)
            return y + jnp.sqrt(2 * t / steps) * kick, None

        start = jnp.broadcast_to(mirror.grad(x), (count, *x.shape))
        y, _ = jax.lax.scan(step, start, jax.random.split(key, steps))
        return jax.vmap(lambda y: mirror.conjugate_grad(y, x))(y)

    a, b = (np.asarray(draws).reshape(count, -1) for draws in (closed(keys[0]), euler(keys[1])))
    for i in range(a.shape[1]):
        cuts = np.quantile(b[:, i], [0.05, 0.25, 0.5, 0.75, 0.95])
        below_a, below_b = (np.mean(s[:, i, None] < cuts, axis=0) for s in (a, b))
        spread = np.sqrt(2 * below_b * (1 - below_b) / count)
        assert np.all(np.abs(below_a - below_b) < 4.5 * spread)


def test_a_step_to_the_vertex_and_back_stays_inside() -> None:
    """Where one Euler step of the same length would be far outside or at a vertex."""
    x = jnp.array([1e-12, 1e-6, 1.0 - 1e-6])
    noise = jax.random.normal(jax.random.key(0), (1000, 2, 3))
    after = jax.vmap(lambda n: EntropySimplex().diffuse(x, n, jnp.asarray(0.5)))(noise)
    assert jnp.all(after > 0)
    np.testing.assert_allclose(jnp.sum(after, axis=1), 1, rtol=1e-6)


def test_no_time_moves_nothing_and_much_time_forgets_the_start() -> None:
    x = jnp.array([0.7, 0.2, 0.06, 0.04])
    noise = jax.random.normal(jax.random.key(0), (4000, 2, 4))
    move = jax.vmap(lambda n, t: EntropySimplex().diffuse(x, n, t), (0, None))
    np.testing.assert_allclose(move(noise, 0.0), jnp.broadcast_to(x, (4000, 4)), rtol=1e-6)
    # The uniform law on the simplex: Beta(1, 3) marginals, of standard deviation sqrt(3/80).
    late = move(noise, 100.0)
    np.testing.assert_allclose(late.mean(0), 0.25, atol=4.5 * np.sqrt(3 / 80 / 4000))


def test_only_maps_with_a_closed_form_offer_it() -> None:
    assert not Simplex(jnp.ones(3)).has_exact_diffusion
    assert not Product({"a": LogBarrier(), "b": Euclidean()}).has_exact_diffusion
    half_line = HalfLine.above(0.0, jnp.float32)
    with pytest.raises(NotImplementedError, match="HalfLine has no closed-form diffusion"):
        half_line.diffuse(jnp.ones(()), jnp.zeros(()), jnp.ones(()))
    with pytest.raises(NotImplementedError, match="HalfLine has no closed-form diffusion"):
        half_line.diffusion_noise_like(jnp.ones(()))
