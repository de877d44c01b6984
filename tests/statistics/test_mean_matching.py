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

from .helpers import THRESHOLD, assert_law, run_kernel
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


def _adapted(cells, size: int, *, chains: int, draws: int, warmup: int = 500) -> list[list]:
    """Comparisons with mu*, for each cell, of runs with everything adapted."""
    tau, beta = np.repeat(np.asarray(cells, np.float32), chains, axis=0).T
    out = run_kernel(
        mm.MMFLD(_model(size)),
        jax.random.key(size),
        chains=len(tau),
        warmup=warmup,
        draws=draws,
        record=_record,
        args=(jnp.asarray(tau), jnp.asarray(beta)),
        batched_args=True,
    )
    rows = []
    for i, cell in enumerate(cells):
        part = {name: v[i * chains : (i + 1) * chains] for name, v in out.items()}
        print(
            f"N={size} (tau, beta)={cell}:",
            *(
                f"{name} {part[name].mean():.3g}"
                for name in ("step_size", "accept_prob", "collective_ratio")
            ),
        )
        assert part["collective_ratio"].mean() < 1
        expected = exact_moments(exact(*cell))
        rows.append(compare_moments(f"N={size} {cell}", part["moments"], expected))
    return rows


def test_adapted_dynamics_reach_the_minimiser() -> None:
    for rows in _adapted(CELLS[:1], 300, chains=4, draws=1000):
        assert_law(rows, least_ess=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "warmup", "draws"), [(CELLS[:-2], 500, 2000), (CELLS[-2:], 1500, 4000)]
)
def test_adapted_dynamics_reach_the_minimiser_at_all_temperatures(cells, warmup, draws) -> None:
    many = _adapted(cells, 1000, chains=4, warmup=warmup, draws=draws)
    few = _adapted(cells, 100, chains=16, warmup=warmup, draws=2 * draws)
    for cell, a, b in zip(cells, few, many, strict=True):
        assert_law(b, least_ess=100)
        assert_law(extrapolate(f"N to infinity {cell}", a, b, 10), least_ess=100)


@pytest.mark.slow
def test_any_step_that_takes_back_less_than_all_reaches_the_minimiser() -> None:
    """A share of the collective ratio is taken back, that of the particles which are accepted."""
    steps = {
        CELLS[0]: (0.02, 0.05, 0.3, 0.8),
        CELLS[1]: (0.05, 0.2, 0.8),
        CELLS[3]: (0.05, 0.1),
    }
    settings = [(*cell, h) for cell, each in steps.items() for h in each]
    mirror = mm.dynamics.Mirror(simplex())
    many = run_dynamics(mirror, settings, particles=300, warmup=1000, draws=6000, chains=4)
    few = run_dynamics(mirror, settings, particles=100, warmup=1000, draws=6000, chains=8)
    for setting, a, b in zip(settings, few, many, strict=True):
        acceptance, r = b["accept_prob"].mean(), b["collective_ratio"].mean()
        label = "tau {} beta {} h {}".format(*setting)
        print(f"{label}: acceptance {acceptance:.2f} r {r:.2f}")
        assert 0.25 < acceptance < 0.9 and r * acceptance < 1
        expected = exact_moments(exact(*setting[:2]))
        less, more = (compare_moments(label, run["moments"], expected) for run in (a, b))
        assert_law(extrapolate("N to infinity", less, more, 3), least_ess=100)


@pytest.mark.slow
def test_a_collective_ratio_above_one_says_that_the_mean_overshoots() -> None:
    settings = [(0.01, 0.0, h) for h in (0.02, 0.4)] + [(0.002, 0.0, 0.2)]
    calm, *wild = run_dynamics(
        mm.dynamics.Mirror(simplex()),
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
    cell, steps = CELLS[0], np.array([0.0125, 0.025, 0.05, 0.075, 0.1])
    runs = run_dynamics(
        mm.dynamics.Mirror(simplex()),
        [(*cell, h) for h in steps],
        particles=500,
        warmup=1000,
        draws=4000,
        chains=8,
        metropolize=False,
    )
    expected = exact_moments(exact(*cell))
    rows = [
        compare_moments(f"h={h}", run["moments"], expected)
        for h, run in zip(steps, runs, strict=True)
    ]
    for moment in (0, 4, 5):  # E x_1, E x_2^2, E x_3^2
        bias = np.array([row[moment].average - row[moment].exact for row in rows])
        error = np.array([row[moment].mcse for row in rows])
        # bias = a + b h + c h^2, by weighted least squares.
        design = np.stack([np.ones_like(steps), steps, steps**2], axis=1) / error[:, None]
        covariance = np.linalg.inv(design.T @ design)
        z = covariance @ design.T @ (bias / error) / np.sqrt(np.diag(covariance))
        slope = np.polyfit(np.log(steps), np.log(np.abs(bias)), 1, w=np.abs(bias) / error)[0]
        print(f"{rows[0][moment].name}: z of a {z[0]:.1f}, of b {z[1]:.1f}, order {slope:.2f}")
        assert abs(z[0]) < THRESHOLD
        assert abs(z[1]) > THRESHOLD
