"""Samples by few points."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.handlers import seed
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.functionals.interaction import MMD
from mmfld_ppl.functionals.kernels import Energy, Gaussian, InverseMultiquadric
from models.barycenter import init_to_targets
from models.quantisation import quantisation
from tests.helpers import KEY, run, start

SAMPLE = np.random.default_rng(0).dirichlet([6.0, 3.0, 2.0], 60).astype(np.float32)
TARGET = mm.Measure.uniform(jnp.asarray(SAMPLE))
SIMPLEX = dist.Dirichlet(jnp.ones(3))


@pytest.mark.parametrize(
    "kernel",
    [
        Energy(),
        *(
            pytest.param(kernel, marks=pytest.mark.slow)
            for kernel in (Gaussian(0.2), InverseMultiquadric(0.2))
        ),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_particles_stand_for_a_sample_better_than_draws_of_it(kernel):
    size, tau = 12, 1e-4
    mcmc = run(
        mm.MMFLD(quantisation, init_strategy=init_to_targets([TARGET])),
        TARGET,
        kernel,
        SIMPLEX,
        warmup=400,
        draws=50,
        model_kwargs={"particles": size, "temperature": tau},
    )
    found = mcmc.get_extra_fields()["objective"].mean()
    rng = np.random.default_rng(1)
    value = jax.jit(lambda x: MMD(TARGET, kernel)(mm.Measure.uniform(x)))
    random = np.mean([value(SAMPLE[rng.choice(60, size)]) for _ in range(200)])
    assert found < random / 2


def test_a_warm_up_leaves_particles_where_they_have_arrived():
    """A search for a step that begins with one ten times as long moves all particles at once (F was
    up to forty times as large after it, and a few of a hundred chains had particles so far out that
    the kernel did not reach them)."""
    box = mm.constraints.box(np.zeros(2), np.ones(2))
    cloud = np.random.default_rng(0).beta(2.0, 5.0, (200, 2)).astype(np.float32)
    cloud = mm.Measure.uniform(jnp.asarray(cloud))
    mcmc = MCMC(
        mm.MMFLD(quantisation, init_strategy=init_to_targets([cloud])),
        num_warmup=300,
        num_samples=50,
        num_chains=8,
        chain_method="vectorized",
        progress_bar=False,
    )
    found = []
    for move, options in ((mcmc.warmup, {"collect_warmup": True}), (mcmc.run, {})):
        move(KEY, cloud, Gaussian(0.2), box, extra_fields=("objective",), **options)
        found.append(mcmc.get_extra_fields(group_by_chain=True)["objective"])
    # The last search is that of the last fifty steps of the warm-up.
    searching, settled = found[0][:, -60:], found[1]
    assert jnp.all(searching.max(axis=1) < 3 * settled.mean(axis=1))


def test_bad_targets_are_explained():
    def stated(target, base=SIMPLEX):
        return seed(quantisation, jax.random.key(0))(target, Energy(), base)

    with pytest.raises(ValueError, match="60 of the 60 atoms of the target are outside of the"):
        stated(mm.Measure.uniform(2 * SAMPLE))
    with pytest.raises(ValueError, match=r"base must be .* shape \(3,\) .* got event shape \(\)"):
        stated(TARGET, dist.Uniform())
    with pytest.raises(ValueError, match="masses of the target .* sum 60"):
        stated((SAMPLE, np.ones(60)))
    with pytest.raises(
        ValueError, match=r"the target must be finite, got \[nan nan nan\] in row 3"
    ):
        stated((np.where(np.arange(60)[:, None] == 3, np.nan, SAMPLE), np.full(60, 1 / 60)))
    with pytest.raises(ValueError, match="masses of the target .* minimum -"):
        stated((SAMPLE, np.r_[-1 / 60, 3 / 60, np.full(58, 1 / 60)]))
    with pytest.raises(TypeError, match="must be a Measure"):
        stated(SAMPLE)
    with pytest.raises(TypeError, match="base must be a NumPyro distribution.*, got 'simplex'"):
        stated(TARGET, "simplex")
    with pytest.raises(ValueError, match=r"batch shape \(3,\).*to_event\(1\)"):
        stated(TARGET, dist.Exponential(jnp.ones(3)))


def test_an_atom_without_mass_may_be_anywhere():
    far = np.r_[SAMPLE, [[5.0, 5.0, 5.0]]], np.r_[np.full(60, 1 / 60), 0.0]
    seed(quantisation, jax.random.key(0))(far, Energy(), SIMPLEX)


def test_the_base_may_be_a_constraint():
    kernel = mm.MMFLD(quantisation, init_strategy=init_to_targets([TARGET]))
    state = start(kernel, TARGET, Energy(), constraints.simplex, particles=4)
    assert state.z["x"].shape == (4, 3)
