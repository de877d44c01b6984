"""A dense metric over lines, half-lines and intervals, beside a simplex."""

from __future__ import annotations

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from mmfld_ppl.dynamics.welford import welford_init, welford_moments, welford_update
from mmfld_ppl.mirrors import Euclidean, HalfLine, Independent, Interval, Product, Simplex
from mmfld_ppl.mirrors.correlated import Correlated, correlated
from mmfld_ppl.mirrors.images import OrderedVector

X = {
    "half": np.array(0.7),
    "line": np.array([0.3, -1.2]),
    "part": np.array([0.2, 0.5, 0.3]),
    "unit": np.array(0.9),
}
P = {
    "half": np.array(-0.8),
    "line": np.array([0.4, 0.1]),
    "part": np.array([1.0, -2.0, 0.5]),
    "unit": np.array(2.0),
}
FLAT = ("half", "line", "unit")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def product(dtype=float) -> Product:
    parts = {
        "half": HalfLine.above(0.0, dtype),
        "line": Independent.of(Euclidean(), (2,)),
        "part": Simplex.of_size(3, dtype),
        "unit": Interval.between(-1.0, 2.0, dtype),
    }
    stepping = Product(parts).stepping().adaptable(dtype)
    weights = stepping.parts["line"].base.weight * jnp.array([4.0, 0.25], dtype)
    line = Independent.of(Euclidean(), (2,)).adaptable(dtype)
    line = Independent(type(line.base)(line.base.base, weights), (2,))
    return Product(stepping.parts | {"line": line})


def of_some_factor() -> Correlated:
    mirror = Correlated.over(product(), X)
    factor = jnp.tril(jax.random.normal(jax.random.key(0), (4, 4))) + 2 * jnp.eye(4)
    return Correlated(mirror.parts, factor, mirror.center, mirror.names)


def flatten(tree) -> jax.Array:
    return ravel_pytree({name: tree[name] for name in FLAT})[0]


def test_lines_half_lines_and_intervals_are_flat() -> None:
    """Coordinates in which the metric is the identity, their derivatives and their inverses."""
    mirror = product()
    assert {name for name, part in mirror.parts.items() if part.is_flat} == set(FLAT)
    for name in FLAT:
        part, x = mirror.parts[name], jnp.asarray(X[name])
        z, speed = part.flat(x)
        moved = part.shifted(x, jnp.full_like(x, 0.3))
        np.testing.assert_allclose(part.flat(moved)[0], z + 0.3, rtol=1e-12)
        derivative = jax.jvp(lambda x, part=part: part.flat(x)[0], (x,), (jnp.ones_like(x),))[1]
        np.testing.assert_allclose(speed, derivative, rtol=1e-10)
        applied = part.metric(x).apply(jnp.ones_like(x))
        np.testing.assert_allclose(applied, speed**2, rtol=1e-12)


def test_the_metric_is_that_of_the_factor() -> None:
    mirror = of_some_factor()
    x, p = (jax.tree.map(jnp.asarray, tree) for tree in (X, P))
    metric, unravel = mirror.metric(x), ravel_pytree(x)[1]
    speed = flatten({name: mirror.parts[name].flat(x[name])[1] for name in FLAT})
    K = np.linalg.inv(mirror.factor @ mirror.factor.T)
    G = speed[:, None] * K * speed
    np.testing.assert_allclose(flatten(metric.apply(p)), G @ flatten(p), rtol=1e-9)
    np.testing.assert_allclose(
        flatten(metric.solve(p)), np.linalg.solve(G, flatten(p)), rtol=1e-9, atol=1e-12
    )
    roots = jax.vmap(lambda xi: flatten(metric.sqrt(unravel(xi))))(jnp.eye(7))
    np.testing.assert_allclose(roots.T @ roots, G, rtol=1e-9, atol=1e-12)
    # On the simplex it is the one that it was.
    alone = mirror.parts["part"].metric(x["part"])
    np.testing.assert_allclose(metric.apply(p)["part"], alone.apply(p["part"]))
    own = flatten(p) @ np.linalg.solve(G, flatten(p))
    norm = metric.inverse_norm_sq(p)
    np.testing.assert_allclose(norm, own + alone.inverse_norm_sq(p["part"]), rtol=1e-9)
    found = jax.grad(lambda x: mirror.metric(x).log_det())(x)
    np.testing.assert_allclose(flatten(mirror.log_det_grad(x)), flatten(found), rtol=1e-9)
    determinant = np.linalg.slogdet(G)[1] - np.linalg.slogdet(K)[1] + alone.log_det()
    np.testing.assert_allclose(metric.log_det(), determinant, rtol=1e-9)


def test_a_step_is_straight_in_flat_coordinates_and_undone() -> None:
    mirror = of_some_factor()
    x, p = (jax.tree.map(jnp.asarray, tree) for tree in (X, P))
    x_new, p_new = mirror.symmetric_step(x, p)
    back, p_back = mirror.symmetric_step(x_new, jax.tree.map(jnp.negative, p_new))
    for name in X:
        np.testing.assert_allclose(back[name], x[name], rtol=1e-9)
        if name in FLAT:
            np.testing.assert_allclose(p_back[name], -p[name], rtol=1e-9)

    def generating(x, x_new):
        ends = (flatten({n: mirror.parts[n].flat(z[n])[0] for n in FLAT}) for z in (x, x_new))
        step = -jnp.subtract(*ends)
        return 0.5 * step @ jnp.linalg.solve(mirror.factor @ mirror.factor.T, step)

    slope, slope_new = jax.grad(generating, (0, 1))(x, x_new)
    np.testing.assert_allclose(flatten(p), -flatten(slope), rtol=1e-9)
    np.testing.assert_allclose(flatten(p_new), flatten(slope_new), rtol=1e-9)
    expected = mirror.parts["part"].symmetric_step(x["part"], p["part"])[0]
    np.testing.assert_allclose(x_new["part"], expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("seen", [1.0, 0.05])
def test_the_warm_up_finds_a_covariance(dtype, seen) -> None:
    """Of a Gaussian in the flat coordinates, which is far from the origin on the line; also from
    points that have seen but a part of its width in one direction."""
    rng, n = np.random.default_rng(0), 400
    mirror = Correlated.over(product(dtype), jax.tree.map(lambda leaf: leaf.astype(dtype), X))
    mirror = mirror.adaptable(dtype)
    R = 0.98 * np.ones((4, 4)) + 0.02 * np.eye(4)
    sd = np.array([0.03, 0.01, 50.0, 0.2])
    covariance = sd[:, None] * R * sd
    axes = np.linalg.cholesky(covariance) * [seen, 1, 1, 1]
    half = float(mirror.parts["half"].flat(jnp.asarray(X["half"], dtype))[0])
    z = [half, 200.0, -30.0, 0.1] + rng.normal(size=(n, 4)) @ axes.T
    like = {name: mirror.parts[name].flat(mirror.center[name])[0] for name in FLAT}
    unravel = ravel_pytree(like)[1]
    unweighted = Correlated.over(product(dtype), X)
    zs = jax.vmap(unravel)(jnp.asarray(z, dtype))
    x = {}
    for name in FLAT:
        part, at = unweighted.parts[name], jnp.asarray(X[name], dtype)
        x[name] = jax.vmap(lambda z, p=part, at=at: p.shifted(at, z - p.flat(at)[0]))(zs[name])
    x["part"] = jnp.asarray(rng.dirichlet(np.ones(3), n), dtype)
    precise = np.linalg.solve(covariance, (z - z.mean(0)).T).T
    slopes = {"part": jnp.zeros_like(x["part"])}
    for name, score in jax.vmap(unravel)(jnp.asarray(precise, dtype)).items():
        part = unweighted.parts[name]
        speed = jax.vmap(lambda x, part=part: part.flat(x)[1])(x[name])
        slopes[name] = score * speed - 0.5 * jax.vmap(part.log_det_grad)(x[name])
    for _ in range(4):  # The first window counts from the start, the others from the mean.
        start = welford_init(mirror.observe(jax.tree.map(lambda leaf: leaf[0], x)))
        pulled = jax.vmap(mirror.pull_slope)(x, slopes)
        window = welford_update(start, jax.vmap(mirror.observe)(x), pulled)
        mirror = mirror.adapted(welford_moments(window), jnp.asarray(n / (n + 5), dtype))
    center = jax.tree.map(lambda leaf: leaf[0], x)
    speeds = (m._own.flat(center)[1] for m in (mirror, unweighted))
    growth = np.divide(*map(flatten, speeds))
    found = np.asarray(mirror.factor @ mirror.factor.T, float)
    # A step of unit length is a standard deviation in every direction.
    lengths = np.linalg.eigvals(np.linalg.solve(covariance, found / growth / growth[:, None]))
    np.testing.assert_allclose(np.real(lengths), 1, atol=0.1)


def test_a_short_step_next_to_a_bound_is_not_lost_to_rounding() -> None:
    parts = {"unit": Interval.between(0.0, 1.0, jnp.float32)}
    x = {"unit": jnp.nextafter(jnp.float32(1), jnp.float32(0))}
    mirror = Correlated.over(Product(parts).stepping(), x)
    inward = {"unit": -0.05 * mirror.parts["unit"].speed(x["unit"])}
    moved = mirror.symmetric_step(x, inward)[0]
    assert moved["unit"] == jnp.nextafter(x["unit"], jnp.float32(0))


def test_ordered_vectors_are_seen_through_their_gaps() -> None:
    """The metric of sites with linear images among them is that of their base events, and steps
    are those of the base."""
    pair, triples = OrderedVector.of_size(2, float), OrderedVector.of_size(3, float)
    parts = {"line": Euclidean(), "pair": pair, "triples": Independent.of(triples, (2,))}
    x = {
        "line": jnp.array(0.3),
        "pair": jnp.array([-1.0, 0.5]),
        "triples": jnp.array([[0.1, 0.4, 2.0], [-2.0, 0.0, 0.2]]),
    }
    mirror = correlated(Product(parts).stepping().adaptable(float), x)
    assert mirror.base.names == ("line", "pair", "triples") and mirror.base.factor.shape == (9, 9)
    factor = jnp.tril(jax.random.normal(jax.random.key(0), (9, 9))) + 2 * jnp.eye(9)
    mirror = eqx.tree_at(lambda m: m.base.factor, mirror, factor)
    J = jax.vmap(ravel)(jax.jacobian(lambda x: ravel(flat_of(mirror, x)))(x))
    G = J.T @ jnp.linalg.inv(factor @ factor.T) @ J
    p = jax.tree.map(lambda v: 0.1 * jnp.cos(jnp.arange(v.size)).reshape(v.shape), x)
    np.testing.assert_allclose(ravel(mirror.metric(x).apply(p)), G @ ravel(p), rtol=1e-8)
    solved = jnp.linalg.solve(G, ravel(p))
    np.testing.assert_allclose(ravel(mirror.metric(x).solve(p)), solved, rtol=1e-8, atol=1e-10)
    moved, pushed = mirror.symmetric_step(x, p)
    along = factor @ factor.T @ jnp.linalg.solve(J.T, ravel(p))
    step = ravel(flat_of(mirror, moved)) - ravel(flat_of(mirror, x))
    np.testing.assert_allclose(step, along, rtol=1e-8, atol=1e-10)
    back, returned = mirror.symmetric_step(moved, jax.tree.map(jnp.negative, pushed))
    np.testing.assert_allclose(ravel(back), ravel(x), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ravel(returned), -ravel(p), rtol=1e-8)
    # Sites are asked for by their own maps, as for the distance to the boundary.
    assert mirror.parts["pair"].slack(x["pair"]) == 1.5


def ravel(tree) -> jax.Array:
    return ravel_pytree(tree)[0]


def flat_of(mirror, x):
    return mirror.base._own.flat(mirror.inverse(x))[0]


def test_the_first_scale_is_that_of_the_slopes() -> None:
    """Before a window is closed the metric is as it is without correlations."""
    x, slope = {"line": jnp.array(0.3)}, {"line": jnp.array(200.0)}
    base = Product({"line": Euclidean()}).adaptable(float)
    metrics = []
    for mirror in (base, Correlated.over(base, x)):
        batch = jax.tree.map(lambda leaf: leaf[None], (x, slope))
        start = welford_init(mirror.observe(x))
        seen = welford_update(
            start, jax.vmap(mirror.observe)(batch[0]), jax.vmap(mirror.pull_slope)(*batch)
        )
        moments = welford_moments(seen)._replace(variance=None)
        metrics.append(mirror.adapted(moments, jnp.ones(())).metric(x).apply(x)["line"])
    np.testing.assert_allclose(metrics, 200 * 0.3)


def test_a_coordinate_without_slope_holds_nothing_up() -> None:
    """As an angle that no data depend on. The others find their covariance, it keeps its scale."""
    x = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    base = Product({"a": Independent.of(Euclidean(), (2,)), "b": Euclidean()})
    mirror = Correlated.over(base, x).adaptable(float)
    covariance = jnp.array([[1.0, 1.9], [1.9, 4.0]])
    z = jax.random.normal(jax.random.key(0), (2000, 2)) @ jnp.linalg.cholesky(covariance).T
    seen = {"a": z, "b": jnp.linspace(-1, 1, 2000)}
    slopes = {"a": jnp.linalg.solve(covariance, z.T).T, "b": jnp.zeros(2000)}
    pulled = jax.vmap(mirror.pull_slope)(seen, slopes)
    window = welford_update(welford_init(mirror.observe(x)), jax.vmap(mirror.observe)(seen), pulled)
    found = mirror.adapted(welford_moments(window), jnp.asarray(2000 / 2005))
    G = jax.jacobian(lambda u: found.metric(x).apply({"a": u, "b": jnp.zeros(())})["a"])(x["a"])
    np.testing.assert_allclose(jnp.linalg.inv(G), covariance, rtol=0.05)
    assert found.metric(x).apply({"a": x["a"], "b": jnp.ones(())})["b"] == 1
