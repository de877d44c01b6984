"""Every law on every map, with unit weights and with weights adapted to the points.

The first COUNT points are in the middle of the set, where only rounding separates the two sides
of a law; the others are 1e-6 from the boundary, where the metric has a condition number of up to
1e12 and a law holds to 1e-16 times that.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.mirrors import registered
from tests.mirrors.cases import CASES, Case
from tests.mirrors.measure import flat, measured, single_precision
from tests.mirrors.spaces import COUNT

MIDDLE, EDGE = 1e-9, 2e-2

every_map = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_weight = pytest.mark.parametrize("adapted", [False, True], ids=["unit", "adapted"])


def assert_small(errors: np.ndarray, middle: float = MIDDLE, edge: float = EDGE) -> None:
    """Errors whose first axis is the points."""
    worst = np.max(np.abs(errors).reshape(len(errors), -1), axis=1)
    assert np.all(worst[:COUNT] <= middle), worst
    assert np.all(worst[COUNT:] <= edge), worst


def assert_same(pair: tuple[np.ndarray, np.ndarray], edge: float = EDGE) -> None:
    found, expected = (side.reshape(len(side), -1) for side in pair)
    size = np.max(np.abs(expected), axis=1, keepdims=True)
    assert_small((found - expected) / size, edge=edge)


@every_weight
@every_map
def test_points_are_inside(case: Case, adapted: bool) -> None:
    slack = measured(case.name, adapted)["slack"]
    assert np.all(slack > 0)
    if case.bounded:
        np.testing.assert_allclose(slack[COUNT:], 1e-6, rtol=1e-3)


@every_weight
@every_map
def test_potential_is_strictly_convex(case: Case, adapted: bool) -> None:
    for hessian in measured(case.name, adapted)["hessian"]:
        diagonal = np.sqrt(np.diagonal(hessian))
        assert np.linalg.eigvalsh(hessian / diagonal / diagonal[:, None])[0] > 0


@every_weight
@every_map
def test_grad_is_the_gradient_of_the_potential(case: Case, adapted: bool) -> None:
    seen = measured(case.name, adapted)
    assert_small(seen["gradient"] / (1 + seen["gradient norm"][:, None]), edge=1e-6)


@every_weight
@every_map
def test_conjugate_undoes_grad(case: Case, adapted: bool) -> None:
    assert_small(measured(case.name, adapted)["round trip"], edge=1e-6)


@every_weight
@every_map
def test_grad_undoes_the_conjugate(case: Case, adapted: bool) -> None:
    seen = measured(case.name, adapted)
    assert_small(seen["dual round trip"] / (1 + seen["gradient norm"][:, None]), edge=1e-6)


@every_weight
@every_map
def test_conjugate_takes_any_member_of_a_class(case: Case, adapted: bool) -> None:
    assert_small(measured(case.name, adapted)["class"], edge=1e-3)


@every_weight
@every_map
def test_conjugate_stays_in_the_affine_hull(case: Case, adapted: bool) -> None:
    start, _, _, *steps = np.moveaxis(measured(case.name, adapted)["normal part"], 1, 0)
    for part in (start, *steps):
        assert_small(part, edge=1e-9)


@every_weight
@every_map
def test_metric_is_the_hessian(case: Case, adapted: bool) -> None:
    applied = measured(case.name, adapted)["apply"]
    assert_small(applied - np.eye(applied.shape[-1]))


@every_weight
@every_map
def test_square_of_the_root_is_the_hessian(case: Case, adapted: bool) -> None:
    squared = measured(case.name, adapted)["sqrt"]
    assert_small(squared - np.eye(squared.shape[-1]))


@every_weight
@every_map
def test_solve_undoes_apply(case: Case, adapted: bool) -> None:
    """Each basis vector, relative to its local length."""
    solved, basis = measured(case.name, adapted)["solve of apply"]
    assert_small(np.linalg.norm(solved - basis, axis=1) / np.linalg.norm(basis, axis=1))


@every_weight
@every_map
def test_solve_takes_a_class_to_a_tangent_vector(case: Case, adapted: bool) -> None:
    seen = measured(case.name, adapted)
    assert_same(seen["solve"])
    assert_small(seen["solve, normal part"])


@every_weight
@every_map
def test_inverse_norm_is_the_least_of_a_class(case: Case, adapted: bool) -> None:
    found, expected = measured(case.name, adapted)["inverse norm"]
    assert_same((found[:, None], expected[:, None]))


@every_weight
@every_map
def test_log_det_is_that_of_the_hessian_up_to_a_constant(case: Case, adapted: bool) -> None:
    offset = measured(case.name, adapted)["log det"]
    assert_small(offset - offset[0])


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.exact_observation], ids=lambda case: case.name
)
def test_local_variance_is_the_diagonal_of_the_inverse_hessian(case: Case) -> None:
    assert_same(measured(case.name, False)["local variance"])


@every_weight
@every_map
def test_pulled_slopes_do_the_same_work(case: Case, adapted: bool) -> None:
    """<pulled, change of coordinates> is <slope, tangent vector>."""
    assert_same(measured(case.name, adapted)["pulled slope"])


@every_map
def test_self_concordance_is_as_stated(case: Case) -> None:
    """The third derivative keeps below the stated constant and comes within a factor 1.5 of it;
    where none is stated, it grows without bound."""
    seen = measured(case.name, False)
    stated, found = seen["stated constant"], seen["third derivative"]
    np.testing.assert_allclose(stated, case.concordance)
    if np.isfinite(case.concordance):
        assert np.all(found <= case.concordance * (1 + 1e-3))
        assert np.max(found) >= case.concordance / 1.5
    elif case.name != "UnstatedLens":
        assert np.max(found[COUNT:]) > 100


@every_map
def test_adapted_constant_holds(case: Case) -> None:
    seen = measured(case.name, True)
    assert np.all(seen["third derivative"] <= seen["stated constant"][:, None] * (1 + 1e-3) + 1e-12)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.whole_dual], ids=lambda case: case.name
)
def test_far_dual_points_have_primal_points(case: Case) -> None:
    """With adapted weights: without, a tail is too far out for 1e3 to reach its end."""
    seen = measured(case.name, True)
    assert np.all(seen["far slack"][:COUNT] > 0)
    assert np.max(np.abs(seen["far round trip"][:COUNT])) <= 1e-6 * case.reach


@every_map
def test_float32_agrees_with_float64(case: Case) -> None:
    """A batch of copies in float32 against the same points one by one in float64. Positive
    totals are compared relative to themselves, entries to the largest of a point."""
    found = jax.tree.map(np.asarray, single_precision(case.name))
    exact = jax.tree.map(lambda leaf: leaf[:COUNT], measured(case.name, True)["methods"])
    for key, reduce in {"potential": np.sum, "log_det": np.sum, "slack": np.min}.items():
        scale = np.sum(np.abs(exact[key])) + 1
        if np.isfinite(exact[key]).all():
            assert abs(found[key] - reduce(exact[key])) <= 1e-4 * scale, key
    total = np.sum(exact["inverse_norm_sq"])
    assert abs(found["inverse_norm_sq"] - total) <= 1e-3 * total
    for key in ("grad", "sqrt", "solve", "coordinates", "local variance"):
        for a, b in zip(jax.tree.leaves(found[key]), jax.tree.leaves(exact[key]), strict=True):
            assert_agree(a, b, key)
    # The conjugates of the dual point of x, of one nearby and of one far away.
    reached = jax.vmap(jax.vmap(flat))(found["conjugate_grad"])
    expected = jax.vmap(jax.vmap(flat))(exact["conjugate_grad"])
    for i in range(2 + case.whole_dual):
        assert_agree(np.asarray(reached[i]), np.asarray(expected[:, i]), f"conjugate {i}")


def assert_agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    found, expected = found.reshape(COUNT, -1), expected.reshape(COUNT, -1)
    size = np.max(np.abs(expected), axis=1, keepdims=True) + 1e-30
    np.testing.assert_array_less(np.abs(found - expected) / size, 2e-3, err_msg=what)


@every_map
def test_float32_stays_float32(case: Case) -> None:
    """With x64 on: a constant of the wrong type anywhere would show."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(single_precision(case.name)):
        assert leaf.dtype == jnp.float32, path
        assert not leaf.weak_type, path


def test_every_default_is_in_the_table() -> None:
    tabled = {type(case.constraint()) for case in CASES if case.constraint is not None}
    missing = set(registered()) - tabled
    assert not missing, f"no case for {missing}"
