"""From constraints to maps."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints as nc

from mmfld_ppl import constraints as convex
from mmfld_ppl.constraints.by_type import ByType
from mmfld_ppl.mirrors import (
    Euclidean,
    HalfLine,
    Independent,
    Interval,
    Simplex,
    mirror_map,
    register,
    registered,
    registry,
)

# Every constraint of NumPyro, with the shape of a value and the name of its map.
MAPPED = [
    (nc.real, (), "Euclidean"),
    (nc.real_vector, (3,), "Euclidean"),
    (nc.real_matrix, (2, 3), "Euclidean"),
    (nc.greater_than(1.0), (), "HalfLine"),
    (nc.greater_than_eq(1.0), (), "HalfLine"),
    (nc.positive, (), "HalfLine"),
    (nc.nonnegative, (), "HalfLine"),
    (nc.softplus_positive, (), "HalfLine"),
    (nc.less_than(1.0), (), "HalfLine"),
    (nc.less_than_eq(1.0), (), "HalfLine"),
    (nc.interval(0.0, 2.0), (), "Interval"),
    (nc.open_interval(0.0, 2.0), (), "Interval"),
    (nc.unit_interval, (), "Interval"),
    (nc.simplex, (3,), "Simplex"),
    (nc.zero_sum(1), (3,), "ZeroSum"),
    (nc.ordered_vector, (3,), "OrderedVector"),
    (nc.positive_ordered_vector, (3,), "PositiveOrderedVector"),
    (nc.lower_cholesky, (2, 2), "LowerCholesky"),
    (nc.softplus_lower_cholesky, (2, 2), "LowerCholesky"),
    (nc.scaled_unit_lower_cholesky, (2, 2), "LowerCholesky"),
    (nc.positive_definite, (2, 2), "PositiveDefinite"),
    (nc.positive_semidefinite, (2, 2), "PositiveDefinite"),
    (nc.corr_matrix, (2, 2), "CorrelationMatrix"),
    (nc.cat([nc.positive, nc.real]), (2,), "Concatenation"),
    (nc.independent(nc.positive, 1), (2,), "HalfLine"),
]

# Those that run in a chart, or cannot run: no convex set, no Hessian map, discrete, or abstract.
UNMAPPED = [
    (nc.circular, ()),
    (nc.complex, ()),
    (nc.corr_cholesky, (2, 2)),
    (nc.l1_ball, (3,)),
    (nc.positive_definite_circulant_vector, (3,)),
    (nc.sphere, (3,)),
    (nc.boolean, ()),
    (nc.integer_interval(0, 2), ()),
    (nc.integer_greater_than(0), ()),
    (nc.nonnegative_integer, ()),
    (nc.positive_integer, ()),
    (nc.multinomial(3), (3,)),
    (nc.dependent, ()),
]
ABSTRACT = {"Constraint", "ParameterFreeConstraint", "_SingletonConstraint", "dependent_property"}


@pytest.mark.parametrize(("constraint", "shape", "name"), MAPPED, ids=lambda v: str(v))
def test_constraints_with_a_map(constraint, shape, name) -> None:
    mirror = mirror_map(constraint, shape)
    assert mirror.describe() == name
    x = jnp.zeros(shape)
    assert jax.tree.leaves(mirror.adaptable(jnp.float32).noise_like(x))[0].dtype == jnp.float32


@pytest.mark.parametrize(("constraint", "shape"), UNMAPPED, ids=lambda v: str(v))
def test_constraints_without_a_map(constraint, shape) -> None:
    assert mirror_map(constraint, shape) is None


def test_every_numpyro_constraint_is_decided_upon() -> None:
    """A constraint that a new NumPyro brings has to be put in one of the lists."""
    classes = {
        value
        for _, value in inspect.getmembers(nc, inspect.isclass)
        if issubclass(value, nc.Constraint)
    }
    decided = {type(entry[0]) for entry in (*MAPPED, *UNMAPPED)}
    undecided = {c.__name__ for c in classes - decided} - ABSTRACT
    assert not undecided


def test_registered_leaves_out_what_has_no_map() -> None:
    assert type(nc.simplex) in registered()
    assert type(nc.circular) not in registered()


def test_leading_axes_become_copies() -> None:
    mirror = mirror_map(nc.simplex, (5, 2, 3))
    assert isinstance(mirror, Independent)
    assert mirror.shape == (5, 2)
    assert isinstance(mirror.base, Simplex)
    assert mirror.base.weights.shape == (5, 2, 3)


def test_batched_parameters_reach_their_copies() -> None:
    low, high = jnp.array([0.0, -1.0]), jnp.array([[1.0], [2.0], [3.0]])
    mirror = mirror_map(nc.interval(low, high), (3, 2))
    assert isinstance(mirror.base, Interval)
    np.testing.assert_array_equal(mirror.base.lower, jnp.broadcast_to(low, (3, 2)))
    np.testing.assert_array_equal(mirror.base.upper, jnp.broadcast_to(high, (3, 2)))


def test_batched_parameters_with_an_event_of_their_own() -> None:
    normals, offsets = jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([2.0, 10.0])
    mirror = mirror_map(convex.halfspace(normals, offsets), (2, 2))
    assert mirror.shape == (2,)
    x = jnp.zeros((2, 2))
    np.testing.assert_allclose(mirror.slack(x), 2.0, rtol=1e-6)
    np.testing.assert_allclose(mirror.slack(x.at[0].set(5.0)), -3.0, rtol=1e-6)


def test_one_polytope_for_many_events() -> None:
    square = convex.polytope(np.vstack([np.eye(2), -np.eye(2)]), np.ones(4))
    mirror = mirror_map(square, (6, 2))
    assert mirror.shape == (6,)
    np.testing.assert_allclose(mirror.slack(0.25 * jnp.ones((6, 2))), 0.75, rtol=1e-6)


def test_a_polytope_without_equalities_is_in_its_own_coordinates() -> None:
    rectangle = convex.polytope(np.vstack([np.eye(2), -np.eye(2)]), np.array([1.0, 40, 1, 40]))
    x = jnp.array([0.5, -30.0])
    mirror = mirror_map(rectangle, (2,))
    np.testing.assert_allclose(mirror.conjugate_grad(mirror.grad(x), jnp.zeros(2)), x, rtol=1e-5)
    np.testing.assert_allclose(mirror.slack(x), 0.5, rtol=1e-5)


def test_a_box_is_made_of_intervals() -> None:
    mirror = mirror_map(convex.box(jnp.array([0.0, 1.0]), 3.0), (2,))
    assert isinstance(mirror.base, Interval)


@pytest.mark.parametrize("dim", [-1, 1])
def test_concatenation_cuts_a_batch_axis(dim) -> None:
    constraint = nc.cat([nc.positive, nc.unit_interval], dim=dim, lengths=[2, 1])
    x = jnp.array([[1.0, 2.0, 0.25], [3.0, 4.0, 0.5]])
    mirror = mirror_map(constraint, x.shape)
    np.testing.assert_allclose(mirror.slack(x), 0.25)
    np.testing.assert_allclose(mirror.conjugate_grad(mirror.grad(x), x), x, rtol=1e-6)


def test_concatenation_with_an_unmapped_part_has_no_map() -> None:
    assert mirror_map(nc.cat([nc.positive, nc.circular]), (2,)) is None


def test_concatenation_needs_its_lengths() -> None:
    with pytest.raises(ValueError, match="needs 2 entries along axis 0"):
        mirror_map(nc.cat([nc.positive, nc.real]), (3,))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_parameters_have_the_dtype_that_was_asked_for(dtype, x64) -> None:
    for constraint, shape, _ in MAPPED:
        for leaf in jax.tree.leaves(mirror_map(constraint, shape, dtype)):
            assert leaf.dtype == dtype


def test_the_most_specific_class_wins(monkeypatch) -> None:
    _forget_afterwards(monkeypatch)

    class _Odd(type(nc.positive)):
        pass

    odd = _Odd()
    assert isinstance(mirror_map(odd), HalfLine)

    @register(_Odd)
    def _(constraint, shape, dtype):
        return Euclidean()

    assert isinstance(mirror_map(odd), Euclidean)
    assert isinstance(mirror_map(nc.positive), HalfLine)
    assert isinstance(mirror_map(odd, (4,)).base, Euclidean)


def test_a_builder_may_decline(monkeypatch) -> None:
    _forget_afterwards(monkeypatch)

    class _Odd(type(nc.positive)):
        pass

    register(_Odd)(lambda constraint, shape, dtype: None)
    assert mirror_map(_Odd()) is None
    assert mirror_map(_Odd(), (3,)) is None


def _forget_afterwards(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_builders", ByType(registry._builders))


def test_register_wants_classes() -> None:
    with pytest.raises(TypeError, match=r"pass type\(constraints.simplex\)"):
        register(nc.simplex)
    with pytest.raises(TypeError, match="Constraint classes"):
        register(int)


def test_mirror_map_wants_a_constraint() -> None:
    with pytest.raises(TypeError, match="takes a NumPyro constraint"):
        mirror_map("simplex", (3,))


def test_mirror_map_wants_a_whole_event() -> None:
    with pytest.raises(ValueError, match="events of 1 axes, got a value of shape"):
        mirror_map(nc.simplex, ())
