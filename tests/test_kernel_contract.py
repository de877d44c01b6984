"""What NumPyro's MCMC asks of a kernel: keys, chain methods, resuming, caching, fields."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer import MCMC, DiscreteGibbs, Gibbs
from numpyro.util import nested_attrgetter

import mmfld_ppl as mm
from mmfld_ppl.mirrors import (
    EntropyInterval,
    EntropyOrthant,
    EntropySimplex,
    LogBarrier,
    MirrorMap,
)
from tests import small_models as models
from tests.helpers import KEY, run, same, start, z_score

LEGACY_KEY = jax.random.PRNGKey(3)


# One step a move (path_length=None) where runs that were compiled differently are compared:
# rounding is then amplified less.
@pytest.fixture(scope="module")
def coin_run():
    return run(
        mm.MMFLD(models.coin, path_length=None), key=LEGACY_KEY, fields=("rng_key", "i", "z.p")
    )


@pytest.fixture(scope="module")
def cloud_run():
    fields = ("adaptation.particles.averaging.log_step", "num_refused", "accepted")
    return run(mm.MMFLD(models.centred_cloud), fields=fields)


@pytest.fixture(scope="module")
def bounded_run():
    return run(mm.MMFLD(models.bounded, path_length=None))


@pytest.mark.parametrize("method", ["sequential", "parallel", jax.vmap])
def test_chain_methods_agree(method, bounded_run):
    # One step a move: long paths multiply the rounding of differently compiled programs.
    other = run(mm.MMFLD(models.bounded, path_length=None), method=method)
    same(other.get_samples(True), bounded_run.get_samples(True))
    assert other.chain_method == method and other.last_state.rng_key.shape == (2,)


def test_chain_methods_agree_on_particles(cloud_run):
    other = run(mm.MMFLD(models.centred_cloud), method="parallel")
    same(other.get_samples(True), cloud_run.get_samples(True))


@pytest.mark.parametrize("method", ["sequential", "vectorized", "parallel"])
def test_typed_keys_and_a_progress_bar_change_nothing(method, coin_run, progress_bar_allowed):
    other = run(mm.MMFLD(models.coin, path_length=None), method=method, bar=True)
    assert other.progress_bar
    same(other.get_samples(True), coin_run.get_samples(True))


def test_fields(coin_run, cloud_run):
    draws, extra = coin_run.get_samples(), coin_run.get_extra_fields(True)
    same(draws["odds"], draws["p"] / (1 - draws["p"]))
    same(extra["z.p"], coin_run.get_samples(True)["p"])
    assert extra["rng_key"].shape == (2, 8, 2)
    assert list(extra["i"][1]) == list(range(13, 21))
    for name in ("diverging", "potential_energy", "accept_prob", "step_size"):
        assert extra[name].shape == (2, 8)
    extra = cloud_run.get_extra_fields()
    for name in ("objective", "collective_ratio", "num_refused"):
        assert extra[name].shape == (16,)
    assert extra["adaptation.particles.averaging.log_step"].shape == (16,)
    assert set(extra["accepted"]) == {"globals", "particles"}
    x = cloud_run.get_samples()["x"]
    assert x.shape == (16, 6)
    # A deterministic site belongs to the point that it is collected with.
    np.testing.assert_array_equal(cloud_run.get_samples()["spread"], x.max(1) - x.min(1))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("num_steps", ["'num_steps'", "num_refused", "refusals", "'~z.site'"]),
        ("adapt_state.step_size", ["'adapt_state'", "accept_prob, accepted, step_size"]),
        ("refusals.energy", ["'energy'", "steps, step, site, particle"]),
    ],
)
def test_a_field_that_is_not_there(field, words):
    state = start(mm.MMFLD(models.coin))
    assert nested_attrgetter("z.p", "refusals.steps")(state) == (state.z["p"], 0)
    assert state[0] == state.i and state[-1] is state.rng_key
    with pytest.raises(AttributeError) as caught:
        nested_attrgetter(field)(state)
    for word in words:
        assert word in str(caught.value)


def test_a_site_is_left_out_and_draws_are_thinned(coin_run):
    thinned = run(mm.MMFLD(models.coin, path_length=None), fields=("~z.p",), thinning=2)
    assert set(thinned.get_samples()) == {"odds"}
    same(thinned.get_samples(True)["odds"], coin_run.get_samples(True)["odds"][:, 1::2])


def test_summary(coin_run, capsys):
    coin_run.print_summary()
    shown = capsys.readouterr().out
    assert "p " in shown and "odds" not in shown
    coin_run.print_summary(exclude_deterministic=False)
    assert "odds" in capsys.readouterr().out


def test_stopping_and_resuming_is_running_on(coin_run):
    mcmc = run(mm.MMFLD(models.coin, path_length=None), draws=3)
    first = mcmc.get_samples(True)["p"]
    mcmc.num_samples = 5
    mcmc.post_warmup_state = mcmc.last_state
    mcmc.run(mcmc.last_state.rng_key)
    same(jnp.concatenate([first, mcmc.get_samples(True)["p"]], 1), coin_run.get_samples(True)["p"])


def test_warmup_alone(coin_run):
    mcmc = MCMC(
        mm.MMFLD(models.coin, path_length=None),
        num_warmup=12,
        num_samples=8,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.warmup(KEY, collect_warmup=True)
    assert mcmc.get_samples()["p"].shape == (24,)
    mcmc.run(mcmc.post_warmup_state.rng_key)
    same(mcmc.get_samples(True), coin_run.get_samples(True))


def resumed(kernel, state, method):
    mcmc = MCMC(
        kernel,
        num_warmup=12,
        num_samples=4,
        num_chains=2,
        chain_method=method,
        progress_bar=False,
    )
    mcmc.post_warmup_state = state
    mcmc.run(state.rng_key)
    return mcmc.get_samples(True)


@pytest.fixture(scope="module")
def coin_resumed(coin_run):
    return resumed(coin_run.sampler, coin_run.last_state, "vectorized")


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_a_pickled_state_resumes_under_any_method(method, coin_run, coin_resumed):
    kernel, state = pickle.loads(pickle.dumps((coin_run.sampler, coin_run.last_state)))
    same(resumed(kernel, state, method), coin_resumed)
    assert not np.array_equal(coin_resumed["p"], coin_run.get_samples(True)["p"][:, :4])


def test_one_kernel_serves_other_shapes_and_methods():
    kernel, y = mm.MMFLD(models.line), jnp.arange(5.0)
    mcmc = run(kernel, jnp.ones((5, 2)), y)
    mcmc.run(KEY, jnp.ones((4, 3)), y[:4])
    assert mcmc.get_samples()["slope"].shape == (16, 3)
    mcmc = run(kernel, jnp.ones((5, 2)), y, method="sequential", chains=1)
    assert mcmc.get_samples()["slope"].shape == (8, 2)


def test_jitted_model_arguments_are_not_stale():
    kernel = mm.MMFLD(models.coin, path_length=None)
    jitted = run(kernel, 1, chains=1, jit_model_args=True)
    jitted.run(KEY, 9)
    same(jitted.get_samples(), run(kernel, 9, chains=1).get_samples())


def test_unhashable_arguments():
    def model(data, options):
        return models.coin(data["heads"], **options)

    kernel = mm.MMFLD(model)
    mcmc = run(kernel, {"heads": 7}, model_kwargs={"options": {"tosses": 10}})
    assert mcmc.get_samples()["p"].shape == (16,)


class Counted(mm.MMFLD):
    """Counts how often its step is traced."""

    traces = 0

    def sample(self, state, model_args, model_kwargs):
        Counted.traces += 1
        return super().sample(state, model_args, model_kwargs)


@pytest.mark.parametrize("model", [models.coin, models.centred_cloud])
def test_a_step_compiles_once(model, progress_bar_allowed):
    Counted.traces = 0
    mcmc = run(Counted(model), bar=True, chains=1)
    assert Counted.traces == 1
    mcmc.run(KEY)
    assert Counted.traces == 1


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("model", [models.coin, models.centred_cloud])
def test_types_are_a_fixed_point_of_the_step(model, bits):
    with jax.enable_x64(bits == 64):
        kernel = mm.MMFLD(model)
        state = start(kernel, init_params={"p": 0.25} if model is models.coin else None)
        before = jax.eval_shape(lambda s: s, state)
        assert jax.eval_shape(lambda s: kernel.sample(s, (), {}), state) == before
        for leaf in jax.tree.leaves(before):
            assert not leaf.weak_type
            assert not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == f"float{bits}"


class Barrier(MirrorMap):
    """A user's own, with a number of Python as a parameter."""

    scale: float

    def potential(self, x):
        return 0.5 * (x / self.scale) ** 2 - jnp.log(x)

    def slack(self, x):
        return x


PYTHON_NUMBERS = {
    "interval": (dist.Uniform(0.0, 1.0), None),
    "integers": (dist.ImproperUniform(constraints.interval(0, 1), (), ()), None),
    "half-line": (dist.TruncatedNormal(0.0, 1.0, low=0.5), None),
    "ball": (mm.distributions.UniformBall(3), None),
    "entropy": (dist.Gamma(2.0, 1.0), EntropyOrthant()),
    "entropy of an interval": (dist.Uniform(0.0, 1.0), EntropyInterval()),
    "barrier": (dist.Gamma(2.0, 1.0), LogBarrier()),
    "barrier of integers": (dist.Gamma(2.0, 1.0), LogBarrier(0)),
    "user's": (dist.Gamma(2.0, 1.0), Barrier(2.0)),
}


@pytest.mark.parametrize("name", PYTHON_NUMBERS)
def test_parameters_may_be_numbers_of_python(name):
    """Of a support and of a map: a state, which holds them, is of arrays."""
    law, mirror = PYTHON_NUMBERS[name]

    def model():
        numpyro.sample("x", law)

    maps = {} if mirror is None else {"x": mirror}
    for kernel in (mm.ProjectedMFLD(model, step_size=0.01), mm.MMFLD(model, mirror_maps=maps)):
        state = start(kernel)
        before = jax.eval_shape(lambda s: s, state)
        assert jax.eval_shape(lambda s, k=kernel: k.sample(s, (), {}), state) == before
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(before))


def test_init_inside_of_a_trace():
    kernel = mm.MMFLD(models.coin, path_length=None)
    state = jax.jit(lambda key, heads: start(kernel, heads, key=key))(KEY, 7)
    same(state.z, start(kernel, 7).z)


def test_schedules_follow_the_step_index():
    temperatures = []

    def temperature(i):
        temperatures.append(i)
        return jnp.where(i > 6, -1.0, 1.0)

    kernel = mm.MMFLD(
        models.coin, step_size=lambda i: 0.01 / (1 + i), temperature=temperature, metropolize=False
    )
    extra = run(kernel, draws=9, warmup=0, chains=1).get_extra_fields()
    same(extra["step_size"], 0.01 / jnp.arange(1.0, 10.0))
    # A temperature that is not positive moves nothing, and says so.
    assert list(extra["diverging"]) == [False] * 7 + [True] * 2


def test_a_temperature_schedule_multiplies_the_temperature():
    hot = run(mm.MMFLD(models.pull, temperature=lambda i: 2.0), chains=1)
    warm = run(mm.MMFLD(models.pull), chains=1, model_kwargs={"temperature": 1.0})
    same(hot.get_samples(), warm.get_samples())


def test_without_a_warm_up_maps_stay_as_they_are():
    kernel = mm.MMFLD(models.bounded, step_size=0.1)
    fixed = mm.MMFLD(models.bounded, step_size=0.1, adapt_metric=False)
    same(*(run(k, warmup=0).get_samples() for k in (kernel, fixed)))


def test_a_refreshed_state_goes_on_along_its_sequence_of_lengths():
    """Or all moves beside another kernel under `Gibbs` are of one length, half of a period."""
    kernel = mm.MMFLD(models.coin)
    state = run(kernel, chains=1).last_state
    assert state.globals_.moves == 20
    assert kernel.refresh(state, (), {}).globals_.moves == 20


def test_gibbs_moves_discrete_sites_between():
    """c is a coin, x is normal around it: the exact joint law is known."""
    kernel = Gibbs([(DiscreteGibbs(models.switch), ["c"]), (mm.MMFLD(models.switch), None)])
    mcmc = run(kernel, warmup=200, draws=500, chains=50, method=jax.vmap)
    c, x = (mcmc.get_samples(True)[name] for name in ("c", "x"))
    p, mean = models.switch_posterior()
    assert abs(z_score(c, p)) < 4.5
    assert abs(z_score(x, mean)) < 4.5
    same(mcmc.get_samples()["twice"], 2 * x.ravel())


ENTROPY = {"w": EntropySimplex(), "rate": EntropyOrthant(jnp.zeros(()))}


@pytest.mark.parametrize(
    "kernel",
    [
        mm.ProjectedMFLD(models.cloud, step_size=0.01),
        mm.ProjectedMFLD(models.bounded, step_size=0.01, barrier=0.1),
        mm.MMFLD(models.cloud, metropolize=False, diffusion=2, step_size=0.01),
        mm.MMFLD(
            models.cloud, metropolize=False, diffusion="exact", mirror_maps=ENTROPY, step_size=0.01
        ),
    ],
    ids=["projected", "projected with a barrier", "sub-steps", "exact diffusion"],
)
def test_unadjusted_kernels(kernel):
    mcmc = run(kernel, method="parallel")
    assert np.all(mcmc.get_extra_fields()["accept_prob"] == 1)
    assert np.all(mcmc.get_extra_fields()["step_size"] == np.float32(0.01))
    z = mcmc.get_samples()
    if kernel.model is models.bounded:
        assert np.all((z["part"] > 0) & (z["part"] < z["top"][:, None]))
        assert np.all(z["low"] < z["top"])
    else:
        assert np.all(z["w"] > 0) and np.all(z["rate"] > 0)
        np.testing.assert_allclose(z["w"].sum(-1), 1, rtol=1e-5)
