"""Digests tell values and programs apart, and are the same in another process."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd

from mmfld_ppl.digests import digest, digest_of_program
from mmfld_ppl.runs.fingerprint import spelled_out


def test_of_values():
    """Of data frames too, which print a few rows, and not of the addresses of objects."""
    frame = pd.DataFrame({"heads": np.arange(500.0), "coin": ["penny"] * 500})
    changed = frame.copy()
    changed.loc[250, "heads"] = 0.0
    renamed = frame.rename(columns={"heads": "tails"})
    assert len({digest(f) for f in (frame, changed, renamed)}) == 3
    assert digest(frame) == digest(frame.copy())
    words = [np.array(["".join(["a", "b"]), None], dtype=object) for _ in range(2)]
    assert digest(words[0]) == digest(words[1])


def test_of_numbers_side_by_side():
    assert digest((1, 23)) != digest((12, 3))


def test_of_sets():
    """Which print in another order in every process."""
    assert digest({"a", "b"}) != digest({"a", "c"})
    names = [f"name {i}" for i in range(50)]
    assert digest(set(names)) == digest(set(reversed(names)))


def program(outer, inner, loop, scale=2.0):
    """One that holds arrays itself, in a function that is compiled by itself, and in a loop."""
    within = jax.jit(lambda x: jnp.sum(x * inner))

    def in_loop(x):
        return jax.lax.fori_loop(0, 3, lambda i, y: jax.jit(lambda y: y * loop[-1])(y), x)

    return jax.make_jaxpr(lambda x: jnp.sum(x * outer) + within(x) + in_loop(scale * x))(1.0)


def of_arrays() -> str:
    return digest_of_program(program(*np.arange(3 * 5000.0).reshape(3, 5000)))


def test_of_programs():
    """One entry of any array counts, and one of the operations."""
    arrays = [np.arange(5000.0) + i for i in range(3)]
    found = {digest_of_program(program(*arrays)), digest_of_program(program(*arrays, scale=3.0))}
    for i, array in enumerate(arrays):
        changed = array.copy()
        changed[-1] += 1
        found.add(digest_of_program(program(*arrays[:i], changed, *arrays[i + 1 :])))
    assert len(found) == 5
    assert digest_of_program(program(*(array.copy() for array in arrays))) in found


def test_of_programs_on_a_terminal():
    """Where JAX prints in colours."""
    screen, terminal = pty.openpty()
    command = "from tests.test_digests import of_arrays; print(of_arrays())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", command], env=environment, stdout=terminal, check=True)
    os.close(terminal)
    assert os.read(screen, 1000).decode().strip() == of_arrays()
    os.close(screen)


def of_distributions() -> str:
    """Their fields lie in sets, and those of one may be distributions."""
    weights = dist.Categorical(probs=np.array([0.25, 0.75]))
    mixture = dist.MixtureSameFamily(weights, dist.Normal(np.zeros(2), 1.0))
    laws = [dist.Exponential(0.5), dist.TruncatedNormal(0.0, 2.0, low=-1.0), mixture]
    prior = dist.Uniform(0.0, np.ones((3, 2))).to_event(1)
    return digest(spelled_out({"laws": laws, "prior": prior}))


def test_of_distributions():
    """By class, parameters, and shape."""
    laws = [
        dist.Normal(0.0, 1.0),
        dist.Normal(0.0, 2.0),
        dist.Normal(2.0, 1.0),
        dist.Cauchy(0.0, 1.0),
        dist.Normal(0.0, 1.0).expand([2]),
        dist.Normal(0.0, 1.0).expand([2]).to_event(1),
    ]
    found = [digest(spelled_out(law)) for law in (*laws, dist.Normal(0.0, 1.0))]
    assert len(set(found)) == len(laws)
    assert found[0] == found[-1]


def test_in_another_process():
    """Whose strings, and so sets of them, have another order."""
    command = "from tests.test_digests import both; print(*both())"
    path = os.pathsep.join(sys.path)
    found = {
        subprocess.run(
            [sys.executable, "-c", command],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {" ".join(both())}


def both() -> tuple[str, str]:
    return of_arrays(), of_distributions()
