"""`check_map` passes every map of the package, and names the method that is wrong."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.mirrors import MirrorMap, Simplex, check_map
from mmfld_ppl.mirrors.metric import DenseMetric, DiagonalMetric
from tests.mirrors.cases import CASES, Case, Lens
from tests.mirrors.measure import cast

POINTS = np.array([[0.3, 0.6], [0.8, 0.15], [0.5, 0.45]])


@pytest.mark.parametrize(
    "dtype",
    [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)],
    ids=["float32", "float64"],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("x64")
def test_maps_of_the_package_agree(case: Case, dtype) -> None:
    points = case.points(np.random.default_rng(len(case.name)))
    check_map(case.build(dtype), cast(points, dtype))


class Square(MirrorMap):
    """A user's own map of the unit square, in closed form throughout."""

    self_concordance = 1.0

    def potential(self, x):
        return -jnp.sum(jnp.log(x) + jnp.log1p(-x))

    def slack(self, x):
        return jnp.min(jnp.minimum(x, 1 - x))

    def grad(self, x):
        return 1 / (1 - x) - 1 / x

    def conjugate_grad(self, y, start):
        return 0.5 + 0.5 * y / (2 + jnp.sqrt(4 + y**2))

    def metric(self, x):
        return DiagonalMetric(jnp.sqrt(1 / x**2 + 1 / (1 - x) ** 2))


def overriding(method, base=Square):
    """The map with one method in place of its own."""
    return type("Own", (base,), {method.__name__: method})()


def with_metric(**methods):
    """The map with methods in place of those of its metric."""
    changed = type("Changed", (DiagonalMetric,), methods)

    def metric(self, x):
        return changed(Square().metric(x).root)

    return overriding(metric)


def forgotten_term(self, x):
    return DiagonalMetric(1 / x)


def hessian_as_factor(self, x):
    return DenseMetric(jnp.diag(1 / x**2 + 1 / (1 - x) ** 2), lambda v: v)


def not_definite(self, x):
    return DenseMetric(jnp.linalg.cholesky(-jnp.eye(2, dtype=x.dtype)), lambda v: v)


forgotten_term.__name__ = hessian_as_factor.__name__ = not_definite.__name__ = "metric"


def grad(self, x):
    return -1 / x


def conjugate_grad(self, y, start):
    return 0.5 + 0.25 * y / (1 + jnp.sqrt(1 + 0.25 * y**2)) * 1.01


def log_det_grad(self, x):
    return -2 / x


WRONG = {
    "a term of the Hessian": (overriding(forgotten_term), r"metric\(x\).apply of Own"),
    "the Hessian as its factor": (overriding(hessian_as_factor), r"metric\(x\).apply of Own"),
    "a metric that is none": (overriding(not_definite), "metric of Own is not finite"),
    "grad": (overriding(grad), "grad of Own"),
    "conjugate_grad": (overriding(conjugate_grad), "conjugate_grad of Own"),
    "log_det_grad": (overriding(log_det_grad), "log_det_grad of Own"),
    "apply": (with_metric(apply=lambda self, u: self.root * u), r"metric\(x\).apply"),
    "sqrt": (with_metric(sqrt=lambda self, xi: 1.01 * self.root * xi), r"metric\(x\).sqrt"),
    "solve": (with_metric(solve=lambda self, v: v / self.root), r"metric\(x\).solve"),
    "inverse norm": (
        with_metric(inverse_norm_sq=lambda self, v: jnp.sum(v**2)),
        r"metric\(x\).inverse_norm_sq",
    ),
    "half of log det": (
        with_metric(log_det=lambda self: jnp.sum(jnp.log(self.root))),
        r"metric\(x\).log_det",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_wrong_method_is_named(name: str) -> None:
    mirror, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        check_map(mirror, POINTS)


@pytest.mark.parametrize("mirror", [Square(), Lens()], ids=["closed forms", "defaults"])
def test_right_maps_of_a_user_pass(mirror: MirrorMap) -> None:
    assert check_map(mirror, POINTS) is None


def test_log_det_may_differ_by_a_constant() -> None:
    check_map(with_metric(log_det=lambda self: 7 + 2 * jnp.sum(jnp.log(self.root))), POINTS)


def test_a_metric_that_forgets_the_equation_is_found() -> None:
    """The Hessian of the whole space on a simplex, of which steps would leave it."""

    def metric(self, x):
        return DiagonalMetric(1 / x)

    plain = type("Plain", (Simplex,), {"metric": metric})(jnp.ones(3))
    points = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    check_map(Simplex(jnp.ones(3)), points)
    with pytest.raises(ValueError, match="log_det_grad of Plain|conjugate_grad of Plain"):
        check_map(plain, points)


def test_a_concave_potential_is_found() -> None:
    def potential(self, x):
        return -Square().potential(x)

    with pytest.raises(ValueError, match="no positive definite Hessian at point 0"):
        check_map(overriding(potential), POINTS)


def test_points_are_inside() -> None:
    outside = np.array([[0.3, 0.6], [0.8, 1.5]])
    with pytest.raises(ValueError, match=r"slack is -0.5 at point 1, \[0.8"):
        check_map(Square(), outside)


def test_points_are_not_where_rounding_hides_everything() -> None:
    with pytest.raises(ValueError, match="rounding hides .* at point 1"):
        check_map(Square(), np.array([[0.3, 0.6], [0.5, 1 - 1e-5]], np.float32))


@pytest.mark.parametrize("points", [0.5, np.array([0.5]), np.ones((1, 2))])
def test_points_are_stacked(points) -> None:
    with pytest.raises(ValueError, match="two or more events"):
        check_map(Square(), points)
