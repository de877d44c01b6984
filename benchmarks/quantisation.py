"""A sample by few points: maximum mean discrepancy, beside k-means, herding and descent.

The sample is fertility and life expectancy of 202 countries in ten years, each coordinate divided
by its standard deviation; 50 points of equal mass stand for it. Every method is scored by MMD^2 to
the sample under each kernel, as a ratio to what 50 random members of the sample reach on average.
Lower is better. k-means is also given the masses of its clusters, an advantage over equal ones.
Adam's rate and our schedule are chosen under each kernel from small grids, on a start that is not
among those measured. Adam takes two steps for each of ours, which has two gradients.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.cluster import KMeans

import mmfld_ppl as mm
from examples.gapminder_trajectories import countries
from mmfld_ppl.functionals import MMD, kernels
from models.barycenter import init_to_targets
from models.quantisation import quantisation

SIZE, SEEDS = 50, 3
#: The first steps of Adam, in standard deviations of the data.
RATES = (0.005, 0.02, 0.08, 0.3)
#: Of ours: the first temperature, in units of the last, and the first step, in units of it.
SCHEDULES = tuple(itertools.product((1e1, 1e3), (0.1, 0.3, 1.0)))
METHODS = ("k-means", "k-means, masses", "herding", "Adam", "Adam from k-means", "MMFLD")
KERNELS = {
    "energy": kernels.Energy(),
    "Gaussian": kernels.Gaussian(0.5),
    "Laplace": kernels.Laplace(0.5),
    "inverse multiquadric": kernels.InverseMultiquadric(0.5),
}


def sample() -> np.ndarray:
    """(2020, 2)."""
    return np.concatenate(countries().snapshots[::5]).astype(np.float32)


def ours(
    data, kernel, schedule: tuple[float, float], keys: jax.Array, temperature: float, steps: int
) -> np.ndarray:
    """Points at the end of each replicate, run without adjustment while it cools in two thirds of
    the steps. The step is in units of the temperature, so its schedule, a cosine to a tenth, is
    multiplied by it."""
    heat, first = schedule
    target = mm.Measure.uniform(jnp.asarray(data))
    margin = 0.05 * np.ptp(data, axis=0)
    base = mm.distributions.UniformBox(data.min(axis=0) - margin, data.max(axis=0) + margin)
    cooling = optax.exponential_decay(heat, 2 * steps // 3, 1 / heat, end_value=1.0)
    length = optax.cosine_decay_schedule(first, steps, alpha=0.1)
    mmfld = mm.MMFLD(
        quantisation,
        init_strategy=init_to_targets([target]),
        metropolize=False,
        temperature=cooling,
        step_size=lambda k: temperature * cooling(k) * length(k),
    )
    options = {"particles": SIZE, "temperature": temperature}
    args = (target, kernel, base)

    def chain(key):
        state = mmfld.init(key, steps, None, args, options)
        state, _ = jax.lax.scan(
            lambda state, _: (mmfld.sample(state, args, options), None), state, length=steps
        )
        return mmfld.postprocess_fn(args, options)(state.z)["x"]

    return np.asarray(jax.jit(jax.vmap(chain))(keys))


def herding(data, kernel) -> np.ndarray:
    """Greedy choice among the sample (Chen, Welling and Smola 2010)."""
    points = jnp.asarray(data)
    gram = jax.jit(jax.vmap(jax.vmap(kernel, (None, 0)), (0, None)))(points, points)
    potential, taken, chosen = np.asarray(gram.mean(axis=1)), np.zeros(len(data)), []
    for k in range(SIZE):
        chosen.append(int(np.argmax(potential - taken / (k + 1))))
        taken += np.asarray(gram[chosen[-1]])
    return data[chosen]


def descent(loss, starts: np.ndarray, rates: np.ndarray, steps: int) -> np.ndarray:
    """Adam on the positions of the points, the step falling to zero; a start and a rate each."""
    length = optax.cosine_decay_schedule(1.0, steps)

    @jax.jit
    @jax.vmap
    def go(x, rate):
        optimiser = optax.adam(lambda k: rate * length(k))

        def step(carry, _):
            x, state = carry
            slope = jax.grad(lambda x: loss(mm.Measure.uniform(x)))(x)
            update, state = optimiser.update(slope, state)
            return (optax.apply_updates(x, update), state), None

        return jax.lax.scan(step, (x, optimiser.init(x)), length=steps)[0][0]

    return np.asarray(go(jnp.asarray(starts), jnp.asarray(rates, jnp.float32)))


def run(temperature: float = 1e-6, steps: int = 1000) -> list[dict[str, Any]]:
    data, rng = sample(), np.random.default_rng(0)
    subsets = np.stack([data[rng.choice(len(data), SIZE, replace=False)] for _ in range(100)])
    means = [KMeans(SIZE, n_init=4, random_state=s).fit(data) for s in range(1 + SEEDS)]
    centres = np.stack([k.cluster_centers_ for k in means]).astype(np.float32)
    shares = np.stack([np.bincount(k.labels_) / len(data) for k in means]).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 1 + SEEDS)
    rows = []
    for name, kernel in KERNELS.items():
        loss = MMD(mm.Measure.uniform(jnp.asarray(data)), kernel)
        value = jax.jit(jax.vmap(lambda x, w, loss=loss: loss(mm.Measure(x, w))))

        def score(clouds, masses=None, value=value):
            even = np.full(clouds.shape[:2], 1 / SIZE, np.float32)
            return np.asarray(value(clouds, even if masses is None else masses))

        def adam(starts, loss=loss, score=score):
            tried = descent(
                loss, np.repeat(starts[:1], len(RATES), axis=0), np.array(RATES), 2 * steps
            )
            rate = RATES[int(np.argmin(score(tried)))]
            return rate, score(descent(loss, starts[1:], np.full(SEEDS, rate), 2 * steps))

        begin = time.perf_counter()
        tried = [
            score(ours(data, kernel, schedule, keys[:1], temperature, steps))[0]
            for schedule in SCHEDULES
        ]
        schedule = SCHEDULES[int(np.nanargmin(tried))]
        found = {
            "k-means": score(centres[1:]),
            "k-means, masses": score(centres[1:], shares[1:]),
            "herding": score(herding(data, kernel)[None]),
        }
        found["MMFLD"] = score(ours(data, kernel, schedule, keys[1:], temperature, steps))
        rate, found["Adam"] = adam(subsets[: 1 + SEEDS])
        rate_centres, found["Adam from k-means"] = adam(centres)
        random = float(np.mean(score(subsets)))
        row: dict[str, Any] = {"kernel": name, "random": f"{2 * random:.2e}"}
        for method in METHODS:
            row[method] = float(np.mean(found[method])) / random
        for method in ("Adam", "MMFLD"):
            row[f"s.e., {method}"] = float(np.std(found[method], ddof=1) / SEEDS**0.5) / random
        row |= {
            "rates": f"{rate} {rate_centres}",
            "schedule": "{} {}".format(*schedule),
            "tried": " ".join(f"{v / random:.4f}" for v in tried),
            "s": time.perf_counter() - begin,
        }
        rows.append(row)
        print(row, flush=True)
    return rows
