"""Mean-field models that make no sense are refused, with the site, the reason and the way out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers

import mmfld_ppl as mm
from tests import small_models as models
from tests.helpers import KEY, refused, run, start

F = mm.functionals.OfMean(outer=lambda m: m**2)


def normals(size=4, **plate):
    with mm.particles("atom", size, **plate):
        return numpyro.sample("x", dist.Normal(0.0, 1.0))


def no_particles():
    mm.objective("F", F, numpyro.sample("x", dist.Normal(jnp.zeros(3), 1.0)))


def no_latent_particle():
    with mm.particles("atom", 3):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0), obs=jnp.zeros(3))
    numpyro.sample("c", dist.Normal(0.0, 1.0))
    mm.objective("F", F, x)


def points_from_elsewhere():
    normals(4)
    mm.objective("F", F, numpyro.sample("y", dist.Normal(jnp.zeros(4), 1.0)))


def points_of_another_number():
    mm.objective("F", F, normals(4)[:2])


def particles_not_in_front():
    with numpyro.plate("kind", 4, dim=-2), mm.particles("atom", 4):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    mm.objective("F", mm.functionals.OfMean(outer=jnp.sum), x)


def centred_points():
    x = normals()
    mm.objective("F", F, x - x.mean())


def sorted_points():
    mm.objective("F", F, jnp.sort(normals()))


def points_over_their_maximum():
    x = normals()
    mm.objective("F", F, x / x.max())


def coupled_inside():
    with mm.particles("atom", 4):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x.mean(), 1.0))
    mm.objective("F", F, x)


def coupled_outside():
    x = normals()
    numpyro.sample("seen", dist.Normal(x.mean(), 1.0), obs=0.3)
    mm.objective("F", F, x)


def two_objectives():
    x = normals()
    mm.objective("F", F, x)
    mm.objective("G", F, x)


def two_plates():
    x = normals()
    with mm.particles("other", 4):
        numpyro.sample("y", dist.Normal(0.0, 1.0))
    mm.objective("F", F, x)


def objective_in_the_plate():
    with mm.particles("atom", 4):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mm.objective("F", F, x)


def random_temperature():
    x = normals()
    mm.objective("F", F, x, temperature=numpyro.sample("tau", dist.Gamma(2.0, 1.0)))


def unequal_supports():
    with mm.particles("atom", 3):
        x = numpyro.sample("x", dist.Uniform(0.0, jnp.arange(1.0, 4.0)))
    mm.objective("F", F, x)


def unequal_laws():
    with mm.particles("atom", 3):
        x = numpyro.sample("x", dist.Normal(jnp.arange(3.0), 1.0))
    mm.objective("F", F, x)


def data_of_their_own():
    with mm.particles("atom", 3):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=jnp.arange(3.0))
    mm.objective("F", F, x)


def masked():
    mm.objective("F", F, normals())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (no_particles, ["objective 'F' has no particles", "with mm.particles(name, size)"]),
        (no_latent_particle, ["objective 'F'", "no latent site is inside", "'atom'"]),
        (points_from_elsewhere, ["objective 'F'", "do not depend on", "'atom'", "['x']"]),
        (points_of_another_number, ["objective 'F'", "2 atoms", "'atom' has 4", "to the front"]),
        (particles_not_in_front, ["objective 'F'", "one by one", "to the front"]),
        (centred_points, ["objective 'F'", "one by one", "inside of the functional"]),
        (sorted_points, ["objective 'F'", "one by one", "inside of the functional"]),
        (points_over_their_maximum, ["objective 'F'", "one by one"]),
        (coupled_inside, ["site 'y'", "'atom'", "when another one moves", "objective"]),
        (coupled_outside, ["site 'seen'", "outside the particle plate 'atom'", "['x']"]),
        (two_objectives, ["one objective", "['F', 'G']", "F + G"]),
        (two_plates, ["one plate of particles", "['atom', 'other']"]),
        (objective_in_the_plate, ["objective 'F'", "inside of plate 'atom'", "outside of all"]),
        (random_temperature, ["objective 'F'", "temperature depends on", "['tau']"]),
        (unequal_supports, ["site 'x'", "differs from particle to particle", "one support"]),
        (unequal_laws, ["site 'x'", "'atom'", "in the same place", "one law"]),
        (data_of_their_own, ["site 'y'", "'atom'", "in the same place", "one law"]),
        (handlers.mask(masked, mask=jnp.array(False)), ["objective 'F'", "mask"]),
    ],
)
def test_mean_field_models(model, words):
    refused(mm.MMFLD(model), *words)


@pytest.mark.parametrize("temperature", [0, -1.0, np.float32(0), jnp.array(-0.5), jnp.ones(2)])
def test_temperatures(temperature):
    kernel = mm.MMFLD(models.pull)
    refused(kernel, "objective 'F'", "one positive number", temperature=temperature)
    arrays = jax.jit(lambda tau: start(kernel, temperature=tau).objective)
    assert jnp.isfinite(arrays(0.5))  # a traced temperature cannot be looked at


@pytest.mark.parametrize("size", [0, -1, 2.5, "4"])
def test_numbers_of_particles(size):
    refused(mm.MMFLD(models.pull), "particles 'atom'", "positive integer", repr(size), size=size)


def test_points_without_particle_axis():
    def model():
        x = normals()
        mm.objective("F", F, {"x": x, "mean": x.mean()})

    refused(mm.MMFLD(model), "objective 'F'", "leading axis of particles", "[(), (4,)]")


def test_objective_that_is_no_functional():
    def model():
        mm.objective("F", 3.0, normals())

    refused(mm.MMFLD(model), "Functional", "float", error=TypeError)


def test_functional_in_the_place_of_points():
    def model():
        mm.objective("F", normals(), F)

    refused(mm.MMFLD(model), "objective 'F' got", "for its points", "points,", error=TypeError)


@pytest.mark.parametrize("ends", [{"low": 0.0, "high": jnp.inf}, {"low": -jnp.inf, "high": 1.0}])
def test_infinite_ends(ends):
    def model():
        numpyro.sample("x", dist.TruncatedNormal(0.0, 1.0, **ends))

    with pytest.raises(ValueError, match="site 'x': its support Interval.* has an infinite end"):
        start(mm.MMFLD(model))


def test_a_state_of_other_shapes():
    def model(y):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        mean = numpyro.deterministic("mean", x * jnp.ones(len(y)))
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    kernel = mm.MMFLD(model)
    mcmc = run(kernel, jnp.ones(3))
    mcmc.post_warmup_state = mcmc.last_state
    with pytest.raises(ValueError, match=r"shape \(5,\) after a move and \(3,\).*kernel.refresh"):
        mcmc.run(KEY, jnp.ones(5))
    mcmc.post_warmup_state = kernel.refresh(mcmc.last_state, (jnp.ones(5),), {})
    mcmc.run(KEY, jnp.ones(5))
    assert mcmc.get_samples()["mean"].shape == (16, 5)


def test_complex_numbers():
    def model():
        numpyro.sample("z", dist.ImproperUniform(dist.constraints.complex, (), (3,)))

    with pytest.raises(ValueError, match="site 'z': its values are complex numbers"):
        start(mm.MMFLD(model))
