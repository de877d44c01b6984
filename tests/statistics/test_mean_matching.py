"""Mean-field dynamics against the exact minimiser of mean matching on the simplex.

The stationary ensemble differs from the minimiser mu* by c/N for N particles. Runs at two N give
c, or are extrapolated to c = 0; at N = 1000 it is below 1e-4 and below the Monte Carlo error.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm

from .helpers import assert_law, run_kernel
from .mean_field import (
    CELLS,
    compare_moments,
    exact,
    exact_moments,
    extrapolate,
    matching,
    moments_of,
    run_dynamics,
    simplex,
)


def _model(size: int):
    def model(tau, beta):
        with mm.particles("atom", size):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
        mm.objective("F", matching(beta), x, temperature=tau)

    return model


def _record(state):
    return {
        "moments": moments_of(state.z["x"]),
        "collective_ratio": state.collective_ratio,
        "accept_prob": state.accept_prob,
        "step_size": state.step_size,
    }


def _adapted(cells, size: int, chains: int, draws: int) -> list[list]:
    """Comparisons with mu*, for each cell, of runs with everything adapted."""
    tau, beta = np.repeat(np.asarray(cells, np.float32), chains, axis=0).T
    out = run_kernel(
        mm.MMFLD(_model(size)),
        jax.random.key(size),
        chains=len(tau),
        warmup=500,
        draws=draws,
        record=_record,
        args=(jnp.asarray(tau), jnp.asarray(beta)),
        batched_args=True,
    )
    rows = []
    for i, cell in enumerate(cells):
        part = {name: v[i * chains : (i + 1) * chains] for name, v in out.items()}
        print(f"N={size} (tau, beta)={cell}:", *(
            f"{name} {part[name].mean():.3g}"
            for name in ("step_size", "accept_prob", "collective_ratio")
        ))
        assert part["collective_ratio"].mean() < 1
        expected = exact_moments(exact(*cell))
        rows.append(compare_moments(f"N={size} {cell}", part["moments"], expected))
    return rows


def test_adapted_dynamics_reach_the_minimiser() -> None:
    for rows in _adapted(CELLS[:1], 500, chains=4, draws=1000):
        assert_law(rows, least_ess=200)


@pytest.mark.slow
def test_adapted_dynamics_reach_the_minimiser_at_all_temperatures() -> None:
    many = _adapted(CELLS, 1000, chains=4, draws=1500)
    few = _adapted(CELLS, 100, chains=16, draws=4000)
    for cell, a, b in zip(CELLS, few, many, strict=True):
        assert_law(b)
        assert_law(extrapolate(f"N to infinity {cell}", a, b, 10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "steps"),
    [
        (CELLS[0], (0.01, 0.05, 0.3, 0.8)),
        (CELLS[1], (0.01, 0.05, 0.2, 0.8)),
        (CELLS[3], (0.01, 0.05, 0.2)),
        (CELLS[4], (0.005, 0.02)),
    ],
)
def test_any_step_of_small_collective_ratio_reaches_the_minimiser(cell, steps) -> None:
    expected = exact_moments(exact(*cell))
    settings = [(*cell, h) for h in steps]
    many = run_dynamics(
        dynamics_transition(), settings, particles=1000, warmup=500, draws=1000, chains=4
    )
    few = run_dynamics(
        dynamics_transition(), settings, particles=100, warmup=500, draws=4000, chains=8
    )
    for h, a, b in zip(steps, few, many, strict=True):
        acceptance, r = b["accept_prob"].mean(), b["collective_ratio"].mean()
        print(f"{cell} h={h}: acceptance {acceptance:.2f} r {r:.2f}")
        assert 0.25 < acceptance < 0.95 and r < 1
        rows = compare_moments(f"N=1000 h={h}", b["moments"], expected)
        assert_law(rows, least_ess=200)
        less = compare_moments(f"N=100 h={h}", a["moments"], expected)
        assert_law(extrapolate(f"N to infinity h={h}", less, rows, 10), least_ess=200)


def dynamics_transition() -> mm.dynamics.Mirror:
    return mm.dynamics.Mirror(simplex())


def test_a_collective_ratio_above_one_says_that_the_mean_overshoots() -> None:
    settings = [(0.01, 0.0, h) for h in (0.02, 0.4)] + [(0.002, 0.0, 0.2)]
    calm, *wild = run_dynamics(
        dynamics_transition(),
        settings,
        particles=1000,
        warmup=300,
        draws=300,
        chains=2,
        target=(0.5, 0.3, 0.2),
    )
    assert calm["collective_ratio"].mean() < 0.5
    assert _lag_one(calm["moments"][..., 0]) > 0
    for run in wild:
        r, lag = run["collective_ratio"].mean(), _lag_one(run["moments"][..., 0])
        print(f"r {r:.2f}, lag-1 correlation of the mean {lag:.2f}")
        assert r > 1
        # Every particle is accepted often enough, and the mean still swings from side to side.
        assert run["accept_prob"].mean() > 0.25
        assert lag < -0.5


def _lag_one(series: np.ndarray) -> float:
    x = series - series.mean()
    return float(np.mean(x[:, 1:] * x[:, :-1]) / np.mean(x**2))


@pytest.mark.slow
def test_the_bias_of_unadjusted_dynamics_is_of_first_order_in_the_step() -> None:
    cell, steps = CELLS[0], (0.0125, 0.025, 0.05, 0.1)
    runs = run_dynamics(
        dynamics_transition(),
        [(*cell, h) for h in steps],
        particles=1000,
        warmup=1000,
        draws=4000,
        chains=4,
        metropolize=False,
    )
    expected = exact_moments(exact(*cell))
    bias, error = [], []
    for h, run in zip(steps, runs, strict=True):
        row = compare_moments(f"h={h}", run["moments"], expected)[0]
        bias.append(abs(row.average - row.exact))
        error.append(row.mcse / bias[-1])
    design = np.stack([np.ones(len(steps)), np.log(steps)], axis=1) / np.asarray(error)[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope = (covariance @ design.T @ (np.log(bias) / error))[1]
    print(f"slope {slope:.3f} +- {covariance[1, 1] ** 0.5:.3f}")
    assert abs(slope - 1) < 0.15
