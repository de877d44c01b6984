"""What comes from disk is what memory would have given, and a run that stopped goes on."""

from __future__ import annotations

import json
import shutil
import signal
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import mmfld_ppl as mm
from mmfld_ppl.runs import estimate_memory, open_run, run, setup, streaming
from mmfld_ppl.runs.files import locked
from mmfld_ppl.runs.store import FORMAT, Store
from tests import small_models as models
from tests.runs.cases import EXPORT, KEY, cloud_mcmc, groups_of, identical, mcmc_of, nuts_mcmc
from tests.runs.killing import failing

DUAL = "unconstrained_posterior"


def coin_mcmc(draws=10, warmup=4, chains=1, kernel=None, **options):
    return mcmc_of(kernel or mm.MMFLD(models.coin), draws, warmup, chains, **options)


def contents(store) -> dict[str, bytes]:
    """Every file of a store but the lock."""
    files = [p for p in store.rglob("*") if p.is_file() and p.name != "lock"]
    return {str(p.relative_to(store)): p.read_bytes() for p in files}


def alike(ours: xr.Dataset, theirs: xr.Dataset) -> None:
    """Asserts the same variables, and values up to rounding: MCMC compiles a loop of its own."""
    assert list(ours.data_vars) == list(theirs.data_vars)
    assert {n: v.dtype for n, v in ours.items()} == {n: v.dtype for n, v in theirs.items()}
    xr.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)


@pytest.fixture
def interrupt_at(monkeypatch):
    """Lets Ctrl-C be pressed at the n-th slice; slices are single draws."""

    def arrange(count: int) -> None:
        left = iter(range(count, 0, -1))

        def paced(*_):
            if next(left, 0) == 1:
                signal.raise_signal(signal.SIGINT)
            return 1

        monkeypatch.setattr(streaming, "_paced", paced)

    return arrange


def test_disk_equals_memory(whole):
    """The draws of the warm-up, statistics, log likelihoods, dual variables and data included, up
    to the rounding of another loop."""
    _, streamed = whole
    streamed, mcmc = groups_of(streamed), cloud_mcmc()
    mcmc.warmup(KEY, collect_warmup=True)
    warmup = groups_of(mm.to_inference_data(mcmc, **EXPORT))
    mcmc.run(mcmc.post_warmup_state.rng_key)
    sample = groups_of(mm.to_inference_data(mcmc, **EXPORT))
    data = {"observed_data", "constant_data"}
    assert set(sample) == {"posterior", "sample_stats", "log_likelihood", DUAL, *data}
    assert set(streamed) == set(sample) | {f"warmup_{name}" for name in set(sample) - data}
    for expected, phase in ((warmup, "warmup_"), (sample, "")):
        for name in set(sample) - data:
            alike(streamed[phase + name], expected[name])
    for name in data:
        assert streamed[name].equals(sample[name])
    # All that is said of the run, but when it was exported.
    ours, theirs = (dict(g["posterior"].attrs) for g in (streamed, sample))
    first, second = (json.loads(attrs.pop("step_size")) for attrs in (ours, theirs))
    assert first == pytest.approx(second, rel=2e-3)
    del ours["created_at"], theirs["created_at"]
    assert ours == theirs


def test_ctrl_c_keeps_what_there_is(coin_whole, tmp_path, interrupt_at):
    """In the warm-up and behind it; the run then goes on to the same draws."""
    store, full = tmp_path / "run.zarr", groups_of(coin_whole)
    interrupt_at(2)
    with pytest.warns(UserWarning, match="interrupted after 2 of 14 steps"):
        got = groups_of(run(coin_mcmc(), KEY, store=store, chunk=3, collect_warmup=True))
    assert got["warmup_posterior"].equals(full["warmup_posterior"].isel(draw=slice(2)))
    assert "posterior" not in got
    interrupt_at(7)
    with pytest.warns(UserWarning, match="interrupted after 9 of 14 steps"):
        again = run(coin_mcmc(), KEY, store=store, resume=True, collect_warmup=True)
    assert groups_of(again)["posterior"].equals(full["posterior"].isel(draw=slice(5)))
    mcmc = coin_mcmc()
    identical(run(mcmc, KEY, store=store, resume=True, collect_warmup=True), coin_whole)
    assert mcmc.last_state.i == 14


def longer(mcmc_of_draws, tmp_path):
    """A thinned run that is extended is MCMC's longer one."""
    store = tmp_path / "run.zarr"
    run(mcmc_of_draws(draws=10, chains=1, thinning=3), KEY, store=store, chunk=2)
    assert groups_of(open_run(store))["posterior"].sizes["draw"] == 3
    mcmc = mcmc_of_draws(draws=22, chains=1, thinning=3)
    streamed = groups_of(run(mcmc, KEY, store=store, resume=True))
    mcmc.run(KEY)
    expected = groups_of(mm.to_inference_data(mcmc))
    for name in ("posterior", "sample_stats", "observed_data"):
        alike(streamed[name], expected[name])
    before = contents(store)
    with pytest.raises(ValueError, match="pass a larger num_samples"):
        run(mcmc_of_draws(draws=10, chains=1, thinning=3), KEY, store=store, resume=True)
    assert contents(store) == before


def test_a_longer_run(tmp_path):
    longer(coin_mcmc, tmp_path)


@pytest.mark.slow
def test_any_kernel(tmp_path):
    longer(nuts_mcmc, tmp_path)


def test_a_finished_run_is_opened(whole):
    store, expected = whole
    before = contents(store)

    def again(**export):
        return run(cloud_mcmc(), KEY, store=store, resume=True, collect_warmup=True, export=export)

    identical(again(**EXPORT), expected)
    with pytest.raises(ValueError, match=r"differs in the options of export="):
        again(**EXPORT | {"dual": False})
    after = contents(store)
    assert after == before
    with pytest.raises(FileExistsError, match="resume=True"):
        run(cloud_mcmc(), KEY, store=store)


def hot_coin():
    p = numpyro.sample("p", dist.Beta(2.0, 3.5))
    numpyro.deterministic("odds", p / (1 - p))
    numpyro.sample("heads", dist.Binomial(10, p), obs=7)


OTHERS = {
    "key": ((coin_mcmc(), jax.random.key(6)), "the key"),
    "kind of key": ((coin_mcmc(), jax.random.key_data(KEY)), "the type of the key .store: key<"),
    "chains": ((coin_mcmc(chains=2), KEY), "num_chains"),
    "warm-up": ((coin_mcmc(warmup=5), KEY), "num_warmup .store: 4, now: 5"),
    "data": ((coin_mcmc(), KEY, 6), "arguments of the model"),
    "settings": ((coin_mcmc(kernel=mm.MMFLD(models.coin, step_size=0.2)), KEY), "settings"),
    "model": ((coin_mcmc(kernel=mm.MMFLD(hot_coin)), KEY), "the model, its data or the kernel"),
    "sites": ((coin_mcmc(kernel=mm.MMFLD(models.bounded)), KEY), "a draw consists of"),
}


@pytest.fixture(scope="module")
def coin_whole(tmp_path_factory):
    """A run of the coin that nothing stopped."""
    store = tmp_path_factory.mktemp("coin_whole") / "run.zarr"
    return run(coin_mcmc(), KEY, store=store, collect_warmup=True)


@pytest.fixture(scope="module")
def coin_store(tmp_path_factory):
    """A run of the coin that stopped at a full disk."""
    store = tmp_path_factory.mktemp("coin") / "run.zarr"
    with pytest.raises(OSError, match="intact, .* steps: make room") as caught:
        with failing(store, after=150, error=OSError(28, "No space left on device")):
            run(coin_mcmc(), KEY, store=store, chunk=1, collect_warmup=True)
    assert caught.value.errno == 28
    assert groups_of(open_run(store))["warmup_posterior"].sizes["draw"] > 0
    return store


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused(other, coin_store):
    arguments, words = OTHERS[other]
    before = contents(coin_store)
    with pytest.raises(ValueError, match=f"{words}.*left as it is"):
        run(*arguments, store=coin_store, resume=True, collect_warmup=True)
    assert contents(coin_store) == before


def closed_over(heads):
    """A model of as many coins as there are numbers in `heads`, which are a part of it."""

    def model():
        p = numpyro.sample("p", dist.Beta(2.0, 3.0))
        numpyro.sample("heads", dist.Binomial(10, p), obs=jnp.asarray(heads))

    return mm.MMFLD(model)


@pytest.mark.parametrize("draws", [10, 20], ids=["finished", "extended"])
def test_other_data_that_the_model_holds_are_refused(draws, tmp_path, monkeypatch):
    """Of a finished run, too. Without printing the program with all its numbers, which takes
    seconds for many."""
    monkeypatch.delattr(jax.stages.Lowered, "as_text")
    heads = np.random.default_rng(0).integers(1, 9, 300)
    run(coin_mcmc(kernel=closed_over(heads)), KEY, store=tmp_path / "run.zarr")
    heads[200] += 1
    longer = coin_mcmc(draws=draws, kernel=closed_over(heads))
    with pytest.raises(ValueError, match="the model, its data or the kernel"):
        run(longer, KEY, store=tmp_path / "run.zarr", resume=True)


def test_under_another_compiler_the_densities_tell_models_apart(tmp_path, monkeypatch):
    store, heads = tmp_path / "run.zarr", [3, 4]
    monkeypatch.setattr(setup, "compiler", lambda: "jax 0.0 on another device")
    run(coin_mcmc(kernel=closed_over(heads)), KEY, store=store)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="potential energies .* the model or its data are others"):
        run(coin_mcmc(draws=20, kernel=closed_over([3, 5])), KEY, store=store, resume=True)
    with pytest.warns(UserWarning, match="jax 0.0 on another device and goes on with jax"):
        longer = run(coin_mcmc(draws=20, kernel=closed_over(heads)), KEY, store=store, resume=True)
    assert groups_of(longer)["posterior"].sizes["draw"] == 20


def test_a_run_that_ended_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    """Between a first look at the store and the lock another process may have made the run."""
    store = tmp_path / "run.zarr"

    def late(path):
        monkeypatch.setattr(streaming, "locked", locked)
        run(coin_mcmc(), KEY, store=store)
        return locked(path)

    monkeypatch.setattr(streaming, "locked", late)
    with pytest.raises(FileExistsError, match="holds a run already, of 14 steps"):
        run(coin_mcmc(draws=20), KEY, store=store)


def test_errors_of_the_model_are_its_own(tmp_path):
    def model():
        raise IsADirectoryError("data are a folder")

    with pytest.raises(IsADirectoryError, match="^data are a folder$"):
        run(coin_mcmc(kernel=mm.MMFLD(model)), KEY, store=tmp_path / "run.zarr")


def test_warnings_point_to_the_call(tmp_path, monkeypatch):
    monkeypatch.setattr("mmfld_ppl.inference_data.capacity.available", lambda: 10.0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    store = tmp_path / "run.zarr"
    with pytest.warns(UserWarning) as first:
        run(coin_mcmc(), KEY, store=store, chunk=9)
    monkeypatch.setattr("mmfld_ppl.runs.setup.compiler", lambda: "another one")
    with pytest.warns(UserWarning) as second:
        run(coin_mcmc(draws=20), KEY, store=store, resume=True)
    said = [(str(w.message), w.filename) for w in (*first, *second)]
    for words in ("a chunk of 9 draws takes", "the draws take up to", "goes on with another one"):
        assert [file for text, file in said if words in text] == [__file__]


def test_a_full_disk_loses_nothing(coin_store, coin_whole, tmp_path):
    store = shutil.copytree(coin_store, tmp_path / "copy.zarr")
    with locked(store / ".mmfld_ppl" / "lock"):
        with pytest.raises(RuntimeError, match="another process"):
            run(coin_mcmc(), KEY, store=store, resume=True, collect_warmup=True)
    identical(run(coin_mcmc(), KEY, store=store, resume=True, collect_warmup=True), coin_whole)


def test_what_is_no_store_is_left_alone(tmp_path, whole):
    (tmp_path / "precious.txt").write_text("x")
    for taken in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(FileExistsError, match="not the store of a run"):
            run(coin_mcmc(), KEY, store=taken)
    (tmp_path / ".zmetadata").write_text('{"metadata": {".zattrs": {"by": "others"}}}')
    for action in (open_run, lambda store: run(coin_mcmc(), KEY, store=store, resume=True)):
        with pytest.raises(ValueError, match="holds no run"):
            action(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"precious.txt", ".zmetadata"}
    text = (whole[0] / ".zmetadata").read_text()
    other = text.replace(f'\\"format\\": {FORMAT}', '\\"format\\": 99')
    (tmp_path / ".zmetadata").write_text(other)
    with pytest.raises(ValueError, match="format 99"):
        open_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no store"):
        open_run(tmp_path / "absent")


def test_what_cannot_be_streamed(tmp_path):
    with pytest.raises(TypeError, match=r"takes a numpyro.infer.MCMC first and the key after it"):
        run(KEY, coin_mcmc(), store=tmp_path / "run.zarr")
    mcmc = coin_mcmc(chains=2)
    mcmc.chain_method = "sequential"
    with pytest.raises(ValueError, match="chain_method='vectorized'"):
        run(mcmc, KEY, store=tmp_path / "run.zarr")
    for export, words in (
        ({"diagnostics": True}, r"export names \['diagnostics'\], .* 'dual', 'log_likelihood'"),
        ({"coords": {"stations": [1]}}, r"coords names \['stations'\]"),
        ({"dims": {"q": ["side"]}}, r"dims names \['q'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            run(coin_mcmc(), KEY, store=tmp_path / "options.zarr", export=export)
    assert not (tmp_path / "options.zarr" / ".zmetadata").exists()
    shutil.rmtree(tmp_path / "options.zarr")
    mcmc = coin_mcmc()
    mcmc.post_warmup_state = ()
    with pytest.raises(ValueError, match="post_warmup_state"):
        run(mcmc, KEY, store=tmp_path / "run.zarr")
    assert not list(tmp_path.iterdir())


def test_what_the_step_size_says_is_said(tmp_path):
    """As `to_inference_data` says it: the step is not too short where nothing holds it."""

    def flat():
        numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))

    mcmc = mcmc_of(mm.MMFLD(flat), chains=1, warmup=200, draws=20)
    with pytest.warns(UserWarning, match="the step grew without bound"):
        run(mcmc, KEY, store=tmp_path / "run.zarr")


def brittle():
    """A density that is not finite beyond 1, and a deterministic value that is not below 0."""
    with mm.particles("atom", 4):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.deterministic("root", jnp.sqrt(x))
    F = mm.functionals.OfMean(
        outer=lambda m: m["a"] ** 2, potential=lambda z: 0.1 * jnp.sqrt(1 - z["x"])
    )
    mm.objective("F", F, {"a": a, "x": x}, temperature=1.0)


def test_what_is_not_finite_is_located(tmp_path):
    kernel = mm.MMFLD(brittle, step_size=0.3, adapt_step_size=False, adapt_metric=False)
    mcmc = mcmc_of(kernel, draws=40, warmup=1, chains=1)
    start = {"a": jnp.zeros(4), "x": jnp.full(4, -0.5)}
    with pytest.warns(UserWarning) as caught:
        idata = run(mcmc, KEY, store=tmp_path / "run.zarr", init_params=start)
    said = " ".join(str(w.message) for w in caught)
    posterior = groups_of(idata)["posterior"]
    assert np.all(posterior["x"] < 1)
    chain, draw, particle = np.argwhere(np.isnan(posterior["root"].values))[0]
    assert f"'root' is not finite: nan first at draw {draw} of chain {chain}" in said
    assert f"entry ({particle},)" in said
    refusals = mcmc.last_state.refusals
    assert f"step {refusals.step} at site 'x', particle {refusals.particle}" in said
    bad = groups_of(idata)["sample_stats"]["diverging"].values
    assert 0 < bad.sum() <= refusals.steps <= 41


def test_what_is_not_finite_is_remembered(tmp_path, interrupt_at):
    """By the store, of which another process makes the rest of the draws."""
    kernel = mm.MMFLD(brittle, step_size=0.3, adapt_step_size=False, adapt_metric=False)
    start = {"a": jnp.zeros(4), "x": jnp.full(4, -0.5)}
    interrupt_at(2)
    said = []
    for draws in (4, 4, 5):
        with pytest.warns(UserWarning) as caught:
            mcmc = mcmc_of(kernel, draws=draws, warmup=1, chains=1)
            run(mcmc, KEY, store=tmp_path / "run.zarr", init_params=start, resume=True)
        said.append([str(w.message) for w in caught if "'root' is not finite" in str(w.message)])
    assert len(said[0]) == 1
    assert said[0] == said[1] == said[2]


def test_the_estimate_is_what_is_written(whole, monkeypatch):
    estimate = estimate_memory(cloud_mcmc())
    groups = groups_of(whole[1])
    names = [n for n in groups["sample_stats"].data_vars if not str(n).startswith("boundary")]
    written = groups["posterior"].drop_vars(["chain", "draw", "atom"]).nbytes
    written += sum(groups["sample_stats"][n].nbytes for n in names)
    assert estimate.disk == written
    assert estimate.fields["z/x"] == 2 * 6 * 4
    monkeypatch.setattr("mmfld_ppl.inference_data.capacity.available", lambda: 1000.0)
    assert "does not fit" in str(estimate) and "thinning=" in str(estimate)
    large = estimate_memory(nuts_mcmc(draws=10**9))
    assert large.draws == 10**9
    assert estimate_memory(coin_mcmc(chains=5)).fields["z/p"] == 5 * 4


@pytest.mark.parametrize(
    ("store", "error"), [("s3://bucket/x.zarr", ValueError), ("", ValueError), (None, TypeError)]
)
def test_a_store_is_a_folder(store, error, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (open_run, lambda path: Store(path)):
        with pytest.raises(error, match="store must be"):
            use(store)
    assert not list(tmp_path.iterdir())
