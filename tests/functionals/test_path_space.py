"""The path-space functional: laws of its linearisation, block by block, and the estimator that it
reduces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from mmfld_ppl.functionals.path_space import PathSpace
from mmfld_ppl.measures import Measure
from tests.functionals.oracles import entropic_cost, path_marginals, squared_distances

RNG = np.random.default_rng(0)
TIMES = np.array([0.0, 0.5, 2.0])
# Exact in single precision. One snapshot has a single cell.
SNAPSHOTS = [np.round(RNG.uniform(-1, 1, (n, 2)) * 64) / 64 for n in (4, 1, 3)]
TAU, SIGMA, LAMBDA = 0.3, 0.6, 0.5
WEIGHTS = np.array([4, 1, 3]) / 8
# Two families of three marginals, on atoms of their own.
X, W = RNG.uniform(-1, 1, (3, 3, 2)), RNG.dirichlet(np.ones(3), 3)
Z, V = RNG.uniform(-1, 1, (3, 2, 2)), RNG.dirichlet(np.ones(2), 3)
ATOMS = np.concatenate([X, Z], axis=1)
POINTS, DIRECTION = RNG.uniform(-1, 1, (6, 2)), RNG.normal(size=(6, 2))
H = 1e-5


def rate(x, time):
    return 1.5 * x[..., 0] - time * x[..., 1] ** 2


def build(growth=None, **options):
    threshold = 1e-12 if jax.config.read("jax_enable_x64") else 1e-4
    options = {"diffusivity": TAU, "bandwidth": SIGMA, "regularization": LAMBDA, **options}
    return PathSpace(SNAPSHOTS, TIMES, growth=growth, threshold=threshold, **options)


def direct(atoms, masses, growth=None):
    """F in NumPy, of atoms (T, M, d) and masses (T, M) that sum to one in each row."""
    total = 0.0
    for z, share, x, w in zip(SNAPSHOTS, WEIGHTS, atoms, masses, strict=True):
        log_kernel = -squared_distances(x, z) / (2 * SIGMA**2)
        total -= share / LAMBDA * np.mean(logsumexp(log_kernel, axis=0, b=w[:, None]))
    for k, gap in enumerate(np.diff(TIMES)):
        a = masses[k]
        if growth is not None:
            a = a * np.exp(gap * growth(atoms[k], TIMES[k]))
        cost = squared_distances(atoms[k], atoms[k + 1]) / 2
        total += entropic_cost(cost, a / a.sum(), masses[k + 1], TAU * gap) / gap
    return total / len(TIMES)


def mixed(t):
    return np.concatenate([(1 - t) * W, t * V], axis=1)


def family(atoms, masses):
    return Measure(atoms.reshape(-1, atoms.shape[-1]), masses.reshape(-1) / len(masses))


GROWTH = {"no growth": None, "growth": rate}


@pytest.fixture(params=GROWTH)
def growth(request):
    return request.param


@functools.cache
def probe(name):
    """What the laws need to know, in double precision, from one compilation."""
    growth = GROWTH[name]

    @jax.jit
    def measure(weights):
        def value(x):
            out = build(growth).linearize(Measure(x, weights))
            return out.value, out.tangent

        (value, tangent), in_points = jax.value_and_grad(value, has_aux=True)(ATOMS.reshape(-1, 2))

        def variation(x):
            return build(growth).first_variation(tangent, x)

        field = jax.grad(lambda x: variation(x).sum())
        return {
            "value": value,
            "in weights": jax.grad(lambda w: build(growth)(Measure(ATOMS.reshape(-1, 2), w)))(
                weights
            ),
            "in points": in_points,
            "at atoms": variation(ATOMS.reshape(-1, 2)),
            "field at atoms": field(ATOMS.reshape(-1, 2)),
            "field": field(POINTS),
            "slopes": (variation(POINTS + H * DIRECTION) - variation(POINTS - H * DIRECTION))
            / (2 * H),
            "jacobian": jax.jacobian(variation)(POINTS),
        }

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, measure(mixed(0.4).reshape(-1) / 3))


def test_value_is_the_direct_formula(growth):
    expected = direct(ATOMS, mixed(0.4), GROWTH[growth])
    np.testing.assert_allclose(probe(growth)["value"], expected, rtol=1e-9)


def test_first_variation_is_the_slope_along_a_mixture(growth):
    """Of each marginal on its own, so of all of them together."""
    h, value = 1e-4, functools.partial(direct, ATOMS, growth=GROWTH[growth])
    away = np.concatenate([-W, V], axis=1)
    at_atoms = probe(growth)["at atoms"].reshape(3, -1)
    for block in range(3):
        only = np.arange(3)[:, None] == block
        step = h * np.where(only, away, 0)
        slope = (value(mixed(0.4) + step) - value(mixed(0.4) - step)) / (2 * h)
        np.testing.assert_allclose(at_atoms[block] @ away[block] / 3, slope, rtol=1e-6)


def test_gradient_of_the_first_variation(growth):
    found = probe(growth)
    along = np.sum(found["field"] * DIRECTION, axis=1)
    np.testing.assert_allclose(along, found["slopes"], rtol=1e-6, atol=1e-9)


def test_each_entry_depends_on_its_point_alone(growth):
    jacobian, across = probe(growth)["jacobian"], ~np.eye(len(POINTS), dtype=bool)
    np.testing.assert_array_equal(jacobian[across], 0)
    assert np.all(np.abs(jacobian[~across]).sum(-1) > 0)


def test_gradient_in_the_points_of_a_measure(growth):
    """What a kernel that knows nothing of functionals sees: dF/dx_i = w_i grad dF/dmu(x_i)."""
    found = probe(growth)
    expected = mixed(0.4).reshape(-1, 1) / 3 * found["field at atoms"]
    np.testing.assert_allclose(found["in points"], expected, rtol=1e-6, atol=1e-10)


def test_gradient_in_the_weights_of_a_measure(growth):
    """The first variation, up to a constant in each block: blocks are made to sum to one."""
    found = probe(growth)
    off = (found["in weights"] - found["at atoms"]).reshape(3, -1)
    np.testing.assert_allclose(off, np.broadcast_to(off[:, :1], off.shape), atol=1e-8)


def free_energy(atoms, masses, temperature):
    """F + temperature KL, relative to equal masses on the atoms."""
    entropy = np.sum(masses * np.log(masses * masses.shape[1])) / len(masses)
    return direct(atoms, masses) + temperature * entropy


def test_jointly_convex_with_the_entropy():
    """All marginals at once; at the diffusivity, and by more than F alone would be."""
    rng, slack = np.random.default_rng(1), []
    for _ in range(12):
        p, q = rng.dirichlet(np.full(5, 0.3), (2, 3)) + 1e-9
        p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
        ends = free_energy(ATOMS, p, TAU) + free_energy(ATOMS, q, TAU)
        slack.append(ends / 2 - free_energy(ATOMS, (p + q) / 2, TAU))
    assert min(slack) > 0


def test_without_the_entropy_it_is_not_jointly_convex():
    """Two paths at rest, far apart: to mix them costs the entropy of the choice."""
    cells = [np.zeros((1, 1))] * 2
    F = PathSpace(
        cells, [0.0, 1.0], diffusivity=1.0, bandwidth=1e3, regularization=1.0, threshold=1e-5
    )
    here_and_there = jnp.array([[0.0], [20.0], [0.0], [20.0]])

    def value(p):
        return float(F(Measure(here_and_there, jnp.array([p, 1 - p, p, 1 - p]) / 2)))

    rise = value(0.5) - (value(1.0) + value(0.0)) / 2
    np.testing.assert_allclose(rise, np.log(2) / 2, rtol=1e-3)


def test_growth_that_is_the_same_everywhere_changes_nothing(x64):
    mu = family(ATOMS, mixed(0.4))
    plain, grown = build(), build(lambda x, time: 2.0 + time + 0 * x[0])
    np.testing.assert_allclose(grown(mu), plain(mu), rtol=1e-10)
    tangents = plain.linearize(mu).tangent, grown.linearize(mu).tangent
    there = [f.first_variation(t, POINTS) for f, t in zip((plain, grown), tangents, strict=True)]
    off = (there[1] - there[0]).reshape(3, -1)
    np.testing.assert_allclose(off, np.broadcast_to(off[:, :1], off.shape), atol=1e-9)


@pytest.mark.parametrize(
    "growth",
    [lambda x, s: x[:, 1], lambda x, s: float(x[1]), lambda x, s: np.asarray(x)[1]],
    ids=["of many cells", "of a Python number", "of NumPy"],
)
def test_growth_that_jax_cannot_trace_at_one_cell(growth):
    with pytest.raises(TypeError, match=r"with one point, of shape \(2,\), and a time"):
        build(growth)(family(ATOMS, mixed(0.4)))


def test_growth_by_scores():
    with pytest.raises(TypeError, match="fit a function of the coordinates to the scores"):
        build(np.zeros(8))


def test_couplings_have_the_marginals(x64, growth):
    F, masses = build(GROWTH[growth]), mixed(0.4)
    plans = F.couplings(family(ATOMS, masses))
    grown = masses[:-1].copy()
    if growth == "growth":
        for k, gap in enumerate(np.diff(TIMES)):
            grown[k] *= np.exp(gap * rate(ATOMS[k], TIMES[k]))
    np.testing.assert_allclose(plans.sum(2), grown / grown.sum(1, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(plans.sum(1), masses[1:], atol=1e-9)
    report = F.report(family(ATOMS, masses))
    assert {field.shape for field in report} == {(2,)}
    assert jnp.all(report.converged)
    cost = np.stack([squared_distances(ATOMS[k], ATOMS[k + 1]) / 2 for k in range(2)])
    np.testing.assert_allclose(report.transport_cost, np.sum(plans * cost, (1, 2)), rtol=1e-9)


def test_the_coupling_of_gaussians_is_the_schrodinger_bridge(x64):
    """Covariance (sqrt(4 s^2 t^2 + eps^2) - eps)/2, eps = diffusivity * gap; Janati et al. 2020."""
    quantiles = norm.ppf((np.arange(300) + 0.5) / 300)
    x, y = 0.7 * quantiles, 2.0 + 1.3 * quantiles
    F = PathSpace(
        [np.zeros((1, 1))] * 2, [1.0, 1.5], diffusivity=0.8, bandwidth=1.0, regularization=1.0
    )
    mu = Measure.uniform(np.concatenate([x, y])[:, None])
    plan = F.couplings(mu)[0]
    covariance = (np.sqrt(4 * np.var(x) * np.var(y) + 0.4**2) - 0.4) / 2
    np.testing.assert_allclose(x @ plan @ (y - y.mean()), covariance, rtol=5e-3)


def test_the_optimum_is_that_of_the_path_space_problem(x64):
    """First-order conditions of F + diffusivity * KL hold at the marginals of the best law of
    paths: the reduction, with unequal gaps and snapshots."""
    grid = np.linspace(-1.5, 1.5, 13)[:, None]
    snapshots = [z[:, :1] for z in SNAPSHOTS]
    p = path_marginals(grid, snapshots, WEIGHTS, TIMES, TAU, SIGMA, LAMBDA)
    F = PathSpace(
        snapshots,
        TIMES,
        diffusivity=TAU,
        bandwidth=SIGMA,
        regularization=LAMBDA,
        threshold=1e-12,
    )
    mu = family(np.broadcast_to(grid, (3, *grid.shape)), p)
    variation = F.first_variation(F.linearize(mu).tangent, mu.points).reshape(3, -1)
    flat = variation + TAU * np.log(p)
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1], flat.shape), atol=1e-7)


@pytest.fixture
def path():
    return PathSpace(SNAPSHOTS, TIMES, diffusivity=TAU, bandwidth=SIGMA, regularization=LAMBDA)


def test_a_warm_start_saves_iterations_and_keeps_the_answer(path):
    near = family(ATOMS + 1e-3 * np.sin(np.arange(30)).reshape(3, 5, 2), mixed(0.4))
    carry = path.linearize(family(ATOMS, mixed(0.4)), None).carry
    cold, warm = path.report(near), path.report(near, carry)
    assert jnp.all(warm.iterations < cold.iterations)
    np.testing.assert_allclose(warm.value, cold.value, rtol=1e-3)
    values = [path.linearize(near, c).value for c in (None, carry)]
    np.testing.assert_allclose(*values, rtol=1e-3)


def test_a_bad_carry_does_no_harm(path):
    mu = family(ATOMS, mixed(0.4))
    cold = path.linearize(mu)
    for bad in (jnp.nan, jnp.inf, 1e20):
        warm = path.linearize(mu, jnp.full_like(cold.carry, bad))
        np.testing.assert_allclose(warm.value, cold.value, rtol=1e-3)
        assert jnp.all(jnp.isfinite(warm.carry))


def test_a_wrong_carry_that_underflows_does_no_harm():
    """The kernel about it holds zeros where the plan has mass."""
    path = PathSpace(SNAPSHOTS, TIMES, diffusivity=1e-2, bandwidth=SIGMA, regularization=LAMBDA)
    mu = family(ATOMS, mixed(0.4))
    carry = jnp.asarray(RNG.uniform(-0.5, 0.5, (2, 5)), jnp.float32)
    cold, warm = path.report(mu), path.report(mu, carry)
    assert jnp.all(warm.converged)
    np.testing.assert_allclose(warm.value, cold.value, rtol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_scan_can_hold_a_linearization(precision, x64):
    dtype = jnp.dtype(precision)

    def run(x):
        def step(state, shift):
            return build(rate).linearize(Measure.uniform(x + shift), state.carry), None

        measure = Measure.uniform(x)
        first = build(rate).linearize(measure, build(rate).init_carry(measure))
        return jax.lax.scan(step, first, jnp.array([0, 0.1], dtype))[0]

    last = jax.eval_shape(jax.vmap(run), jnp.zeros((2, 6, 2), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(last)} == {dtype}


def test_points_that_are_trees(x64):
    def split(x):
        return {"u": x[..., 0], "v": x[..., 1:]}

    snapshots = [Measure.uniform(split(z)) for z in SNAPSHOTS]
    options = {"diffusivity": TAU, "bandwidth": SIGMA, "regularization": LAMBDA}
    F = PathSpace(snapshots, TIMES, threshold=1e-12, **options)
    mu = family(ATOMS, mixed(0.4))
    expected = direct(ATOMS, mixed(0.4))
    np.testing.assert_allclose(F(Measure(split(mu.points), mu.weights)), expected, rtol=1e-9)


def test_data_and_settings_may_be_traced(path):
    @jax.jit
    def value(snapshots, times, diffusivity):
        options = {"bandwidth": SIGMA, "regularization": LAMBDA}
        traced = PathSpace(snapshots, times, diffusivity=diffusivity, **options)
        return traced(family(ATOMS, mixed(0.4)))

    expected = path(family(ATOMS, mixed(0.4)))
    np.testing.assert_allclose(value(SNAPSHOTS, TIMES, TAU), expected, rtol=1e-4)


def test_times_that_single_precision_cannot_tell_apart():
    """Gaps are those of the times as given: seconds since 1970, say."""
    start = 1.7e9
    later = PathSpace(SNAPSHOTS, start + TIMES, diffusivity=1.0, bandwidth=1.0, regularization=1.0)
    np.testing.assert_array_equal(later.gaps, np.diff(TIMES))
