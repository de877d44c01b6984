"""How far a mixing measure is from the maximum of the likelihood over all measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import logsumexp
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import biject_to
from numpyro.distributions.constraints import Constraint

#: How many times an ascent tries a step.
STEPS = 60


class Certificate(NamedTuple):
    """gap: log(1 + max D), in nats an observation. location: the theta of the maximum.
    at_candidates: D at the candidates, whose maximum is where the search began."""

    gap: Float[Array, ""]
    location: PyTree
    at_candidates: Float[Array, " m"]


def likelihood_certificate(
    log_density: Callable[[Any, Any], Float[Array, ""]],
    data: PyTree[Float[Array, "n ..."]],
    log_p: Float[Array, " n"],
    candidates: PyTree[Float[Array, "m ..."]],
    supports: PyTree,
    *,
    counts: Float[Array, " n"] | None = None,
    starts: int = 8,
) -> Certificate:
    r"""An upper bound on what any other mixing measure could gain.

        D(theta) = sum_i s_i k(z_i | theta) / p_i - 1,   s_i = counts_i / sum counts,

    is the slope of the log-likelihood per observation towards a point mass at theta. D <= 0 for
    every theta at the nonparametric maximum likelihood estimator and only there (Lindsay 1983). By
    Jensen's inequality no measure on the support has a mean log-likelihood that is higher by more
    than log(1 + max D), so this is also a bound on F(mu) - min F.

    The maximum is searched for at the candidates, and by gradient ascent from the best `starts` of
    them, in the coordinates of NumPyro's `biject_to`. It is a bound as far as the search found the
    maximum: peaks of D are as wide as the kernel, so candidates should be as dense as that.

    log_density: log k(z | theta), of one theta and one datum (in this order).
    data: an array, or a pytree of arrays, with the n data along the leading axis.
    log_p: log p_i, the log density of the mixture at each datum.
    candidates: values of theta inside of the support, an array or a pytree of arrays. supports: the
      constraint of theta, or a pytree of constraints like one theta.
    counts: how often each datum occurs; None: once.
    Cost: O(m n + 2 starts STEPS n) densities. Can be traced, and mapped over measures.

        >>> from numpyro.distributions import constraints
        >>> import jax.numpy as jnp
        >>> log_k = lambda theta, z: -((z - theta) ** 2) / 2
        >>> data, grid = jnp.array([0.0, 0.0, 1.0]), jnp.linspace(-1, 2, 7)
        >>> log_p = jax.vmap(log_k, (None, 0))(1 / 3, data)  # all mass at the mean: optimal
        >>> bound = likelihood_certificate(log_k, data, log_p, grid, constraints.real)
        >>> print(f"{bound.gap:.4f} {bound.location:.2f}")
        0.0000 0.33
    """
    n = jnp.shape(log_p)[0]
    counts = jnp.ones(n, log_p.dtype) if counts is None else jnp.asarray(counts, log_p.dtype)
    weights = jnp.log(counts) - jnp.log(jnp.sum(counts)) - log_p
    # In these coordinates every theta is inside of its support.
    constraints, parts = jax.tree.flatten(supports, is_leaf=lambda c: isinstance(c, Constraint))
    charts = [biject_to(constraint) for constraint in constraints]

    def log_ratio(theta: PyTree) -> Float[Array, ""]:
        """log(1 + D)."""
        return logsumexp(weights + jax.vmap(log_density, (None, 0))(theta, data))

    def place(u: PyTree) -> PyTree:
        each = zip(charts, parts.flatten_up_to(u), strict=True)
        return parts.unflatten([chart(part) for chart, part in each])

    def ascend(theta: PyTree) -> tuple[Float[Array, ""], PyTree]:
        slope = jax.value_and_grad(lambda u: log_ratio(place(u)))

        def attempt(state, _):
            u, value, gradient, size = state
            moved = jax.tree.map(lambda a, g: a + size * g, u, gradient)
            value_moved, gradient_moved = slope(moved)
            # A move that is not finite is no gain either.
            better = value_moved > value
            kept = jax.tree.map(
                lambda new, old: jnp.where(better, new, old),
                (moved, value_moved, gradient_moved),
                (u, value, gradient),
            )
            return (*kept, jnp.where(better, 2 * size, size / 4)), None

        each = zip(charts, parts.flatten_up_to(theta), strict=True)
        u = parts.unflatten([chart.inv(part) for chart, part in each])
        state = (u, *slope(u), jnp.ones((), log_p.dtype))
        (u, value, _, _), _ = jax.lax.scan(attempt, state, None, STEPS)
        return value, place(u)

    at_candidates = jax.vmap(log_ratio)(candidates)
    size = at_candidates.shape[0]
    best = jnp.argsort(-at_candidates)[: min(starts, size)]
    chosen = jax.tree.map(lambda leaf: leaf[best], candidates)
    values, places = jax.vmap(ascend)(chosen)
    # Beside the ends of the ascents stands where the best began, should a chart have failed there.
    values = jnp.append(jnp.where(jnp.isnan(values), -jnp.inf, values), at_candidates[best[0]])
    places = jax.tree.map(lambda a, b: jnp.concatenate([a, b[:1]]), places, chosen)
    top = jnp.argmax(values)
    location = jax.tree.map(lambda leaf: leaf[top], places)
    return Certificate(values[top], location, jnp.expm1(at_candidates))
