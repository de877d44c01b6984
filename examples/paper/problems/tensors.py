"""Symmetric tensors: two factors in the plane beside quadrature, four in eight dimensions."""

from __future__ import annotations

import argparse

import jax.numpy as jnp
import numpy as np
import optax
from numpyro.infer import init_to_sample

import mmfld_ppl as mm
from models.tensor import factors, from_factors, tensor

from ... import command
from ..convex import minimiser
from ..exact import Rule, disk_rule
from .problem import Problem

#: Angles of the two orthogonal factors in the plane.
TRUE_ANGLES = np.array([0.4, 0.4 + np.pi / 2])


def tensor_problem() -> Problem:
    """Two orthogonal factors in the plane."""
    a = np.stack([np.cos(TRUE_ANGLES), np.sin(TRUE_ANGLES)], axis=-1)
    target = from_factors(np.array([0.7, 0.3]), a)
    tau, rule, r3 = 0.02, disk_rule(1.0), np.sqrt(3)
    x, y = rule.points.T
    moments = np.stack([x**3, r3 * x**2 * y, r3 * x * y**2, y**3], axis=-1)
    wanted = target[[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]] * [1, r3, r3, 1]
    base = Rule(rule.points, rule.weights / rule.weights.sum())
    return Problem(
        "tensor",
        tensor,
        (jnp.asarray(target, jnp.float32),),
        {"scale": 1.0, "temperature": tau},
        minimiser(base, moments, wanted, tau),
        ("x",),
        {
            "E x_1": lambda z: z[..., 0],
            "E x_1^3": lambda z: z[..., 0] ** 3,
            "E |x|^2": lambda z: np.sum(z**2, axis=-1),
        },
        base.weights,
    )


def recover(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Four factors in eight dimensions: true and found weights, and the cosines between factors."""
    rng = np.random.default_rng(1)
    truth, weights = np.linalg.qr(rng.normal(size=(8, 8)))[0][:4], np.array([0.4, 0.3, 0.2, 0.1])
    target = jnp.asarray(from_factors(weights, truth), jnp.float32)
    cooling = optax.exponential_decay(100.0, max(arguments.warmup, 1), 0.01, end_value=1.0)
    options = argparse.Namespace(**{**vars(arguments), "chains": 2})
    kernel = mm.MMFLD(tensor, init_strategy=init_to_sample, temperature=cooling)
    print("\ntensor, four factors in eight dimensions", end="")
    setting = {"scale": 1.0, "temperature": 2e-4, "particles": arguments.particles}
    mcmc = command.replicates(kernel, options, target, **setting)
    loss = np.asarray(mcmc.get_extra_fields()["objective"]).mean()
    last = np.asarray(mcmc.get_samples(group_by_chain=True)["x"])[0, -1]
    found, directions = factors(last, 4, 1.0)
    pairs = np.abs(directions @ truth.T)
    order = pairs.argmax(axis=0)
    cosines = pairs[order, np.arange(4)]
    print(f"  loss {loss:.5f} of {np.sum(np.square(target)):.4f} at tau = 2e-4")
    print(f"  true weights {weights}, found {found[order].round(3)}, cosines {cosines.round(4)}")
    return [weights, found[order], cosines]
