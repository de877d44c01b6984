"""Long runs in one compiled program, and comparisons of their averages with exact expectations.

False alarms. The seeds are fixed but were not chosen, so every comparison may fail by chance, and
does so anew on each platform. Of all comparisons and rank tests of this folder together
at most FALSE_ALARMS may: they are at most COMPARISONS, and each is tested at the level
FALSE_ALARMS / COMPARISONS. For normal errors that is |z| < 4.9; |z| < 4 is what is expected of
nearly all of them, and what the printed tables mark.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from numpyro.diagnostics import effective_sample_size
from numpyro.infer.mcmc import MCMCKernel
from scipy.stats import chi2, norm

FALSE_ALARMS = 1e-3
COMPARISONS = 1000
LEVEL = FALSE_ALARMS / COMPARISONS
THRESHOLD = float(norm.isf(LEVEL / 2))
#: Fewer independent draws than these say nothing about a law.
LEAST_ESS = 1000

_made = itertools.count(1)


class Comparison(NamedTuple):
    """An average of draws against its exact value.

    ess: effective number of draws. mcse: standard error of the average. z: its deviation in
    standard errors."""

    name: str
    average: float
    exact: float
    ess: float
    mcse: float
    z: float

    def __str__(self) -> str:
        mark = " " if abs(self.z) < 4 else "!"
        return (
            f"{self.name:<34} {self.average: .5f} exact {self.exact: .5f} "
            f"mcse {self.mcse:.1e} ess {self.ess:8.0f} z {self.z:+.2f} {mark}"
        )


def compare(name: str, draws: np.ndarray, exact: float) -> Comparison:
    """`draws`: a number at every draw, shape (chains, draws)."""
    draws = np.asarray(draws, np.float64)
    sd = draws.std()
    ess = float(effective_sample_size(draws)) if sd > 0 else 0.0
    mcse = sd / np.sqrt(ess) if ess > 0 else np.inf
    average = draws.mean()
    z = (average - exact) / mcse if mcse < np.inf else np.nan
    return Comparison(name, float(average), float(exact), ess, float(mcse), float(z))


def compare_all(
    draws: Mapping[str, np.ndarray], expectations: Mapping[str, tuple[Callable, float]]
) -> list[Comparison]:
    """`expectations`: name -> (function of the draws by site, exact value). Prints the table."""
    rows = [compare(name, f(draws), exact) for name, (f, exact) in expectations.items()]
    print(*rows, sep="\n")
    return rows


def assert_law(rows: list[Comparison], least_ess: float = LEAST_ESS) -> None:
    """Every average is within the budget's threshold of its exact value, on enough draws."""
    _spend(len(rows))
    few = [str(row) for row in rows if not row.ess > least_ess]
    assert not few, "too few effective draws:\n" + "\n".join(few)
    wrong = [str(row) for row in rows if not abs(row.z) < THRESHOLD]
    assert not wrong, "\n".join(wrong)


def assert_rejected(rows: list[Comparison]) -> None:
    """Some average is beyond the threshold: what has to become of a wrong sampler."""
    assert any(abs(row.z) > THRESHOLD for row in rows), "\n".join(map(str, rows))


def assert_uniform(name: str, ranks: np.ndarray, size: int, bins: int = 16) -> None:
    """Chi-square test that ranks in 0..size-1 are uniform; `bins` divides `size`."""
    _spend(1)
    counts = np.bincount(np.asarray(ranks).ravel() * bins // size, minlength=bins)
    expected = counts.sum() / bins
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    p = float(chi2.sf(statistic, bins - 1))
    print(f"{name:<24} chi2({bins - 1}) {statistic:6.1f}  p {p:.2g}  counts {counts.tolist()}")
    assert p > LEVEL, f"{name}: p={p:.1e}, counts {counts.tolist()}"


def _spend(comparisons: int) -> None:
    for _ in range(comparisons):
        assert next(_made) <= COMPARISONS, "the false-alarm budget is spent: raise COMPARISONS"


def recorded_values(state: Any) -> dict[str, jax.Array]:
    """What `run_kernel` records by default: the latent sites, and whether the state diverged."""
    return {**state.z, "diverging": state.diverging}


def run_kernel(
    kernel: MCMCKernel,
    key: jax.Array,
    *,
    chains: int,
    warmup: int,
    draws: int,
    thin: int = 1,
    record: Callable[[Any], dict[str, jax.Array]] = recorded_values,
    args: tuple = (),
    batched_args: bool = False,
) -> dict[str, np.ndarray]:
    """Independent chains of a kernel in one compiled program: what `MCMC` does with vectorized
    chains, at the cost of one compilation. The warm-up goes through the same loop, so that a step
    is compiled once.

    record: what to keep of every `thin`-th state; it comes back stacked, (chains, draws, ...).
    args: model arguments, shared or, where `batched_args`, with a leading axis of chains."""
    left_out = -(-warmup // thin)

    def init(keys: jax.Array, args: tuple):
        return kernel.init(keys, warmup, None, args, {})

    def sample(states, args: tuple):
        return kernel.sample(states, args, {})

    if batched_args:
        init, sample = jax.jit(jax.vmap(init)), jax.vmap(sample)

    @jax.jit
    def loop(states, args: tuple):
        def step(states, _):
            return sample(states, args), None

        def keep(states, _):
            states = jax.lax.scan(step, states, None, length=thin)[0]
            return states, jax.vmap(record)(states)

        return jax.lax.scan(keep, states, None, length=left_out + draws)[1]

    out = loop(init(jax.random.split(key, chains), args), args)
    return jax.tree.map(lambda x: np.asarray(x).swapaxes(0, 1)[:, left_out:], out)
