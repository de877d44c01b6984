"""Particles and chains over several devices, and over several processes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.sharding import PartitionSpec
from numpyro.infer import MCMC

import mmfld_ppl as mm
from mmfld_ppl.functionals import soft_transform
from mmfld_ppl.functionals.kernels import Gaussian

TARGET = (0.6, 0.3, 0.1)
POINTS = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
SIZE = 40


def model(size: int = SIZE) -> None:
    """Both blocks, with the particle axis in front of an event."""
    scale = numpyro.sample("scale", dist.Gamma(3.0, 2.0))
    with mm.particles("atom", size):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
    target = jnp.array(TARGET, x.dtype)
    matching = mm.functionals.OfMean(outer=lambda m: scale * jnp.sum(jnp.square(m - target)))
    mm.objective("F", matching, x, temperature=0.1)


def mcmc_of(mesh, chains: int, draws: int = 4) -> MCMC:
    return MCMC(
        mm.MMFLD(model, mesh=mesh),
        num_warmup=2,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )


def run(mesh, chains: int = 1) -> MCMC:
    mcmc = mcmc_of(mesh, chains)
    # In double precision, so that another order of summation is not amplified to be seen.
    with jax.enable_x64(True):
        mcmc.run(jax.random.key(0))
    return mcmc


@pytest.fixture(scope="module")
def whole() -> MCMC:
    return run(None, chains=2)


@pytest.mark.parametrize("axis", ["particles", "chains"])
def test_results_are_those_of_one_device(whole: MCMC, axis: str) -> None:
    spread = run(jax.make_mesh((2,), (axis,)), chains=2)
    for name, expected in whole.get_samples().items():
        np.testing.assert_allclose(spread.get_samples()[name], expected, rtol=1e-9, atol=1e-12)
    spec = PartitionSpec("chains", None) if axis == "chains" else PartitionSpec(None, "particles")
    block = spread.last_state.particles
    for leaf in jax.tree.leaves((block.particles, block.felt.variation)):
        assert leaf.sharding.is_equivalent_to(
            jax.sharding.NamedSharding(spread.sampler.mesh, spec), leaf.ndim
        )
        assert {shard.data.size for shard in leaf.addressable_shards} == {leaf.size // 2}


@pytest.mark.parametrize("axis", ["particles", "chains"])
def test_runs_to_disk_are_those_of_memory(whole: MCMC, axis: str, tmp_path) -> None:
    """And go on to the same bits as if they had never stopped."""
    found = []
    with jax.enable_x64(True):
        for name, lengths in (("whole", [4]), ("resumed", [1, 4])):
            for draws in lengths:
                mcmc = mcmc_of(jax.make_mesh((2,), (axis,)), chains=2, draws=draws)
                store = tmp_path / f"{name}.zarr"
                idata = mm.run(mcmc, jax.random.key(0), store=store, resume=True)
            found.append(idata["posterior"]["x"].values)
    np.testing.assert_array_equal(*found)
    expected = whole.get_samples(group_by_chain=True)["x"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-12)


def test_a_step_sends_sums_and_no_particles() -> None:
    """A functional of means needs sums over the particles from the other devices, no more."""
    mesh = jax.make_mesh((2,), ("particles",))
    kernel = mm.MMFLD(model, mesh=mesh)
    state = kernel.init(jax.random.key(0), 0, None, (), {})
    step = jax.jit(lambda state: kernel.sample(state, (), {}))
    program = step.lower(step(state)).compile().as_text() or ""
    sent = re.findall(r"= \(?\w+\[([\d,]*)\]\S* (?:all-gather|all-to-all)\S*\(", program)
    assert all(SIZE not in map(int, filter(None, shape.split(","))) for shape in sent), sent
    assert "all-reduce" in program


FIELDS = {
    "radial kernel": mm.functionals.Interaction(Gaussian(1.0), block_size=16),
    "any kernel": mm.functionals.Interaction(lambda x, y: jnp.exp(x @ y), block_size=16),
    "transport": mm.functionals.SinkhornBarycenter([mm.Measure.uniform(POINTS)], epsilon=1.0),
}


@pytest.mark.parametrize("name", FIELDS)
def test_blocks_of_points_lie_on_all_devices(monkeypatch, name: str) -> None:
    """Each takes a share of every block, and they send nothing while they go through them."""
    monkeypatch.setattr(soft_transform, "PAIRS", (16 * len(POINTS),) * 2)
    functional = FIELDS[name]
    mesh = jax.make_mesh((2,), ("particles",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, PartitionSpec("particles"))
    measure = mm.Measure.uniform(POINTS)
    tangent = functional.linearize(measure).tangent

    def field(x, tangent):
        return jax.grad(lambda x: functional.first_variation(tangent, x).sum())(x)

    program = jax.jit(field, in_shardings=(spread, None), out_shardings=spread)
    compiled = program.lower(measure.points, tangent).compile()
    text = compiled.as_text() or ""
    assert "while/body" in text and "f32[8,2]" in text
    sent = re.findall(r"= \w+\[([\d,]*)\]\S* (?:all|collective)-\w+\(.*while/body", text)
    assert set(sent) <= {"2"}, sent  # The centre of the atoms, at most.
    np.testing.assert_allclose(
        compiled(measure.points, tangent), field(measure.points, tangent), atol=1e-6
    )


def test_meshes_that_cannot_be_used_are_named() -> None:
    with pytest.raises(TypeError, match=r"jax\.make_mesh"):
        mm.MMFLD(model, mesh=2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="'particles' or 'chains', got \\('data',\\)"):
        mm.MMFLD(model, mesh=jax.make_mesh((2,), ("data",)))
    kernel = mm.MMFLD(model, mesh=jax.make_mesh((2,), ("particles",)))
    with pytest.raises(ValueError, match="plate 'atom' has size 7, .* 2 devices"):
        kernel.init(jax.random.key(0), 0, None, (7,), {})
    kernel = mm.MMFLD(model, mesh=jax.make_mesh((2,), ("chains",)))
    with pytest.raises(ValueError, match="num_chains has size 3"):
        kernel.init(jax.random.split(jax.random.key(0), 3), 0, None, (), {})


PROGRAM = """
import sys

import jax
import numpy as np

process, port = map(int, sys.argv[1:3])
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
from jax.experimental.multihost_utils import process_allgather

import mmfld_ppl as mm
from tests.test_sharding import mcmc_of, run

mesh = jax.make_mesh((2, 4), ("chains", "particles"))
mcmc = run(mesh, chains=2)
try:
    mm.run(mcmc_of(mesh, chains=2), jax.random.key(0), store=sys.argv[3] + ".zarr")
except ValueError as error:
    assert "mm.run writes from one process" in str(error)
else:
    raise AssertionError("a mesh of two processes is to be refused")
block = mcmc.last_state.particles
for leaf in jax.tree.leaves((block.particles, block.felt.variation)):
    assert {shard.data.size for shard in leaf.addressable_shards} == {leaf.size // 8}
draws = mcmc.get_samples()
np.savez(sys.argv[3], **{k: process_allgather(v, tiled=True) for k, v in draws.items()})
"""


@pytest.mark.slow
def test_eight_devices_of_two_processes_agree_with_one(whole: MCMC, tmp_path) -> None:
    """Chains over two, particles over four."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, (i, port, path))],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, path in enumerate(paths)
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    for path in paths:
        found = np.load(path)
        for name, expected in whole.get_samples().items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12)
