"""What tests of the kernels share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from jaxtyping import PyTree
from numpyro.infer import MCMC
from numpyro.infer.util import log_density

KEY = jax.random.key(3)


def run(
    kernel,
    *args,
    key=KEY,
    warmup=12,
    draws=8,
    chains=2,
    method="vectorized",
    bar=False,
    fields=(),
    init_params=None,
    model_kwargs=None,
    **options,
) -> MCMC:
    """A short run."""
    mcmc = MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=draws,
        num_chains=chains,
        chain_method=method,
        progress_bar=bar,
        **options,
    )
    mcmc.run(key, *args, extra_fields=fields, init_params=init_params, **(model_kwargs or {}))
    return mcmc


def start(kernel, *args, key=KEY, init_params=None, **kwargs):
    """The first state of one chain."""
    return kernel.init(key, 10, init_params, args, kwargs)


def refused(kernel, *words, error=ValueError, **arguments):
    """Asserts that the start is refused with all of these words."""
    with pytest.raises(error) as caught:
        start(kernel, **arguments)
    for word in words:
        assert word in str(caught.value)


@contextmanager
def compilations() -> Iterator[list[float]]:
    """The seconds that each program takes which is compiled, or read from a cache on disk."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def same(a: PyTree, b: PyTree, tolerance: float = 2e-3) -> None:
    """Asserts the same structure and values; what was compiled differently rounds differently."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance), a, b
    )


def check_energy(state, model, *args, **kwargs) -> None:
    """The reported energy is that of NumPyro's own density at the reported values."""
    expected, _ = log_density(model, args, kwargs, dict(state.z))
    np.testing.assert_allclose(-state.potential_energy, expected, rtol=1e-4, atol=1e-4)


def steps(kernel, count, *args, init_params=None, **kwargs):
    """(first state, last state, every state) of one chain, without MCMC around it."""
    first = start(kernel, *args, init_params=init_params, **kwargs)

    @jax.jit
    def go(state):
        def step(state, _):
            state = kernel.sample(state, args, kwargs)
            return state, state

        return jax.lax.scan(step, state, None, count)

    return (first, *go(first))


def z_score(draws, exact: float) -> float:
    """Of the mean of draws (chain, draw): chains are independent, so their spread is the error."""
    means = np.asarray(draws).mean(1)
    return (means.mean() - exact) / (means.std(ddof=1) / len(means) ** 0.5)
