"""An MMD of N points to N atoms, its value and its gradient at every point, beside other programs.

`MMD` is ours, with a Gaussian kernel: what a step of the dynamics takes. The second row is ours of
the same kernel given as a function of two points. All pairs in one array: the same formulas in JAX,
and in NumPy the gradient alone, by products of matrices. GeomLoss has all pairs in PyTorch, or
KeOps, which does not hold them; it computes the constant between atoms as well, each time. It is
left out where it is not installed: `pip install geomloss pykeops`, and PyTorch.

Seconds are seconds of the processor, the least of three; `of MMD` is their ratio to the first row.
`first s` is what the first call takes beyond that: compilation, by KeOps once for all processes.
Memory is that of the compiled program beside its arguments, or that of the arrays of all pairs.
`deviation` is that of the gradient from the one in double precision, as a share of its largest.

`python -m benchmarks.interactions`
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mmfld_ppl import Measure
from mmfld_ppl.functionals import MMD, kernels

from .scaling import least, memory

SIZES, DIMENSIONS = (1_000, 4_000, 16_000), (2, 8, 50)
#: Numbers in all pairs of points beyond which they are not held.
HELD = 4_000**2 * 8
#: Pairs beyond which only programs in linear memory that are fast are run, and numbers in all pairs
#: beyond which KeOps takes minutes.
PAIRS, LONG = 4_000**2, 16_000**2 * 8

#: One program at one size: seconds of a call, of the first beyond it, MB, the gradient.
Cost = tuple[float, float, float | str, np.ndarray]


def compiled(function: Callable[[Array], tuple[Array, Array]], x: np.ndarray) -> Cost:
    begin = time.process_time()
    program = jax.jit(function).lower(x).compile()
    first = time.process_time() - begin
    return least(lambda: program(x)), first, memory(program), np.asarray(program(x)[1])


def step(y: np.ndarray, kernel: Any) -> Callable[[Array], tuple[Array, Array]]:
    F = MMD(Measure.uniform(y), kernel)

    def value_and_field(x: Array) -> tuple[Array, Array]:
        value, tangent, _ = F.linearize(Measure.uniform(x))
        return value, jax.grad(lambda points: F.first_variation(tangent, points).sum())(x)

    return value_and_field


def all_pairs(y: np.ndarray) -> Callable[[Array], tuple[Array, Array]]:
    atoms = jnp.asarray(y)

    def kernels(a: Array, b: Array) -> Array:
        return jnp.exp(-jnp.square(a[:, None] - b[None]).sum(-1) / (2 * a.shape[1]))

    def value_and_field(x: Array) -> tuple[Array, Array]:
        frozen = jax.lax.stop_gradient(x)
        variation = lambda p: (kernels(p, frozen) - kernels(p, atoms)).mean(1)  # noqa: E731
        value = (kernels(x, x).mean() - 2 * kernels(x, atoms).mean()) / 2
        return value, jax.grad(lambda points: variation(points).sum())(x)

    return value_and_field


def in_numpy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    gradient, square = np.zeros_like(x), x.dtype.type(x.shape[1])
    for sign, other in ((-1, x), (1, y)):
        squares = (x**2).sum(1)[:, None] + (other**2).sum(1) - 2 * x @ other.T
        k = np.exp(-squares / (2 * square)) / len(other)
        gradient += sign * (k.sum(1)[:, None] * x - k @ other) / square
    return gradient


def geomloss(x: np.ndarray, y: np.ndarray, backend: str, pairs: float | str) -> Cost:
    import torch  # pyright: ignore[reportMissingImports]
    from geomloss import SamplesLoss  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    loss = SamplesLoss("gaussian", blur=x.shape[1] ** 0.5, backend=backend)
    points, atoms = torch.tensor(x, requires_grad=True), torch.tensor(y)

    def call() -> Any:
        return torch.autograd.grad(loss(points, atoms), points)[0]

    begin = time.perf_counter()
    call()
    first = time.perf_counter() - begin
    seconds = least(call)
    return seconds, first - seconds, pairs, call().numpy() * len(x)


def costs(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[str, Cost]]:
    kernel, pairs = kernels.Gaussian(x.shape[1] ** 0.5), len(x) ** 2
    megabytes = 2 * pairs * x.itemsize / 1e6
    yield "MMD", compiled(step(y, kernel), x)
    if pairs <= PAIRS:
        yield "of two points", compiled(step(y, lambda a, b: kernel(a, b)), x)
    if x.shape[1] * pairs <= HELD:
        yield "all pairs, JAX", compiled(all_pairs(y), x)
    if pairs <= PAIRS:
        yield "all pairs, NumPy", (least(lambda: in_numpy(x, y)), 0.0, megabytes, in_numpy(x, y))
    if importlib.util.find_spec("geomloss") is None:
        print("GeomLoss is not installed: its rows are left out")
        return
    if x.shape[1] * pairs <= HELD:
        yield "all pairs, PyTorch", geomloss(x, y, "tensorized", "")
    if importlib.util.find_spec("pykeops") is not None and x.shape[1] * pairs <= LONG:
        yield "KeOps", geomloss(x, y, "online", "")


def run() -> list[dict]:
    rows: list[dict] = []
    for dimension in DIMENSIONS:
        for size in SIZES:
            rng = np.random.default_rng(0)
            x, y = rng.normal(size=(2, size, dimension)).astype(np.float32)
            with jax.enable_x64(True):
                kernel = kernels.Gaussian(dimension**0.5)
                exact = np.asarray(jax.jit(step(y.astype(float), kernel))(x.astype(float))[1])
            ours = None
            for who, (seconds, first, megabytes, gradient) in costs(x, y):
                ours = ours or seconds
                rows.append(
                    {
                        "d": dimension,
                        "N": size,
                        "of": who,
                        "s": seconds,
                        "of MMD": seconds / ours,
                        "first s": first,
                        "MB": megabytes,
                        "deviation": float(
                            np.max(np.abs(gradient - exact)) / np.max(np.abs(exact))
                        ),
                    }
                )
    return rows


if __name__ == "__main__":
    from .__main__ import print_rows

    print_rows(run())
