"""The symmetric step of every map that has one: its equations, and that it can be undone."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from mmfld_ppl.mirrors import (
    HalfLine,
    Independent,
    Interval,
    LinearImage,
    PositiveDefinite,
    Product,
    Simplex,
    Weighted,
)
from mmfld_ppl.mirrors.arc_length import ArcLength
from mmfld_ppl.mirrors.product import over_axes
from mmfld_ppl.mirrors.simplex import LogSimplex
from tests.mirrors.cases import CASES, Case
from tests.mirrors.measure import cast, compiled, flat
from tests.mirrors.spaces import COUNT

STEPPING = [case for case in CASES if case.build(jnp.float32).has_symmetric_step]


def _generating(mirror, start, end):
    """S(x, x'): half a squared distance where the map has one in closed form, else half the
    symmetrised Bregman divergence."""
    if isinstance(mirror, Weighted):
        return mirror.weight * _generating(mirror.base, start, end)
    if isinstance(mirror, LinearImage):
        return _generating(mirror.base, mirror.inverse(start), mirror.inverse(end))
    if isinstance(mirror, Product):
        parts = mirror.parts.items()
        return sum(_generating(part, start[name], end[name]) for name, part in parts)
    if isinstance(mirror, Independent):
        return jnp.sum(over_axes(_generating, mirror.shape)(mirror.base, start, end))
    if isinstance(mirror, ArcLength):
        return 0.5 * mirror.weight * (mirror.arc(end) - mirror.arc(start)) ** 2
    if isinstance(mirror, LogSimplex):
        return 0.5 * jnp.sum(mirror.weights * jnp.log(end / start) ** 2)
    y, y_new = mirror.grad(start), mirror.grad(end)
    return 0.5 * jnp.sum((flat(y_new) - flat(y)) * (flat(end) - flat(start)))


def _moved(mirror, tangent, x, noise):
    """One step of a typical length and what it should be."""
    vector, unravel = ravel_pytree(x)
    metric = mirror.metric(x)
    template, refill = ravel_pytree(mirror.noise_like(x))
    p = metric.sqrt(refill(noise[: template.size]))
    x_new, p_new = mirror.symmetric_step(x, p)
    x_back, p_back = mirror.symmetric_step(x_new, jax.tree.map(jnp.negative, p_new))

    def generating(a, b):
        """S along the tangent space at both ends."""
        start, end = (unravel(flat(z) + t @ tangent) for z, t in ((x, a), (x_new, b)))
        return _generating(mirror, start, end)

    zero = jnp.zeros(len(tangent))
    slope, slope_new = jax.grad(generating, (0, 1))(zero, zero)
    log_det = jax.grad(lambda a: mirror.metric(unravel(vector + a @ tangent)).log_det())(zero)

    def lengths(metric):
        """Local lengths of the tangent vectors, the units of what follows."""
        applied = jax.vmap(lambda t: flat(metric.apply(unravel(t))))(tangent)
        return jnp.sqrt(jnp.sum(tangent * applied, axis=1))

    length, length_new = lengths(metric), lengths(mirror.metric(x_new))
    return {
        "slack": mirror.slack(x_new),
        "momentum": (tangent @ flat(p) + slope) / length,
        "new momentum": (tangent @ flat(p_new) - slope_new) / length_new,
        "position undone": tangent @ (flat(x_back) - vector) * length,
        "momentum undone": tangent @ (flat(p_back) + flat(p)) / length,
        "log det": (tangent @ flat(mirror.log_det_grad(x)) - log_det) / length,
        "energy": metric.inverse_norm_sq(p) - mirror.metric(x_new).inverse_norm_sq(p_new),
    }


@functools.cache
def measured(name: str) -> dict[str, Any]:
    """For `COUNT` points and momenta, in float64."""
    case = next(case for case in STEPPING if case.name == name)
    with jax.enable_x64(True):
        mirror = case.build(jnp.float64).adaptable(jnp.float64).stepping()
        points = cast(case.points(np.random.default_rng(1)), jnp.float64)
        noise = np.random.default_rng(2).normal(size=(COUNT, 32))
        step = compiled(jax.vmap(functools.partial(_moved, mirror, jnp.asarray(case.tangent))))
        return jax.tree.map(np.asarray, step(points, noise))


every_map = pytest.mark.parametrize("case", STEPPING, ids=lambda case: case.name)


@every_map
def test_momenta_are_the_slopes_of_the_generating_function(case: Case) -> None:
    seen = measured(case.name)
    assert np.all(seen["slack"] > 0)
    np.testing.assert_allclose(seen["momentum"], 0, atol=1e-7)
    np.testing.assert_allclose(seen["new momentum"], 0, atol=1e-7)


@every_map
def test_a_step_is_undone_by_the_opposite_momentum(case: Case) -> None:
    seen = measured(case.name)
    np.testing.assert_allclose(seen["position undone"], 0, atol=1e-7)
    np.testing.assert_allclose(seen["momentum undone"], 0, atol=1e-7)


@every_map
def test_slope_of_the_log_determinant(case: Case) -> None:
    np.testing.assert_allclose(measured(case.name)["log det"], 0, atol=1e-7)


def test_energy_changes_by_less_than_a_geodesic_of_second_order_may() -> None:
    """Short steps: halving one divides the change of |p|^2 by 8 or more."""
    with jax.enable_x64(True):
        mirror = Simplex.of_size(4, float).stepping()
        x, p = jnp.array([0.5, 0.3, 0.15, 0.05]), jnp.array([0.4, -1.0, 3.0, -7.0])

        def change(e):
            x_new, p_new = mirror.symmetric_step(x, e * p)
            norms = mirror.metric(x_new).inverse_norm_sq(p_new), mirror.metric(x).inverse_norm_sq(p)
            return abs(float(norms[0] / e**2 - norms[1]))

        assert change(0.1) > 7 * change(0.05) > 49 * change(0.025) > 0


@pytest.mark.parametrize(
    ("mirror", "points"),
    [
        (lambda: HalfLine.above(-0.5, float), lambda: -0.5 + jnp.geomspace(1e-6, 1e6, 25)),
        (lambda: HalfLine.below(2.0, float), lambda: 2.0 - jnp.geomspace(1e-6, 1e6, 25)),
        (lambda: Interval.between(0.0, 3.0, float), lambda: jnp.geomspace(1e-12, 2.9999, 25)),
    ],
)
def test_steps_along_the_arc_length(mirror, points) -> None:
    """A metric that is the Hessian of its potential, and steps that keep the energy, are undone,
    and go as far along the arc as their momentum says, near a boundary and far from it."""
    with jax.enable_x64(True):
        base, x = mirror(), points()
        map = Weighted(base.stepping(), jnp.asarray(0.3))
        normal = jnp.asarray(np.random.default_rng(0).normal(size=25))
        root = jax.vmap(lambda x: map.metric(x).sqrt(jnp.ones(())))(x)
        hessian = jax.vmap(jax.grad(map.grad))(x)
        np.testing.assert_allclose(root**2, hessian, rtol=1e-6)
        x_new, p_new = jax.vmap(map.symmetric_step)(x, root * normal)
        x_back, p_back = jax.vmap(map.symmetric_step)(x_new, -p_new)
        assert jnp.all(jax.vmap(base.slack)(x_new) > 0)
        slack = jax.vmap(base.slack)
        np.testing.assert_allclose(slack(x_back), slack(x), rtol=1e-6)
        np.testing.assert_allclose(p_back, -root * normal, rtol=1e-6)
        root_new = jax.vmap(lambda x: map.metric(x).sqrt(jnp.ones(())))(x_new)
        np.testing.assert_allclose(p_new / root_new, normal, rtol=1e-6)
        length = jax.vmap(map.base.arc)(x_new) - jax.vmap(map.base.arc)(x)
        np.testing.assert_allclose(jnp.abs(length), jnp.abs(normal) / 0.3**0.5, rtol=1e-6)


def test_a_short_step_next_to_a_bound_is_not_lost_to_rounding() -> None:
    """The number next to one is .7 of a unit of t away. Steps of a twentieth reach it, and return;
    a step that is no step does not move."""
    mirror = Interval.between(0.0, 1.0, jnp.float32).stepping()
    x = jnp.nextafter(jnp.float32(1), jnp.float32(0))
    inward = -0.05 * mirror.speed(x)
    moved, p = mirror.symmetric_step(x, inward)
    assert moved == jnp.nextafter(x, jnp.float32(0))
    np.testing.assert_allclose(p / mirror.speed(moved), -0.05, rtol=1e-5)
    back, _ = mirror.symmetric_step(moved, -p)
    assert back == x
    assert mirror.symmetric_step(x, jnp.zeros_like(x))[0] == x


def test_matrices_with_a_tail_step_in_the_metric_that_they_are_judged_by() -> None:
    """A short step is G^-1 p: that of another metric makes the log ratio one of order h^(1/2)."""
    with jax.enable_x64(True):
        adapted = Weighted(PositiveDefinite(jnp.asarray(1.5)), jnp.asarray(3.0))
        x = jnp.array([[2.0, 0.7, 0.1], [0.7, 1.0, -0.3], [0.1, -0.3, 0.4]])
        p = jnp.array([[0.3, -1.0, 0.2], [-1.0, 2.0, 0.5], [0.2, 0.5, -1.5]])
        for mirror in (adapted.stepping(), adapted):
            wanted = mirror.metric(x).solve(p)
            for e in (1e-3, 1e-4):
                x_new, p_new = mirror.symmetric_step(x, e * p)
                np.testing.assert_allclose((x_new - x) / e, wanted, atol=5 * e)
                np.testing.assert_allclose(p_new / e, p, atol=20 * e)


def test_maps_that_are_not_self_concordant_have_none() -> None:
    without = {case.name for case in CASES} - {case.name for case in STEPPING}
    assert without >= {"EntropyOrthant", "EntropySimplex", "VonNeumannPSD", "UnstatedLens"}
    assert all(not np.isfinite(case.concordance) for case in CASES if case.name in without)


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in STEPPING
        if c.name in ("zero_sum", "simplex", "corr_matrix", "spectraplex", "hermitian_spectraplex")
    ],
    ids=lambda case: case.name,
)
def test_rounding_does_not_add_up(case: Case) -> None:
    """Thousands of steps in single precision end on the affine set where they began."""
    mirror, constraint = case.build(jnp.float32).stepping(), case.constraint
    assert constraint is not None
    start = jnp.asarray(case.points(np.random.default_rng(0))[0], jnp.float32)

    def step(x, key):
        noise = jax.random.normal(key, mirror.noise_like(x).shape)
        moved, _ = mirror.symmetric_step(x, 0.3 * mirror.metric(x).sqrt(noise))
        # As a target would, away from the boundary.
        return jnp.where(mirror.slack(moved) > 1e-3, moved, x), None

    end, _ = jax.lax.scan(step, start, jax.random.split(jax.random.key(0), 3000))
    assert jnp.max(jnp.abs(end - start)) > 0.01
    assert constraint()(end)
    # In the units of rounding: what a constraint tolerates may be more.
    normal = np.ones(end.shape) if end.ndim == 1 or case.name == "zero_sum" else np.eye(len(end))
    assert abs(jnp.sum(normal * end) - np.sum(normal * start)) < 10 * end.size * 2**-23
