"""Radial kernels: what the sums by blocks give is what the kernel of two points gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmfld_ppl.functionals.interaction import MMD, Interaction, smooth
from mmfld_ppl.functionals.kernels import Energy, Gaussian, InverseMultiquadric, Laplace, Radial
from mmfld_ppl.measures import Measure

KERNELS = {
    "Gaussian": Gaussian(0.7),
    "Laplace": Laplace(0.7),
    "Energy": Energy(),
    "IMQ": InverseMultiquadric(0.7, 0.4),
}
RNG = np.random.default_rng(0)
DIRECTION = RNG.normal(size=(9, 2))


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def integrals(kernel, x, y, w, block_size=None):
    return smooth(kernel, Measure(y, w), x, block_size)


def of_two_points(kernel):
    """The same kernel as a function, for which nothing is known of it but its values."""
    return lambda x, y: kernel(x, y)


def clouds(dimension=2):
    """Points, some of which meet some atoms, exactly or nearly, and masses, one of them zero."""
    x, y = RNG.normal(size=(9, dimension)), RNG.normal(size=(6, dimension))
    y[:2], y[2] = x[:2], x[2] + 1e-3
    return x, y, np.array([0.3, 0.1, 0.2, 0.0, 0.25, 0.15])


def everything(kernel, x, y, w, block_size=None):
    """Values, gradients in all arguments, and second derivatives along a direction, both ways."""

    def total(x, y, w):
        # A square, for cotangents that differ.
        return jnp.sum(integrals(kernel, x, y, w, block_size) ** 2)

    slope = jax.grad(total)
    along = jnp.asarray(DIRECTION, x.dtype)
    return {
        "values": integrals(kernel, x, y, w, block_size),
        "gradients": jax.grad(total, (0, 1, 2))(x, y, w),
        "tangents": jax.jvp(lambda *a: integrals(kernel, *a, block_size), (x, y, w), (x, -y, w))[1],
        "forward over reverse": jax.jvp(lambda x: slope(x, y, w), (x,), (along,))[1],
        "reverse over reverse": jax.grad(
            lambda x, y, w: jnp.sum(slope(x, y, w) * along), (0, 1, 2)
        )(x, y, w),
    }


def test_blocks_are_the_kernel_of_two_points(kernel, x64):
    arrays = [jnp.asarray(a) for a in clouds()]
    found, expected = (
        jax.jit(lambda *a, k=k: everything(k, *a))(*arrays) for k in (kernel, of_two_points(kernel))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-10), found, expected)


def test_more_coordinates_than_are_summed_at_once(kernel, x64):
    arrays = [jnp.asarray(a) for a in clouds(35)]
    found, expected = (
        jax.value_and_grad(lambda *a, k=k: integrals(k, *a).sum(), (0, 1, 2))(*arrays)
        for k in (kernel, of_two_points(kernel))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-10), found, expected)


@pytest.mark.parametrize("layout", ["one cloud", "offset", "two clusters"])
def test_single_precision_loses_nothing(kernel, layout, x64):
    """Against the same numbers in double precision; products of matrices would lose digits where
    points nearly meet, and most of them between clusters."""
    x, y, w = (a.astype(np.float32) for a in clouds(3))
    far = {"one cloud": [0.0, 0.0], "offset": [1e3, 1e3], "two clusters": [0.0, 1e3]}[layout]
    x, y = (z + np.float32(far)[np.arange(len(z)) % 2, None] for z in (x, y))

    def both(dtype):
        arrays = [jnp.asarray(a, dtype) for a in (x, y, w)]
        return jax.value_and_grad(lambda *a: integrals(kernel, *a).sum(), (0, 1, 2))(*arrays)

    def close(found, exact):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * np.max(np.abs(exact)))

    jax.tree.map(close, both(jnp.float32), both(jnp.float64))


def test_where_points_meet_the_gradient_is_zero(kernel):
    x = jnp.full((5, 3), 0.3)
    value, slope = jax.value_and_grad(lambda z: integrals(kernel, z, x, jnp.ones(5)).sum())(x)
    np.testing.assert_allclose(value, 25 * float(kernel(x[0], x[0])), rtol=1e-6)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("block_size", [1, 2, 4, 9, 100])
def test_blocks_of_any_size(block_size, x64):
    kernel, arrays = Laplace(0.7), [jnp.asarray(a) for a in clouds()]
    found, expected = (
        jax.value_and_grad(lambda *a, b=b: integrals(kernel, *a, b).sum(), (0, 1, 2))(*arrays)
        for b in (block_size, None)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12), found, expected)


@pytest.mark.parametrize("build", [Gaussian, Laplace, InverseMultiquadric])
def test_a_scale_may_be_traced(build, x64):
    x, y, w = (jnp.asarray(a) for a in clouds())

    def total(scale, fast):
        kernel = build(scale)
        return integrals(kernel if fast else of_two_points(kernel), x, y, w).sum()

    found, expected = (jax.jit(jax.value_and_grad(total), static_argnums=1)(0.8, f) for f in (1, 0))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_chains_and_trees(kernel, x64):
    x, y, w = clouds()
    chains = jnp.stack([x, 2 * x, -x])
    slope = jax.grad(lambda z: integrals(kernel, z, y, w).sum())
    np.testing.assert_allclose(jax.vmap(slope)(chains), [slope(z) for z in chains], 1e-10, 1e-10)

    def in_tree(z):
        return {"a": z[:, 0], "b": z[:, 1:]}

    found = integrals(kernel, in_tree(jnp.asarray(x)), in_tree(y), w)
    np.testing.assert_allclose(found, integrals(kernel, x, y, w), rtol=1e-12)


def needed(function, size):
    points = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    return jax.jit(function).lower(points).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_memory_of_second_derivatives(mode):
    def slope(x):
        return jax.grad(lambda z: integrals(Energy(), z, x, jnp.ones(len(x))).sum())(x)

    def second(x):
        if mode == "forward":
            return jax.jvp(slope, (x,), (x,))[1]
        return jax.grad(lambda z: jnp.sum(jnp.sin(slope(z))))(x)

    assert needed(second, 8192) < 3 * needed(second, 2048)


def test_one_pass_gives_value_and_gradient():
    """What would compute the kernels once more for the gradient has an exponential more."""
    y, w = jnp.zeros((5, 2)), jnp.full(5, 0.2)

    def exponentials(kernel):
        together = jax.value_and_grad(lambda x: integrals(kernel, x, y, w, 2).sum())
        return jax.jit(together).lower(jnp.zeros((8, 2))).compile().as_text().count(" exponential(")

    assert exponentials(Gaussian(1.0)) == 1
    assert exponentials(of_two_points(Gaussian(1.0))) == 2


class Cauchy(Radial):
    def profile(self, square):
        return 1 / (1 + square)


def test_a_kernel_of_ones_own(x64):
    x, y, w = clouds()
    exact = (1 / (1 + np.sum((x[:, None] - y) ** 2, axis=-1))) @ w
    np.testing.assert_allclose(integrals(Cauchy(), x, y, w), exact, rtol=1e-12)
    np.testing.assert_allclose(
        MMD((y, w), Cauchy())(Measure.uniform(x)),
        MMD((y, w), of_two_points(Cauchy()))(Measure.uniform(x)),
        rtol=1e-12,
    )


class Total(Radial):
    def profile(self, square):
        return jnp.sum(square)


def test_a_profile_must_work_elementwise():
    with pytest.raises(ValueError, match=r"profile of Total .* got shape \(\) for \(3,\)"):
        Interaction(Total())(Measure.uniform(jnp.zeros((3, 2))))
