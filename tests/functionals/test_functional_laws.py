"""Every functional, through every law of a linearisation.

A row of the table gives the functional and the same F written directly in NumPy, so that the first
variation is held against differences of an independent formula."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from mmfld_ppl.functionals import (
    Autodiff,
    Composition,
    EmpiricalRisk,
    Functional,
    MixtureLikelihood,
    OfMean,
    SinkhornBarycenter,
)
from mmfld_ppl.functionals.interaction import MMD, Interaction
from mmfld_ppl.functionals.kernels import Energy, Gaussian, Laplace
from mmfld_ppl.measures import Measure
from tests.functionals.oracles import entropic_cost, squared_distances

Q = np.array([0.3, -0.2])
# Exact in single precision, in which they can be given to every functional.
DATA = np.array([[0.125, 0.5], [-0.25, 0.875], [0.75, -0.5], [0.25, 0.25]])
LABELS = np.array([0.5, -1.0, 0.25, 0.0])
TARGETS = [
    (np.array([[0.0, 0.1], [0.5, -0.4], [0.7, 0.6]]), np.array([0.2, 0.5, 0.3])),
    (np.array([[-0.6, 0.3], [0.2, 0.9]]), np.array([0.6, 0.4])),
]
SHARES = np.array([0.7, 0.3])
EPS = 0.5


class Row(NamedTuple):
    """build: a fresh functional. direct: F of points and weights, in NumPy. convex: whether F is
    claimed to be convex along mixtures. pack: from an array of points to those that F takes."""

    build: Callable[[], Functional]
    direct: Callable[[np.ndarray, np.ndarray], float]
    convex: bool
    pack: Callable = lambda x: x


def pair(x):
    return {"u": x[:, 0], "v": x[:, 1:]}


def match_mean():
    return OfMean(lambda m: jnp.sum((m - Q.astype(m.dtype)) ** 2), potential=lambda x: x[0] ** 4)


def direct_match(x, w):
    return np.sum((w @ x - Q) ** 2) + w @ x[:, 0] ** 4


def outer_of_tree():
    return OfMean(
        outer=lambda m: jnp.exp(m["a"]) * jnp.sum(m["b"] ** 2),
        feature=lambda x: {"a": x["u"], "b": jnp.outer(x["v"], x["v"]) + x["u"]},
    )


def direct_tree(x, w):
    return np.exp(w @ x[:, 0]) * (w @ (x[:, 1] ** 2 + x[:, 0])) ** 2


def interaction(mu):
    gaps = mu.points[:, None] - mu.points[None]
    return mu.weights @ jnp.exp(-jnp.sum(gaps**2, axis=-1)) @ mu.weights


def direct_interaction(x, w):
    return w @ np.exp(-squared_distances(x, x)) @ w


def network():
    return EmpiricalRisk(
        loss=lambda m, z: (m - z[1]) ** 2,
        feature=lambda x, z: jnp.tanh(z[0] @ x),
        data=(DATA.astype(np.float32), LABELS.astype(np.float32)),
        potential=lambda x: 0.1 * jnp.sum(x**2),
    )


def direct_network(x, w):
    return np.mean((w @ np.tanh(x @ DATA.T) - LABELS) ** 2) + 0.1 * w @ np.sum(x**2, axis=1)


def mixture():
    return MixtureLikelihood(lambda x, z: -3 * jnp.sum((x - z) ** 2), data=DATA.astype(np.float32))


def direct_mixture(x, w):
    return -np.mean(logsumexp(-3 * squared_distances(x, DATA), axis=0, b=w[:, None]))


COUNTS = np.array([3.0, 1.0, 0.0, 2.5])


def counted_mixture():
    return MixtureLikelihood(
        lambda x, z: -3 * jnp.sum((x - z) ** 2), DATA.astype(np.float32), counts=COUNTS
    )


def direct_counted(x, w):
    logs = logsumexp(-3 * squared_distances(x, DATA), axis=0, b=w[:, None])
    return -np.average(logs, weights=COUNTS)


def direct_pairs(x, w):
    k = np.exp(-squared_distances(x, x) / (2 * 0.5**2))
    return w @ k @ w / 2 + w @ x[:, 1] ** 3


def mmd(kernel, **options):
    return MMD(TARGETS[0], kernel, **options)


def direct_mmd(k, x, w):
    """Half of the squared distance, from the signed measure on both sets of points."""
    y, b = TARGETS[0]
    points, signed = np.concatenate([x, y]), np.concatenate([w, -b])
    return signed @ k(np.sqrt(squared_distances(points, points))) @ signed / 2


def barycenter(debiased=False):
    # A threshold that either precision reaches, and differences can be taken of in the higher.
    threshold = 1e-12 if jax.config.read("jax_enable_x64") else 1e-4
    return SinkhornBarycenter(TARGETS, SHARES, epsilon=EPS, debiased=debiased, threshold=threshold)


def direct_barycenter(x, w):
    costs = [entropic_cost(squared_distances(x, y), w, b, EPS) for y, b in TARGETS]
    return SHARES @ costs


def direct_debiased(x, w):
    return direct_barycenter(x, w) - entropic_cost(squared_distances(x, x), w, w, EPS) / 2


TABLE = {
    "mean and potential": Row(match_mean, direct_match, True),
    "potential": Row(
        lambda: OfMean(potential=lambda x: jnp.cos(3 * x[0]) * x[1]),
        lambda x, w: w @ (np.cos(3 * x[:, 0]) * x[:, 1]),
        True,
    ),
    "pytree points": Row(outer_of_tree, direct_tree, False, pair),
    "autodiff": Row(lambda: Autodiff(interaction), direct_interaction, True),
    "sum": Row(
        lambda: match_mean() + 0.5 * Autodiff(interaction) - OfMean(potential=lambda x: x[1]),
        lambda x, w: direct_match(x, w) + 0.5 * direct_interaction(x, w) - w @ x[:, 1],
        True,
    ),
    "product": Row(
        lambda: Composition(lambda f, g: f * g, match_mean(), Autodiff(interaction)),
        lambda x, w: direct_match(x, w) * direct_interaction(x, w),
        False,
    ),
    "network": Row(network, direct_network, True),
    "mixture": Row(mixture, direct_mixture, True),
    "counted mixture": Row(counted_mixture, direct_counted, True),
    "interaction": Row(
        lambda: Interaction(Gaussian(0.5), lambda x: x[1] ** 3, block_size=2), direct_pairs, True
    ),
    "MMD, energy": Row(lambda: mmd(Energy()), functools.partial(direct_mmd, lambda r: -r), True),
    "MMD, Laplace": Row(
        lambda: mmd(Laplace(0.5), block_size=4),
        functools.partial(direct_mmd, lambda r: np.exp(-r / 0.5)),
        True,
    ),
    "barycenter": Row(barycenter, direct_barycenter, True),
    "debiased": Row(lambda: barycenter(debiased=True), direct_debiased, True),
}

RNG = np.random.default_rng(0)
X, W = RNG.uniform(-1, 1, (5, 2)), RNG.dirichlet(np.ones(5))
Z, V = RNG.uniform(-1, 1, (4, 2)), RNG.dirichlet(np.ones(4))
POINTS, DIRECTION = RNG.uniform(-1, 1, (3, 2)), RNG.normal(size=(3, 2))
H = 1e-5
# mu_t = (1-t) mu + t nu on the union of the atoms. All laws are tried at mu_0.4.
ATOMS = np.concatenate([X, Z])


def mixed(t):
    return np.concatenate([(1 - t) * W, t * V])


@functools.cache
def probe(name):
    """What the laws need to know of a functional, in double precision, from one compilation."""
    row = TABLE[name]

    @jax.jit
    def measure(weights):
        def value(x):
            out = row.build().linearize(Measure(row.pack(x), weights))
            return out.value, out.tangent

        # As the dynamics have it: the tangent meets another instance.
        def variation(x):
            return row.build().first_variation(tangent, row.pack(x))

        (value, tangent), in_points = jax.value_and_grad(value, has_aux=True)(ATOMS)
        field = jax.grad(lambda x: variation(x).sum())
        return {
            "value": value,
            "gradient in points": in_points,
            "at atoms": variation(ATOMS),
            "field at atoms": field(ATOMS),
            "at points": variation(POINTS),
            "at one point": variation(POINTS[:1]),
            "field": field(POINTS),
            "slopes": (variation(POINTS + H * DIRECTION) - variation(POINTS - H * DIRECTION))
            / (2 * H),
            "jacobian": jax.jacobian(variation)(POINTS),
        }

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, measure(mixed(0.4)))


@pytest.fixture(params=TABLE)
def name(request):
    return request.param


def test_value_is_the_direct_formula(name):
    np.testing.assert_allclose(probe(name)["value"], TABLE[name].direct(ATOMS, mixed(0.4)), 1e-9)


def test_first_variation_is_the_slope_along_a_mixture(name):
    h, direct = 1e-4, TABLE[name].direct
    slope = (direct(ATOMS, mixed(0.4 + h)) - direct(ATOMS, mixed(0.4 - h))) / (2 * h)
    away = np.concatenate([-W, V])
    np.testing.assert_allclose(probe(name)["at atoms"] @ away, slope, rtol=1e-6)


def test_gradient_of_the_first_variation(name):
    found = probe(name)
    along = np.sum(found["field"] * DIRECTION, axis=1)
    np.testing.assert_allclose(along, found["slopes"], rtol=1e-6, atol=1e-9)


def test_each_entry_depends_on_its_point_alone(name):
    found, across = probe(name), ~np.eye(len(POINTS), dtype=bool)
    np.testing.assert_array_equal(found["jacobian"][across], 0)
    assert np.all(np.abs(found["jacobian"][~across]).sum(-1) > 0)
    np.testing.assert_allclose(found["at points"][:1], found["at one point"], rtol=1e-12)


def test_a_point_far_away_takes_no_digits_from_the_others(name):
    """In single precision: a proposal may end anywhere, and must not decide about the others."""
    row = TABLE[name]
    functional, measure = row.build(), Measure.uniform(row.pack(jnp.asarray(X, jnp.float32)))
    tangent = functional.linearize(measure, functional.init_carry(measure)).tangent

    @jax.jit
    def total(x):
        variation = functional.first_variation(tangent, row.pack(x))
        return jnp.sum(variation), variation

    near = jnp.asarray(POINTS, jnp.float32)
    here, there = (
        jax.grad(total, has_aux=True)(x)[::-1] for x in (near, near.at[0].set(jnp.float32(1e6)))
    )
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other[1:], one[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.convex])
def test_convex_along_mixtures(name):
    direct, found = TABLE[name].direct, probe(name)
    for t in (0.1, 0.9):
        rise = direct(ATOMS, mixed(t)) - direct(ATOMS, mixed(0.4))
        assert rise >= found["at atoms"] @ (mixed(t) - mixed(0.4)) - 1e-9


def test_gradient_in_the_points_of_a_measure(name):
    """What a kernel that knows nothing of functionals sees: dF/dx_i = w_i grad dF/dmu(x_i)."""
    found = probe(name)
    expected = mixed(0.4)[:, None] * found["field at atoms"]
    np.testing.assert_allclose(found["gradient in points"], expected, rtol=1e-7, atol=1e-10)


def replicates(row, dtype):
    """Three linearisations in a scan whose state is a `Linearization`, two replicates in a vmap."""

    def run(x):
        def step(state, shift):
            return row.build().linearize(Measure.uniform(row.pack(x + shift)), state.carry), None

        measure, functional = Measure.uniform(row.pack(x)), row.build()
        carry = functional.init_carry(measure)
        first = jax.eval_shape(functional.linearize, measure, carry)
        first = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)
        return jax.lax.scan(step, first._replace(carry=carry), jnp.array([0, 0.1, 0.2], dtype))[0]

    return jax.vmap(run), jnp.array([X, X[::-1] / 2], dtype)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_scan_can_hold_a_linearization(name, precision, x64):
    dtype = jnp.dtype(precision)
    run, starts = replicates(TABLE[name], dtype)
    last = jax.eval_shape(run, starts)
    floats = [leaf for leaf in jax.tree.leaves(last) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {dtype}
    points = jax.ShapeDtypeStruct((2, *POINTS.shape), dtype)
    field = jax.vmap(lambda t, x: TABLE[name].build().first_variation(t, TABLE[name].pack(x)))
    values = jax.eval_shape(field, last.tangent, points)
    assert (values.shape, values.dtype) == ((2, len(POINTS)), dtype)


def test_warm_replicates_in_single_precision(name):
    run, starts = replicates(TABLE[name], jnp.float32)
    last = jax.jit(run)(starts)
    expected = [TABLE[name].direct(np.asarray(x) + 0.2, np.full(5, 0.2)) for x in starts]
    np.testing.assert_allclose(last.value, expected, rtol=2e-4, atol=2e-5)
