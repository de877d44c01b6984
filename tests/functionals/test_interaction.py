"""Kernels, discrepancies in closed form, memory, misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mmfld_ppl.functionals import KSD
from mmfld_ppl.functionals.interaction import MMD, Interaction
from mmfld_ppl.functionals.kernels import Energy, Gaussian, InverseMultiquadric, Laplace
from mmfld_ppl.measures import Measure
from tests.functionals.oracles import squared_distances

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(7, 2)), RNG.dirichlet(np.ones(7))
Y, B = RNG.normal(size=(5, 2)), RNG.dirichlet(np.ones(5))
KERNELS = {
    "Gaussian": (Gaussian(0.7), lambda r: np.exp(-(r**2) / (2 * 0.7**2))),
    "Laplace": (Laplace(0.7), lambda r: np.exp(-r / 0.7)),
    "Energy": (Energy(), lambda r: -r),
    "IMQ": (InverseMultiquadric(0.7, 0.4), lambda r: (1 + r**2 / 0.7**2) ** -0.4),
}


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def gram(kernel, x, y):
    return jax.vmap(jax.vmap(kernel, (None, 0)), (0, None))(x, y)


def test_kernels_are_what_they_say(kernel, x64):
    k, direct = kernel
    found = gram(k, X, Y)
    np.testing.assert_allclose(found, direct(np.sqrt(squared_distances(X, Y))), rtol=1e-12)
    trees = [{"a": z[:, 0], "b": z[:, 1:]} for z in (X, Y)]
    np.testing.assert_allclose(gram(k, *trees), found, rtol=1e-12)


def test_kernels_are_positive_among_measures_of_equal_mass(kernel, x64):
    k = np.asarray(gram(kernel[0], X, X))
    centre = np.eye(len(X)) - 1 / len(X)
    least = np.linalg.eigvalsh(centre @ k @ centre)[1]  # the first belongs to constants
    assert least > 1e-3


def test_the_gradient_is_finite_where_points_meet(kernel):
    x = jnp.array([0.3, -0.2])
    np.testing.assert_array_equal(jax.grad(kernel[0])(x, x), 0)
    near = jax.grad(kernel[0])(x, x + 1e-3)
    assert np.all(np.isfinite(near)) and np.all(near > 0)  # the kernel falls with the distance


def test_a_gaussian_kernel_between_gaussians(x64):
    """Gauss-Hermite rules stand for the two laws; E k is then known in closed form."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    (m, s), (n, t), h = (0.3, 0.5), (-0.4, 0.8), 0.9
    mu, nu = (Measure((a + b * nodes)[:, None], weights) for a, b in ((m, s), (n, t)))

    def mean_kernel(gap, variance):
        return h / np.sqrt(h**2 + variance) * np.exp(-(gap**2) / (2 * (h**2 + variance)))

    exact = mean_kernel(0, 2 * s**2) + mean_kernel(0, 2 * t**2)
    exact -= 2 * mean_kernel(m - n, s**2 + t**2)
    np.testing.assert_allclose(MMD(nu, Gaussian(h))(mu), exact / 2, rtol=1e-10)


def test_the_energy_distance_on_a_line(x64):
    """MMD^2 is twice the integral of the squared difference of the distribution functions."""
    x, y = np.sort(X[:, 0]), Y[:, 0]
    grid = np.sort(np.concatenate([x, y]))
    f = np.array([W[np.argsort(X[:, 0])][x <= t].sum() - B[y <= t].sum() for t in grid[:-1]])
    exact = 2 * np.sum(f**2 * np.diff(grid))
    value = MMD((Y[:, :1], B), Energy())(Measure(X[:, :1], W))
    np.testing.assert_allclose(2 * value, exact, rtol=1e-10)


def test_the_target_itself_is_the_minimum(kernel, x64):
    nu = Measure(Y, B)
    F = MMD(nu, kernel[0])
    value, tangent, _ = F.linearize(nu)
    np.testing.assert_allclose(value, 0, atol=1e-12)
    np.testing.assert_allclose(F.first_variation(tangent, X), 0, atol=1e-12)


@pytest.mark.parametrize("block_size", [1, 3, 7, 100])
def test_blocks_change_nothing(block_size, x64):
    whole, parts = (
        Interaction(Laplace(0.5), lambda x: x[0], block_size=b) for b in (1000, block_size)
    )
    expected, got = whole.linearize(Measure(X, W)), parts.linearize(Measure(X, W))
    np.testing.assert_allclose(got.value, expected.value, rtol=1e-12)
    np.testing.assert_allclose(
        parts.first_variation(got.tangent, Y), whole.first_variation(expected.tangent, Y), 1e-12
    )


def needed(function, size):
    """Bytes of scratch memory of the compiled function, for as many points in the plane."""
    points = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    return jax.jit(function).lower(points).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("chains", [1, 2])
def test_memory_grows_with_the_number_of_particles_and_not_with_its_square(chains):
    """Of all that a step takes: the value, and the gradient of the first variation."""
    target = Measure.uniform(jnp.asarray(Y, jnp.float32))
    kernel = Gaussian(0.5)
    F = MMD(target, Energy()) + Interaction(lambda x, y: kernel(x, y))  # radial, and any other

    def step(x):
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, jax.grad(lambda z: F.first_variation(tangent, z).sum())(x)

    def in_points(x):
        return jax.grad(lambda z: F(Measure.uniform(z)))(x)

    for function in (step, in_points):
        replicates = jax.vmap(lambda x, f=function: f(x)) if chains > 1 else function

        def run(x, g=replicates):
            return g(x.reshape(chains, -1, 2)) if chains > 1 else g(x)

        few, many = needed(run, 4096 * chains), needed(run, 16384 * chains)
        assert many < 6 * few
        assert many < chains * 16384**2  # a quarter of what one matrix of all pairs takes


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gaussian(0.0), "scale of a Gaussian kernel must be one positive number, got 0.0"),
        (lambda: Laplace(np.ones(2)), "scale of a Laplace kernel must be one positive"),
        (lambda: InverseMultiquadric(-1.0), "scale of an inverse multiquadric kernel"),
        (lambda: InverseMultiquadric(1.0, 0.0), "power of an inverse multiquadric kernel"),
        (lambda: Interaction(Energy(), block_size=0), "whole number of at least 1, got 0"),
        (lambda: Interaction(Energy(), block_size=2.5), "whole number of at least 1, got 2.5"),
        (lambda: KSD(jnp.sum, Energy(), block_size=0), "whole number of at least 1, got 0"),
        (lambda: MMD((Y, B), Energy(), block_size=-1), "whole number of at least 1, got -1"),
        (lambda: MMD((Y, 2 * B), Energy()), "masses of the target of MMD .* sum 2"),
        (lambda: MMD((Y, B - 0.2), Energy()), "must be non-negative"),
        (lambda: MMD((np.where(Y == Y[2, 1], np.nan, Y), B), Energy()), "got .*nan.* in row 2"),
        (lambda: MMD((Y, B), Energy())(Measure.uniform(X[:, :1])), r"shape \(1,\), the target"),
        (lambda: Interaction(lambda x, y: x - y)(Measure(X, W)), "kernel of an interaction must"),
        (
            lambda: Interaction(Energy(), lambda x: x)(Measure(X, W)),
            "potential of Interaction must give one number",
        ),
    ],
)
def test_misuse_is_explained(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_bare_points_are_not_a_target():
    with pytest.raises(TypeError, match=r"the target of MMD must be .*Measure.uniform\(points\)"):
        MMD(Y, Energy())


@pytest.mark.parametrize(
    "build",
    [
        lambda: MMD((Y, B), Energy),
        lambda: Interaction(Energy),
        lambda: KSD(lambda x: -jnp.sum(x**2), Energy),
    ],
)
def test_the_class_of_a_kernel_is_not_one(build):
    with pytest.raises(TypeError, match=r"kernel of .* got the class Energy: pass .*Energy\("):
        build()


def test_a_target_may_be_a_data_frame():
    frame, masses = pd.DataFrame(Y, index=range(5, 5 + len(Y))), pd.Series(B)
    value, expected = (MMD(nu, Energy())(Measure(X, W)) for nu in ((frame, masses), (Y, B)))
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(MMD((Y.tolist(), B.tolist()), Energy())(Measure(X, W)), expected)


def test_a_target_may_be_traced():
    value = jax.jit(lambda y, b, x: MMD((y, b), Gaussian(0.7))(Measure.uniform(x)))(Y, B, X)
    np.testing.assert_allclose(value, MMD((Y, B), Gaussian(0.7))(Measure.uniform(X)), rtol=1e-5)


def test_what_is_known_of_a_target_is_computed_once(monkeypatch):
    """Of the same content: not of an array that was changed in place, nor for another kernel. What
    is traced is the program to look for; what is not known of it is computed besides."""
    made = []
    own = MMD._self_energy
    monkeypatch.setattr(MMD, "_self_energy", lambda self: made.append(1) or own(self))
    points = np.random.default_rng(7).normal(size=(40, 2))

    def constant(width: float = 0.7) -> float:
        return float(MMD(Measure.uniform(points), Gaussian(width)).constant)

    first = constant()
    assert constant() == first and len(made) == 2 + 1
    assert constant(0.8) != first and len(made) == 5
    points[0] += 1
    assert constant() != first and len(made) == 7
    for shift in (0.0, 1.0):  # Functions with another memory, at one address perhaps.
        found = MMD(Measure.uniform(points), lambda x, y, s=shift: jnp.sum(x * y) + s).constant
        mean = points.mean(axis=0)
        np.testing.assert_allclose(found, (mean @ mean + shift) / 2, rtol=1e-4)
    for width in (1.0, 10.0):  # A function that reads a global.
        monkeypatch.setitem(globals(), "WIDTH", width)
        nu = Measure.uniform(points)
        np.testing.assert_allclose(MMD(nu, of_this_width)(nu), 0, atol=1e-6)


WIDTH = 1.0


def of_this_width(x, y):
    return jnp.exp(-jnp.sum((x - y) ** 2) / WIDTH)
