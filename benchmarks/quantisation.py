"""A sample by few points: maximum mean discrepancy, beside k-means, herding and descent.

The sample is fertility and life expectancy of 202 countries in ten years, each coordinate divided
by its standard deviation; 50 points of equal mass stand for it. Every method is scored by MMD^2 to
the sample under each kernel, as a ratio to what 50 random members of the sample reach on average.
Lower is better. k-means is also given the masses of its clusters, an advantage over equal ones.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpyro.infer import MCMC
from sklearn.cluster import KMeans

import mmfld_ppl as mm
from examples.gapminder_trajectories import countries
from mmfld_ppl.functionals import MMD, kernels
from models.barycenter import init_to_targets
from models.quantisation import quantisation

SIZE, SEEDS = 50, 3
KERNELS = {
    "energy": kernels.Energy(),
    "Gaussian": kernels.Gaussian(0.5),
    "Laplace": kernels.Laplace(0.5),
    "inverse multiquadric": kernels.InverseMultiquadric(0.5),
}


def sample() -> np.ndarray:
    """(2020, 2)."""
    return np.concatenate(countries().snapshots[::5]).astype(np.float32)


def ours(data, kernel, temperature: float, steps: int) -> list[float]:
    """MMD^2 / 2 at the end of each replicate, run without adjustment while it cools: from 1000
    times the temperature in two thirds of the steps. The step is in units of the temperature, so
    its schedule, from .1 to .01, is multiplied by it."""
    target = mm.Measure.uniform(jnp.asarray(data))
    margin = 0.05 * np.ptp(data, axis=0)
    base = mm.distributions.UniformBox(data.min(axis=0) - margin, data.max(axis=0) + margin)
    cooling = optax.exponential_decay(1e3, 2 * steps // 3, 1e-3, end_value=1.0)
    length = optax.cosine_decay_schedule(0.1, steps, alpha=0.1)
    mcmc = MCMC(
        mm.MMFLD(
            quantisation,
            init_strategy=init_to_targets([target]),
            metropolize=False,
            temperature=cooling,
            step_size=lambda k: temperature * cooling(k) * length(k),
        ),
        num_warmup=steps - 1,
        num_samples=1,
        num_chains=SEEDS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), target, kernel, base, particles=SIZE, temperature=temperature)
    values = mcmc.get_extra_fields(group_by_chain=True)["objective"]
    return np.asarray(values)[:, -1].tolist()


def herding(data, kernel) -> np.ndarray:
    """Greedy choice among the sample (Chen, Welling and Smola 2010)."""
    points = jnp.asarray(data)
    gram = jax.jit(jax.vmap(jax.vmap(kernel, (None, 0)), (0, None)))(points, points)
    potential, taken, chosen = np.asarray(gram.mean(axis=1)), np.zeros(len(data)), []
    for k in range(SIZE):
        chosen.append(int(np.argmax(potential - taken / (k + 1))))
        taken += np.asarray(gram[chosen[-1]])
    return data[chosen]


def descent(data, loss, start: np.ndarray, steps: int = 2000) -> np.ndarray:
    """Adam on the positions of the points, the step falling to zero."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.02, steps))

    @jax.jit
    def go(x):
        def step(carry, _):
            x, state = carry
            slope = jax.grad(lambda x: loss(mm.Measure.uniform(x)))(x)
            update, state = optimiser.update(slope, state)
            return (optax.apply_updates(x, update), state), None

        return jax.lax.scan(step, (x, optimiser.init(x)), length=steps)[0][0]

    return np.asarray(go(jnp.asarray(start)))


def run(temperature: float = 1e-6, steps: int = 1000) -> list[dict[str, Any]]:
    data, rng = sample(), np.random.default_rng(0)
    subsets = [data[rng.choice(len(data), SIZE, replace=False)] for _ in range(100)]
    means = [KMeans(SIZE, n_init=4, random_state=seed).fit(data) for seed in range(SEEDS)]
    rows = []
    for name, kernel in KERNELS.items():
        loss = MMD(mm.Measure.uniform(jnp.asarray(data)), kernel)
        value = jax.jit(lambda x, w, loss=loss: loss(mm.Measure(x, w)))
        even = np.full(SIZE, 1 / SIZE, np.float32)

        def score(clouds, masses=None, value=value, even=even):
            masses = [even] * len(clouds) if masses is None else masses
            return [float(value(x, w)) for x, w in zip(clouds, masses, strict=True)]

        random = float(np.mean(score(subsets)))
        centres = [k.cluster_centers_.astype(np.float32) for k in means]
        shares = [(np.bincount(k.labels_) / len(data)).astype(np.float32) for k in means]
        begin = time.perf_counter()
        found = ours(data, kernel, temperature, steps)
        seconds = time.perf_counter() - begin
        row: dict[str, Any] = {"kernel": name, "random": f"{2 * random:.2e}"}
        for method, values in (
            ("k-means", score(centres)),
            ("k-means, masses", score(centres, shares)),
            ("herding", score([herding(data, kernel)])),
            ("Adam", score([descent(data, loss, x) for x in subsets[:SEEDS]])),
            ("Adam from k-means", score([descent(data, loss, x) for x in centres])),
            ("MMFLD", found),
        ):
            row[method] = float(np.mean(values)) / random
            if method == "MMFLD":
                row["s.e."] = float(np.std(values, ddof=1) / np.sqrt(len(values))) / random
        rows.append(row | {"MMFLD s": seconds})
        print(rows[-1], flush=True)
    return rows
