"""Kernels of a potential function in place of a model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import constraints

import mmfld_ppl as mm
from tests.helpers import run, same, start, z_score


def gamma(x):
    """Of independent Gamma(3, 2)."""
    return jnp.sum(2 * x - 2 * jnp.log(x))


def test_an_array():
    kernel = mm.MMFLD(potential_fn=gamma, support=constraints.positive)
    mcmc = run(kernel, warmup=200, draws=300, chains=50, init_params=jnp.ones((50, 2)))
    x = mcmc.get_samples(True)
    assert x.shape == (50, 300, 2)
    for i in range(2):
        assert abs(z_score(x[..., i], 1.5)) < 4.5
        assert abs(z_score(x[..., i] ** 2, 3.0)) < 4.5
    same(mcmc.get_extra_fields(True)["potential_energy"], jax.vmap(jax.vmap(gamma))(x), 1e-4)
    assert mcmc.sampler.model is None and mcmc.get_extra_fields()["objective"] == ()


def nested(z):
    mix, (rate, angle) = z["mix"], z["pair"]
    return -jnp.sum(jnp.log(mix)) + gamma(rate) - jnp.cos(angle)


SUPPORT = {
    "mix": constraints.simplex,
    "pair": (constraints.positive, constraints.circular),
}
VALUES = {"mix": jnp.array([0.2, 0.5, 0.3]), "pair": (jnp.array([1, 2]), jnp.array(0.5))}


def test_a_pytree_of_mixed_supports():
    kernel = mm.MMFLD(potential_fn=nested, support=SUPPORT)
    mcmc = run(kernel, chains=1, init_params=VALUES)
    z = mcmc.get_samples()
    assert jax.tree.structure(z) == jax.tree.structure(VALUES)
    np.testing.assert_allclose(z["mix"].sum(-1), 1, rtol=1e-5)
    assert np.all(z["pair"][0] > 0) and z["pair"][0].dtype == jnp.float32
    assert np.all(np.abs(z["pair"][1]) <= np.pi)  # on its wrapped line
    # The density of the values: without the Jacobian of the chart.
    energy = mcmc.get_extra_fields()["potential_energy"]
    same(energy, jax.vmap(nested)(z), 1e-4)
    assert "pair/1" in kernel.describe(VALUES) and "wrapped" in kernel.describe(VALUES)


def test_chosen_maps_by_path():
    maps = {"pair/0": mm.mirrors.EntropyOrthant(jnp.zeros(()))}
    kernel = mm.MMFLD(potential_fn=nested, support=SUPPORT, mirror_maps=maps)
    assert "EntropyOrthant" in kernel.describe(VALUES)


def test_a_temperature_tempers_the_law():
    settings = {"support": constraints.positive, "step_size": 0.1, "metropolize": False}
    hot = mm.MMFLD(potential_fn=gamma, temperature=lambda i: 2.0, **settings)
    half = mm.MMFLD(potential_fn=lambda x: gamma(x) / 2, **settings)
    params = jnp.ones(2)
    draws = [run(k, chains=1, init_params=params).get_samples() for k in (hot, half)]
    same(*draws)


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        ({"support": constraints.positive}, None, "needs init_params"),
        ({"support": {"a": constraints.positive}}, {"b": 1.0}, "like init_params"),
        ({"support": constraints.positive}, jnp.array([1.0, -1.0]), "site 'z' is on or outside"),
        (
            {"support": constraints.real, "mirror_maps": {"y": mm.mirrors.Euclidean()}},
            jnp.ones(2),
            r"\['y'\], which is none of the latent sites \['z'\]",
        ),
        (
            {"support": constraints.circular, "strict": True},
            jnp.ones(2),
            "site 'z': no mirror map for its support",
        ),
        ({"support": constraints.real}, jnp.ones(2), "the potential is nan"),
    ],
)
def test_bad_input(arguments, params, message):
    potential = gamma if arguments["support"] is not constraints.real else lambda x: jnp.nan * x[0]
    with pytest.raises(ValueError, match=message):
        start(mm.MMFLD(potential_fn=potential, **arguments), init_params=params)


@pytest.mark.parametrize("options", [{}, {"path_length": None}, {"dense_mass": True}])
def test_leaves_of_two_dtypes_are_moved_in_the_wider(options, x64):
    """As an array that was made before double precision was asked for."""
    values = {"a": jnp.ones(()), "b": jnp.ones(3, jnp.float32)}
    kernel = mm.MMFLD(
        potential_fn=lambda z: gamma(z["a"]) + gamma(z["b"]),
        support=constraints.positive,
        **options,
    )
    z = run(kernel, chains=1, init_params=values).get_samples()
    assert {leaf.dtype for leaf in z.values()} == {jnp.dtype(jnp.float64)}
