"""What large problems hold on a GPU, as XLA compiles them for one. None is needed, and none is run.

`MB` is what a compiled program keeps beside its arguments and results: of the value of a functional
and its field at the particles, warm-started solves included, or of a whole step of the kernel. An
H100 is compiled for, without trying out algorithms, as that takes the device. The chains are
vectorised. Takes the compiler, of the version of JAX that is installed:

    pip install "jax-cuda12-plugin==$(python -c 'import jax; print(jax.__version__)')" \\
        nvidia-cuda-nvcc-cu12
    JAX_PLATFORMS=cpu python -m benchmarks gpu_memory
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import mmfld_ppl as mm
from mmfld_ppl import devices
from mmfld_ppl.functionals import KSD, MMD, Functional, PathSpace, SinkhornBarycenter
from mmfld_ppl.functionals.kernels import Gaussian

from .scaling import matching

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
runtime_version: { major: 12 minor: 8 patch: 0 }
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
RNG = np.random.default_rng(0)
#: Of each field.
CHAINS = 4


def cloud(count: int, dimension: int = 2) -> mm.Measure:
    return mm.Measure.uniform(RNG.normal(size=(count, dimension)).astype(np.float32))


def field(functional: Functional, count: int, dimension: int) -> tuple[Callable, Any]:
    """A value and the field at the particles of each chain, from a warm start; its arguments."""

    def one(x, carry):
        value, tangent, carry = functional.linearize(mm.Measure.uniform(x), carry)
        slope = jax.grad(lambda points: functional.first_variation(tangent, points).sum())(x)
        return value, slope, carry

    x = jnp.zeros((CHAINS, count, dimension), np.float32)
    carry = jax.eval_shape(jax.vmap(lambda x: functional.init_carry(mm.Measure.uniform(x))), x)
    return jax.vmap(one), (x, carry)


def step(count: int, dimension: int) -> tuple[Callable, Any]:
    """An adjusted step of particles of one chain on a simplex, and its argument."""
    kernel, shape = mm.MMFLD(matching), (count, dimension)
    x = jnp.full(shape, 1 / dimension)
    state = jax.eval_shape(lambda key: kernel.init(key, 0, {"x": x}, shape, {}), jax.random.key(0))
    return lambda state: kernel.sample(state, shape, {}), (state,)


def barycenter(atoms: int, targets: int) -> Functional:
    return SinkhornBarycenter([cloud(atoms) for _ in range(targets)], epsilon=0.05)


def paths(times: int, cells: int) -> Functional:
    snapshots = [cloud(cells) for _ in range(times)]
    return PathSpace(
        snapshots, np.arange(float(times)), diffusivity=0.3, bandwidth=0.5, regularization=0.1
    )


def ksd() -> Functional:
    return KSD(lambda x: -jnp.sum(x**4), Gaussian(1.0))


#: The functional, the number of particles in each chain, and their dimension.
FIELDS: dict[str, tuple[Callable[[], Functional], int, int]] = {
    "MMD to 8,192 atoms, d = 8": (lambda: MMD(cloud(8192, 8), Gaussian(1.0)), 65_536, 8),
    "KSD, d = 10": (ksd, 16_384, 10),
    "barycenter of 4 x 8,192 atoms": (lambda: barycenter(8192, 4), 8192, 2),
    "barycenter of 10 x 8,192 atoms": (lambda: barycenter(8192, 10), 65_536, 2),
    "paths, 10 x 1,000 cells": (lambda: paths(10, 1000), 65_540, 2),
    "paths, 5 x 13,108 cells": (lambda: paths(5, 13_108), 65_540, 2),
}
#: Of the step.
PARTICLES, SHARES = 1_000_000, 10


def compiler() -> Any:
    """A device to compile for. Raises ImportError where its compiler is not installed."""
    found = find_spec("nvidia.cuda_nvcc") if find_spec("jax_cuda12_plugin") else None
    if found is None or not found.submodule_search_locations:
        raise ImportError("gpu_memory takes jax-cuda12-plugin and nvidia-cuda-nvcc-cu12")
    home = Path(next(iter(found.submodule_search_locations)))
    flags = f"--xla_gpu_cuda_data_dir={home} --xla_gpu_autotune_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    described = topologies.get_topology_desc("h100", "cuda", target_config=H100, topology="1x1x1")
    return described.devices[0]


def held(device: Any, function: Callable, arguments: Any) -> int:
    """Bytes that a program for this device keeps beside its arguments and results."""
    there = SingleDeviceSharding(device)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), arguments
    )
    lowered = jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",))
    found = lowered.compile().memory_analysis()
    assert found is not None, "XLA knows what a program for a GPU holds"
    return found.temp_size_in_bytes


@patch.dict(os.environ)
def run() -> list[dict]:
    try:
        device = compiler()
    except ImportError as error:
        return [{"left out": str(error)}]
    with patch.object(devices, "default_device", lambda: device):
        size = held(device, *step(PARTICLES, SHARES))
        rows = [row(f"step on the simplex of {SHARES}", PARTICLES, 1, size)]
        for name, (build, count, dimension) in FIELDS.items():
            size = held(device, *field(build(), count, dimension))
            rows.append(row(name, count, CHAINS, size))
    return rows


def row(problem: str, particles: int, chains: int, size: int) -> dict:
    return {"problem": problem, "particles": particles, "chains": chains, "MB": size / 1e6}
