"""What accelerators are told to compute. None is needed: programs are lowered for one, and not run.

By default they multiply matrices of single precision with fewer digits than it has, so every
product of the package must ask for all of them.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmfld_ppl as mm
from mmfld_ppl import devices
from mmfld_ppl.dynamics import Langevin, Mirror, Symmetric
from mmfld_ppl.functionals import KSD, MMD, PathSpace, agreement, transport_costs
from mmfld_ppl.functionals.kernels import Gaussian
from mmfld_ppl.inference_data import capacity
from mmfld_ppl.measures import Measure
from mmfld_ppl.mirrors import Ball
from models.tomography import pauli_measurement, tomography
from models.two_layer import two_layer
from tests.functionals.test_functional_laws import TABLE
from tests.mirrors.cases import CASES
from tests.small_models import centred_cloud

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-0.5, 0.5, (6, 2)).astype(np.float32)
QUBIT = np.stack([pauli_measurement(letter) for letter in "XYZ"])
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and branches as on one."""
    monkeypatch.setattr(devices, "default_device", lambda: SimpleNamespace(platform="gpu"))


def rounded_products(function, *args) -> list[str]:
    """The products in a program for a GPU that may be computed to fewer digits than those of their
    dtype."""
    traced = jax.jit(function).trace(*args)
    lines = traced.lower(lowering_platforms=("cuda",)).as_text().splitlines()
    assert not any("lapack" in line for line in lines)
    return [line for line in lines if re.search(r"(dot_general|convolution) .*DEFAULT", line)]


def test_a_product_is_seen() -> None:
    """That of a model's own is left to its author."""
    assert rounded_products(jnp.matmul, POINTS, POINTS.T)
    assert not rounded_products(lambda x: mm.Measure.uniform(x).mean(x), POINTS)


@pytest.mark.parametrize("transition", [Mirror, Symmetric])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_steps_of_a_map(case, transition) -> None:
    """Adjusted, and thus every operation of a map and of its metric."""

    def potential(x, key):
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(x)), None

    x = jax.tree.map(lambda stack: single(stack[0]), case.points(np.random.default_rng(0)))
    sampler = Langevin(potential, transition(case.build(jnp.float32)), 0.1)
    assert not rounded_products(lambda x, key: sampler.step(key, sampler.init(x, key)), x, KEY)


def single(x: np.ndarray) -> jax.Array:
    """In single precision, real or complex."""
    return jnp.asarray(x, np.complex64 if np.iscomplexobj(x) else np.float32)


def ksd() -> KSD:
    return KSD(lambda x: -jnp.sum(x**4), Gaussian(1.0), Ball(jnp.float32(1)))


def pairs() -> MMD:
    return MMD(Measure.uniform(POINTS), lambda x, y: jnp.exp(-jnp.sum((x - y) ** 2)))


def paths() -> PathSpace:
    parts = [POINTS[:3], POINTS[3:]]
    return PathSpace(parts, [0.0, 1.0], diffusivity=0.3, bandwidth=0.5, regularization=0.1)


# Without those of the table whose own functions have products.
OWN = ("autodiff", "sum", "product", "network")
BUILT = {name: row.build for name, row in TABLE.items() if name not in OWN}
BUILT |= {"KSD": ksd, "pairs": pairs, "paths": paths}


STREAMED = ("barycenter", "paths")


@pytest.mark.parametrize("name", [*BUILT, *(f"{name}, streamed" for name in STREAMED)])
def test_functionals(name, monkeypatch) -> None:
    """Values, first variations, and the gradients of both, with cost matrices and without."""
    if name not in BUILT:
        name = name.removesuffix(", streamed")
        monkeypatch.setattr(transport_costs, "HELD", 0)
    functional, pack = BUILT[name](), TABLE[name].pack if name in TABLE else lambda x: x

    def value(x):
        measure = Measure.uniform(x)
        carry = functional.init_carry(measure)
        return functional.linearize(measure, carry, KEY)[:2]

    def everything(x):
        gradient, tangent = jax.grad(value, has_aux=True)(x)
        field = jax.grad(lambda points: functional.first_variation(tangent, points).sum())(x)
        return gradient, field

    assert not rounded_products(everything, pack(jnp.asarray(POINTS)))


def test_the_check_of_a_functional() -> None:
    functional, mu = BUILT["mean and potential"](), Measure.uniform(POINTS)
    assert not rounded_products(lambda mu: agreement._see(functional, mu, mu), mu)


MODELS = {
    "bounds that move": centred_cloud,
    "network": lambda: two_layer(POINTS, np.sign(POINTS[:, 0]), neurons=4),
    "qubit": lambda: tomography(QUBIT, np.array([[9, 3], [2, 10], [11, 1]])),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_a_model(name) -> None:
    kernel = mm.MMFLD(MODELS[name])
    state = kernel.init(KEY, 10, None, (), {})
    assert not rounded_products(lambda state: kernel.sample(state, (), {}), state)


def test_memory_is_that_of_the_device(monkeypatch) -> None:
    """Where it has its own."""
    assert 0 < capacity.available() < np.inf
    there = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 100, "bytes_in_use": 30})
    monkeypatch.setattr(capacity, "default_device", lambda: there)
    assert capacity.available() == 70 and capacity.fits(70) and not capacity.fits(71)
    assert capacity.fits(70, 1e6) and not capacity.fits(70, 1e18)


@pytest.mark.parametrize("chosen", [None, "cpu"])
def test_what_jax_computes_on(chosen, monkeypatch) -> None:
    monkeypatch.undo()
    with jax.default_device(chosen):
        assert devices.default_device() == jax.devices()[0] and devices.on_cpu()
    with jax.default_device(jax.devices()[1]):
        assert devices.default_device() == jax.devices()[1]
