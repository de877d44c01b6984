"""Entropic barycenters: the transport behind them, warm starts, misuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ott.geometry.costs import PNormP

from mmfld_ppl.functionals import SinkhornBarycenter, transport_costs
from mmfld_ppl.functionals.distances import squared_distance
from mmfld_ppl.measures import Measure
from tests.functionals.oracles import entropic_cost, entropic_plan, squared_distances

# Most tests share the shapes of these, and so what is compiled.
RNG = np.random.default_rng(0)
X, W = RNG.uniform(size=(6, 2)), RNG.dirichlet(np.ones(6))
TARGETS = [(RNG.uniform(size=(m, 2)), RNG.dirichlet(np.ones(m))) for m in (6, 3)]
EPS, TIGHT = 0.02, 1e-11


@pytest.fixture(params=["held", "streamed"])
def costs(request, monkeypatch):
    """With the costs of a target in a matrix, and as if that was too large to hold."""
    if request.param == "streamed":
        monkeypatch.setattr(transport_costs, "HELD", 0)


@pytest.fixture
def exact(x64):
    return SinkhornBarycenter(TARGETS, epsilon=EPS, threshold=TIGHT)


@pytest.fixture
def barycenter():
    return SinkhornBarycenter(TARGETS, epsilon=EPS)


def carry_of(barycenter, points):
    return barycenter.linearize(Measure.uniform(points)).carry


def test_report_and_couplings_against_the_oracle(costs, exact):
    mu = Measure(X, W)
    report, plans = exact.report(mu), exact.couplings(mu)
    assert plans.shape == (2, 6, 6)
    for k, (y, b) in enumerate(TARGETS):
        cost = squared_distances(X, y)
        plan = entropic_plan(cost, W, b, EPS)
        np.testing.assert_allclose(plans[k, :, : len(b)], plan, atol=1e-9)
        np.testing.assert_array_equal(plans[k, :, len(b) :], 0)
        np.testing.assert_allclose(report.transport_cost[k], np.sum(plan * cost), rtol=1e-8)
        np.testing.assert_allclose(report.value[k], entropic_cost(cost, W, b, EPS), rtol=1e-8)
    np.testing.assert_allclose(jnp.mean(report.value), exact(mu), rtol=1e-12)
    # An over-relaxed iteration that ends a solve leaves the other marginal inexact too.
    assert jnp.all(report.marginal_error < 2 * TIGHT)
    np.testing.assert_array_equal(report.converged, report.marginal_error < TIGHT)


def test_small_epsilon_is_the_quantile_coupling(x64):
    x, y = RNG.normal(size=(6, 1)), 2 + 3 * RNG.normal(size=(6, 1))
    F = SinkhornBarycenter([Measure.uniform(y)] * 2, epsilon=0.02, threshold=TIGHT)
    report = F.report(Measure.uniform(x))
    expected = np.mean((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2)
    np.testing.assert_allclose(report.transport_cost, expected, rtol=1e-3)


def test_a_measure_is_its_own_debiased_barycenter(costs, x64):
    nu = Measure(*TARGETS[0])
    F = SinkhornBarycenter([nu, nu], epsilon=0.5, debiased=True, threshold=TIGHT)
    tangent = F.linearize(nu).tangent
    field = jax.grad(lambda x: F.first_variation(tangent, x).sum())(nu.points)
    np.testing.assert_allclose(field, 0, atol=1e-9)


def test_atoms_without_mass_change_nothing(costs, exact):
    y, b = TARGETS[1]
    filled = [(np.concatenate([y, X[:2]]), np.append(b, [0, 0])), TARGETS[0]]
    same = SinkhornBarycenter(filled, epsilon=EPS, threshold=TIGHT)
    wider = Measure(np.concatenate([X, y]), np.append(W, [0, 0, 0]))
    expected, got = exact.linearize(Measure(X, W)), same.linearize(wider)
    np.testing.assert_allclose(got.value, expected.value, rtol=1e-9)
    np.testing.assert_allclose(
        same.first_variation(got.tangent, X),
        exact.first_variation(expected.tangent, X),
        rtol=1e-9,
    )


@pytest.mark.parametrize("far", [-999.0, 1e5, 1e30])
def test_an_atom_without_mass_costs_no_precision(far):
    near, y = [(np.array([[0.1, 0.2], [0.5, 0.9]]), np.array([0.5, 0.5]))], np.array([[0.4, 0.5]])
    alone = SinkhornBarycenter([*near, (y, np.ones(1))], epsilon=0.05)
    beside = (np.concatenate([y, np.full((1, 2), far)]), np.array([1.0, 0.0]))
    mu = Measure.uniform(jnp.asarray(X, jnp.float32))
    found = SinkhornBarycenter([*near, beside], epsilon=0.05)(mu)
    np.testing.assert_allclose(found, alone(mu), rtol=1e-5)


def test_any_cost(costs, exact):
    """OTT's cost functions, plain functions, and points that are not vectors."""

    def value(targets, points, cost):
        F = SinkhornBarycenter(targets, epsilon=EPS, cost=cost, threshold=TIGHT)
        return F(Measure(points, W))

    cubic = PNormP(3.0)
    costs = [np.array([[cubic(x, y) for y in ys] for x in X]) for ys, _ in TARGETS]
    expected = [entropic_cost(c, W, b, EPS) for c, (_, b) in zip(costs, TARGETS, strict=True)]
    np.testing.assert_allclose(value(TARGETS, X, cubic), np.mean(expected), rtol=1e-8)

    def split(x):
        return {"u": x[:, 0], "v": x[:, 1:]}

    trees = [(split(y), b) for y, b in TARGETS]
    for got in (
        value(TARGETS, X, lambda x, y: (x - y) @ (x - y)),
        value(trees, split(X), squared_distance),
    ):
        np.testing.assert_allclose(got, exact(Measure(X, W)), rtol=1e-9)


def test_far_from_the_origin_in_single_precision(costs, barycenter):
    # A shift that single precision represents together with the points, to 2^-16.
    x, ys = np.round(X * 2**12) / 2**12, [np.round(y * 2**12) / 2**12 for y, _ in TARGETS]
    values = []
    for shift in (0, 64):
        targets = [(y + shift, b) for y, (_, b) in zip(ys, TARGETS, strict=True)]
        values.append(SinkhornBarycenter(targets, epsilon=EPS)(Measure(x + shift, W)))
    np.testing.assert_allclose(*values, rtol=1e-5)


def test_a_warm_start_saves_iterations_and_keeps_the_answer(barycenter):
    near = Measure(X + 1e-3 * np.sin(np.arange(12)).reshape(6, 2), W)
    carry = barycenter.linearize(Measure(X, W)).carry
    cold, warm = barycenter.report(near), barycenter.report(near, carry)
    assert jnp.all(warm.iterations < cold.iterations)
    np.testing.assert_allclose(warm.value, cold.value, rtol=1e-3)
    again = barycenter.report(near, barycenter.linearize(near, carry).carry)
    np.testing.assert_array_equal(again.iterations, 2)  # one to try, one to confirm


BAD = {
    "nan": lambda g: jnp.full_like(g, jnp.nan),
    "one infinite": lambda g: g.at[..., 0].set(jnp.inf),
    "huge": lambda g: 1e20 * jnp.cos(jnp.arange(g.size, dtype=g.dtype)).reshape(g.shape),
    "shifted": lambda g: g + 1e6,
    "wrong": lambda g: 0.7 * jnp.cos(jnp.arange(g.size, dtype=g.dtype)).reshape(g.shape),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("debiased", [False, True])
def test_a_bad_carry_does_no_harm(costs, bad, debiased):
    F = SinkhornBarycenter(TARGETS, epsilon=EPS, debiased=debiased)
    mu = Measure.uniform(jnp.asarray(X, jnp.float32))
    value, tangent, carry = F.linearize(mu, jax.tree.map(BAD[bad], F.init_carry(mu)))
    cold = F.linearize(mu)
    np.testing.assert_allclose(value, cold.value, rtol=1e-3)
    np.testing.assert_allclose(
        F.first_variation(tangent, X), F.first_variation(cold.tangent, X), atol=1e-3
    )
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(carry))


def test_a_bad_measure_does_not_outlive_its_step(barycenter):
    x = jnp.asarray(X, jnp.float32)
    poisoned = carry_of(barycenter, x.at[0, 0].set(jnp.nan))
    value = barycenter.linearize(Measure.uniform(x), poisoned).value
    np.testing.assert_allclose(value, barycenter(Measure.uniform(x)), rtol=1e-3)


def test_a_replicate_that_fails_leaves_the_others_alone(barycenter):
    x = jnp.asarray(X, jnp.float32)
    both = jnp.stack([x, x.at[0, 0].set(jnp.nan)])
    values = eqx.filter_jit(eqx.filter_vmap(lambda x: barycenter(Measure.uniform(x))))(both)
    np.testing.assert_allclose(values[0], barycenter(Measure.uniform(x)), rtol=1e-5)
    assert jnp.isnan(values[1])


def test_a_batch_solves_safely_only_what_calls_for_it(barycenter):
    x, rough = jnp.asarray(X, jnp.float32), SinkhornBarycenter(TARGETS, epsilon=3e-3)
    near, far = rough.linearize(Measure.uniform(x)).carry, rough.init_carry(Measure.uniform(x))

    def report(carry):
        return rough.report(Measure.uniform(x), carry)

    alone = [report(carry) for carry in (near, far)]
    # What starts cold here underflows.
    assert jnp.all(alone[0].iterations < 20) and jnp.all(alone[1].iterations > 100)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), near, far)
    batch = jax.vmap(report)(both)
    assert jnp.all(batch.converged) and jnp.all(batch.iterations[0] == alone[0].iterations)
    np.testing.assert_allclose(batch.value, [each.value for each in alone], rtol=1e-4)
    # The choice stays one for the batch; made for each, both sides would be computed.
    assert " cond[" in str(jax.make_jaxpr(jax.vmap(report))(both))


def test_a_whole_number_is_an_epsilon():
    whole, same = (SinkhornBarycenter(TARGETS, epsilon=e).report(Measure(X, W)) for e in (1, 1.0))
    np.testing.assert_array_equal(whole.value, same.value)


def test_the_report_says_when_a_solve_was_stopped():
    short = SinkhornBarycenter(TARGETS, epsilon=EPS, max_iterations=1)
    report = short.report(Measure(X, W))
    assert not jnp.any(report.converged)
    assert jnp.all(report.marginal_error > 1e-3)
    np.testing.assert_array_equal(report.iterations, 2)


def test_the_self_term_is_the_last_entry_of_the_report(costs, x64):
    F = SinkhornBarycenter(TARGETS, epsilon=0.5, debiased=True, threshold=TIGHT)
    report = F.report(Measure(X, W))
    assert {field.shape for field in report} == {(3,)}
    expected = entropic_cost(squared_distances(X, X), W, W, 0.5)
    np.testing.assert_allclose(report.value[-1], expected, rtol=1e-8)
    assert report.marginal_error[-1] < 1e-10


Y, B = TARGETS[0]


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ([], {}, "at least one target"),
        ([(Y, 2 * B)], {}, "masses of target 0 .* sum 2"),
        ([(Y, B), (Y, np.array([-0.1, 0.3, 0.2, 0.2, 0.2, 0.2]))], {}, "target 1 .* minimum -0.1"),
        ([(Y, np.full(6, np.nan))], {}, "sum nan"),
        ([(np.where(Y == Y[0, 0], np.nan, Y), B)], {}, "target 0 must be finite"),
        ([(Y, B), (Y[:, :1], B)], {}, r"target 1 .*\(1,\), target 0 .*\(2,\)"),
        ([(Y, np.full(5, 0.2))], {}, "share their leading axis"),
        ([(Y, B), (Y[:0], B[:0])], {}, "target 1 has no atoms"),
        (
            [(Y, B)],
            {"weights": np.array([0.5, 0.5])},
            "weights: 2 entries for 1 targets",
        ),
        ([(Y, B), (Y, B)], {"weights": np.array([0.5, 0.6])}, "barycenter weights .* sum 1.1"),
        ([(Y, B)], {"epsilon": 0.0}, "epsilon must be one positive number, got 0.0"),
        ([(Y, B)], {"epsilon": np.ones(2)}, "epsilon must be one positive number"),
        ([(Y, B)], {"threshold": 0.0}, "threshold must be positive"),
        ([(Y, B)], {"max_iterations": 0}, "max_iterations a whole number of at least 1"),
        ([(Y, B)], {"max_iterations": 10.5}, "max_iterations a whole number of at least 1"),
    ],
)
def test_misuse_is_explained(targets, options, message):
    with pytest.raises(ValueError, match=message):
        SinkhornBarycenter(targets, **{"epsilon": 0.1, **options})


def test_debiasing_asks_for_a_symmetric_cost():
    def uphill(x, y):
        return jnp.sum(jnp.exp(y - x))

    SinkhornBarycenter(TARGETS, epsilon=EPS, cost=uphill)
    SinkhornBarycenter(TARGETS, epsilon=EPS, cost=PNormP(3.0), debiased=True)
    with pytest.raises(ValueError, match="debiased=True must be the same from x to y"):
        SinkhornBarycenter(TARGETS, epsilon=EPS, cost=uphill, debiased=True)


def test_misuse_is_explained_while_tracing():
    """A functional is built inside of a model, which is traced."""
    for targets in ([(Y, 2 * B)], [(jnp.asarray(Y), jnp.asarray(2 * B))]):
        with pytest.raises(ValueError, match="sum 2"):
            jax.jit(lambda x: SinkhornBarycenter(targets, epsilon=0.1)(Measure(x, W)))(X)  # noqa: B023
    with pytest.raises(ValueError, match="epsilon must be one positive number"):
        zero = jnp.zeros(())
        jax.jit(lambda x: SinkhornBarycenter([(Y, B)], epsilon=zero)(Measure(x, W)))(X)


def test_bare_points_are_not_a_target():
    with pytest.raises(TypeError, match=r"target 0 .*Measure.uniform\(points\)"):
        SinkhornBarycenter([Y], epsilon=0.1)
    with pytest.raises(TypeError, match=r"a list of targets, got one Measure: pass \[target\]"):
        SinkhornBarycenter(Measure.uniform(Y), epsilon=0.1)


def test_a_measure_of_another_dimension(barycenter):
    with pytest.raises(ValueError, match=r"the measure has points of shape \(1,\)"):
        barycenter(Measure(X[:, :1], W))


def test_targets_and_epsilon_may_be_traced(barycenter):
    @jax.jit
    def value(targets, epsilon):
        return SinkhornBarycenter(targets, epsilon=epsilon)(Measure(X, W))

    np.testing.assert_allclose(value(TARGETS, EPS), barycenter(Measure(X, W)), rtol=1e-5)


@pytest.mark.optimised
@pytest.mark.parametrize("cost", [squared_distance, PNormP(3.0)], ids=["square", "cubic"])
def test_memory_is_that_of_one_target(cost):
    """Of a value and a gradient of the first variation, as in a step: a quarter of what the costs
    of all targets would take. The gradient alone holds a block of points: twice as many points
    take less than a quarter of one target's costs more."""
    count, size = 24, 1000
    x = jnp.zeros((size, 2))
    F = SinkhornBarycenter([Measure.uniform(x)] * count, epsilon=1.0, cost=cost)
    one = size**2 * x.dtype.itemsize

    def held(function, *arguments):
        program = jax.jit(function).lower(*arguments).compile()
        return program.memory_analysis().temp_size_in_bytes

    def field(tangent, x):
        return jax.grad(lambda x: F.first_variation(tangent, x).sum())(x)

    def step(x):
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, field(tangent, x)

    assert held(step, x) < count * one / 4
    tangent = F.init_carry(Measure.uniform(x)), None
    more = held(field, tangent, jnp.zeros((2 * size, 2))) - held(field, tangent, x)
    assert more < one / 4


def test_a_small_target_is_solved_beside_a_large_one_as_it_is_alone() -> None:
    """Targets are filled up with atoms without mass, whose potential is not found."""
    rng = np.random.default_rng(0)
    large, small = rng.normal(size=(20, 1)), rng.normal(2, 2, size=(3, 1))
    targets = [Measure.uniform(jnp.asarray(t, jnp.float32)) for t in (large, small)]
    x = Measure.uniform(jnp.asarray(rng.normal(1, 1.3, size=(30, 1)), jnp.float32))
    alone = SinkhornBarycenter(targets[1:], epsilon=0.01)
    both = SinkhornBarycenter(targets, [0.5, 0.5], epsilon=0.01)
    one, two = alone.report(x), both.report(x)
    assert two.converged[1]
    np.testing.assert_allclose(two.transport_cost[1], one.transport_cost[0], rtol=1e-3)
    plan = np.asarray(both.couplings(x)[1])
    np.testing.assert_allclose(plan[:, :3], alone.couplings(x)[0], atol=1e-3)
    assert not plan[:, 3:].any()
