"""Averages over data: what a minibatch is, and how far the logarithms reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mmfld_ppl.functionals import EmpiricalRisk, MixtureLikelihood
from mmfld_ppl.measures import Measure

DATA = jnp.array([0.5, -1.0, 2.0, 0.1, 3.0])
MU = Measure(jnp.array([-0.5, 0.4, 1.5]), jnp.array([0.2, 0.5, 0.3]))
POINTS = jnp.array([-1.0, 0.3, 2.0])


def risk(data, batch_size=None):
    return EmpiricalRisk(
        lambda m, z: (m - z) ** 2,
        lambda x, z: jnp.sin(x * z),
        data,
        potential=lambda x: x**2,
        batch_size=batch_size,
    )


def mixture(data, batch_size=None):
    return MixtureLikelihood(lambda x, z: -((x - z) ** 2), data, batch_size=batch_size)


@pytest.fixture(params=[risk, mixture])
def build(request):
    return request.param


@pytest.mark.parametrize("form", [lambda z: z.tolist(), lambda z: pd.Series(z, index=range(5, 10))])
def test_data_may_be_lists_and_data_frames(build, form):
    np.testing.assert_allclose(build(form(np.asarray(DATA)))(MU), build(DATA)(MU), rtol=1e-6)


def test_a_key_replaces_the_data_by_some_of_them(build):
    functional = build(DATA, batch_size=2)
    assert functional.stochastic
    value, tangent, _ = functional.linearize(MU, key=jax.random.key(0))
    rows = tangent[1]
    assert rows.shape == (2,)
    # A linearisation on those data alone; and the tangent serves another instance.
    part = build(DATA[rows])
    alone = part.linearize(MU)
    np.testing.assert_allclose(value, alone.value, rtol=1e-6)
    np.testing.assert_allclose(
        build(DATA, batch_size=2).first_variation(tangent, POINTS),
        part.first_variation(alone.tangent, POINTS),
        rtol=1e-6,
    )


def test_without_a_key_or_a_batch_size_all_data_are_used(build):
    whole = build(DATA)
    assert not whole.stochastic
    for value in (
        build(DATA, batch_size=2)(MU),
        build(DATA, batch_size=2).linearize(MU).value,
        whole.linearize(MU, key=jax.random.key(0)).value,
    ):
        np.testing.assert_allclose(value, whole(MU), rtol=1e-6)


def test_minibatches_are_unbiased(build):
    functional, whole = build(DATA, batch_size=2), build(DATA)

    def draw(key):
        value, tangent, _ = functional.linearize(MU, key=key)
        return jnp.append(functional.first_variation(tangent, POINTS), value)

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 10_000))
    value, tangent, _ = whole.linearize(MU)
    expected = jnp.append(whole.first_variation(tangent, POINTS), value)
    z = (draws.mean(0) - expected) / (draws.std(0) / 100)
    assert np.all(np.abs(z) < 4.5)


def test_data_far_from_every_atom_do_not_underflow():
    F = mixture(jnp.array([30.0]))
    value, tangent, _ = F.linearize(Measure.uniform(jnp.array([0.0, 1.0])))
    np.testing.assert_allclose(value, 29.0**2 + np.log(2), rtol=1e-6)
    slope = jax.grad(lambda x: F.first_variation(tangent, x).sum())(jnp.array([1.0]))
    np.testing.assert_allclose(slope, [-2 * 2 * 29.0], rtol=1e-4)


COUNTS = jnp.array([2.0, 0.0, 1.0, 3.0, 1.0])


def test_counts_stand_for_ties():
    ties = mixture(jnp.repeat(DATA, COUNTS.astype(int)))
    counted = MixtureLikelihood(ties.log_density, DATA, counts=COUNTS)
    expected, got = ties.linearize(MU), counted.linearize(MU)
    np.testing.assert_allclose(got.value, expected.value, rtol=1e-6)
    np.testing.assert_allclose(
        counted.first_variation(got.tangent, POINTS),
        ties.first_variation(expected.tangent, POINTS),
        rtol=1e-6,
    )


def test_minibatches_of_counted_data_are_unbiased():
    def of(batch_size):
        log_density = lambda x, z: -((x - z) ** 2)  # noqa: E731
        return MixtureLikelihood(log_density, DATA, batch_size=batch_size, counts=COUNTS)

    def draw(key):
        value, tangent, _ = of(2).linearize(MU, key=key)
        return jnp.append(of(2).first_variation(tangent, POINTS), value)

    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(2), 10_000))
    value, tangent, _ = of(None).linearize(MU)
    expected = jnp.append(of(None).first_variation(tangent, POINTS), value)
    z = (draws.mean(0) - expected) / (draws.std(0) / 100)
    assert np.all(np.abs(z) < 4.5)


def test_a_datum_of_count_zero_may_be_anywhere():
    """Its ratio k/p would overflow at the point next to it."""
    far = MixtureLikelihood(
        lambda x, z: -((x - z) ** 2), jnp.array([0.0, 30.0]), counts=jnp.array([1.0, 0.0])
    )
    _, tangent, _ = far.linearize(MU)
    field = jax.grad(lambda x: far.first_variation(tangent, x).sum())(jnp.array([0.1, 30.0]))
    assert np.all(np.isfinite(field))


@pytest.mark.parametrize("unit", [1, 0.5, 2.0**27])
@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_rows_of_a_batch_come_in_proportion_to_their_counts(unit, array):
    counts, size = array([0.0, 3.0, 1.0, 0.0, 6.0, 0.0]) * unit, 20_000
    functional = MixtureLikelihood(lambda x, z: x * z, jnp.arange(6.0), batch_size=6, counts=counts)
    measure = Measure.uniform(jnp.ones(1))
    keys = jax.random.split(jax.random.key(0), size)
    rows = jax.vmap(lambda key: functional.linearize(measure, None, key).tangent[1])(keys)
    found = np.bincount(np.ravel(rows), minlength=6) / (6 * size)
    share = np.array([0, 0.3, 0.1, 0, 0.6, 0])
    assert np.all(np.abs(found - share) <= 4.5 * np.sqrt(share * (1 - share) / (6 * size)))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(4), "counts: 4 entries for 5 data, give one for each"),
        (np.array([1, 1, -1, 1, 1]), "minimum -1"),
        (np.zeros(5), "sum 0"),
        (np.array([1, np.nan, 1, 1, 1]), "sum nan"),
        (np.array([1, np.inf, 1, 1, 1]), "sum inf"),
    ],
)
def test_misuse_of_counts_is_explained(counts, message):
    with pytest.raises(ValueError, match=message):
        MixtureLikelihood(lambda x, z: x * z, DATA, counts=counts)


@pytest.mark.parametrize(
    ("data", "batch_size", "message"),
    [
        (DATA.at[3].set(jnp.nan), None, "data must be finite, got nan in row 3"),
        ((DATA, DATA.at[1].set(jnp.inf)), None, "got inf in row 1"),
        (DATA, 0, "between 1 and that of the data, 5, got 0"),
        (DATA, 6, "between 1 and that of the data, 5, got 6"),
        (DATA, 2.5, "a whole number between 1"),
        ((DATA, DATA[:2]), None, "share a leading axis"),
        (jnp.zeros((0, 2)), None, "at least one row"),
        (jnp.zeros(()), None, "share a leading axis"),
    ],
)
def test_misuse_is_explained(build, data, batch_size, message):
    with pytest.raises(ValueError, match=message):
        build(data, batch_size)
