"""Puts to the test what users write: plain functions of a measure, whose differentiation in the
weights misses something, kernels, whose first variation is of a symmetric one, and functionals,
whose first variation may be of another one."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arrays import is_known
from ..measures import Measure
from ..programs import compiled
from .base import Autodiff, Functional, Linearization
from .checks import called_as, require_symmetric
from .interaction import MMD, Interaction
from .kernels import Radial
from .parts import parts
from .slopes import slope_ratio

#: Relative disagreement that is an error, of derivatives for many atoms, and of values. Functions
#: that sort atoms may disagree by a share 1/N, those with solvers by a threshold.
OF_DERIVATIVES, OF_VALUES = 0.1, 0.01
#: And of differences of values: a sign or a factor is off by more, a loose solver within by less.
OF_DIFFERENCES = 0.3
#: Changes of the weights that these are taken over: where F bends within the first, as at a kink, a
#: later one tells, as far as rounding lets it.
CHANGES = (0.2, 0.02, 0.002)


def require_first_variation(functional: Functional, measure: Measure) -> None:
    """Raises ValueError for a plain function of a measure, within `functional` or all of it, whose
    first variation is not what `Autodiff` takes for it; for a kernel that is not symmetric; and for
    a functional from elsewhere whose first variation is far from differences of its values.

    At the N > 1 atoms of `measure`, which are known: the derivatives in their weights must be those
    in the weights of further atoms in the same places, which weigh nothing. And what weighs nothing
    may be anywhere, which the first variation could not tell."""
    if measure.size < 2:
        return
    package = __package__ or ""
    for part, (at,) in parts(functional, measure):
        if isinstance(part, (Interaction, MMD)):
            name = f"the kernel of {type(part).__name__}"
            way_out = "take (k(x, y) + k(y, x)) / 2, whose F is the same"
            if not isinstance(part.kernel, Radial):
                require_symmetric(name, part.kernel, at.points, way_out)
        elif isinstance(part, Autodiff):
            jax.eval_shape(part, at)  # Says what is wrong with its value.
            slopes, variation, values = compiled(functools.partial(_evidence, part), at)(at)
            if not is_known(values):
                continue
            _require_same_slopes(np.asarray(slopes), np.asarray(variation))
            _require_same_values(np.asarray(values))
        elif not type(part).__module__.startswith(package) and part.num_blocks == 1:
            _require_differences(part, at)


def _evidence(plain: Autodiff, mu: Measure) -> tuple[Array, Array, Array]:
    """Derivatives in the weights, the first variation at the atoms, and the values of mu, and of
    the first half of its atoms twice: with the others in their places, and in one place."""
    half = mu.size - mu.size // 2
    weights = jnp.where(jnp.arange(mu.size) < half, 1 / half, 0).astype(mu.weights.dtype)
    gathered = jax.tree.map(lambda x: x.at[half:].set(x[0]), mu.points)
    measures = mu, Measure(mu.points, weights), Measure(gathered, weights)
    slopes = jax.grad(lambda w: plain.function(Measure(mu.points, w)))(mu.weights)
    variation = plain.first_variation(mu, mu.points)
    return slopes, variation, jnp.stack([plain.function(m) for m in measures])


def _require_same_slopes(slopes: Float[np.ndarray, " n"], variation: Float[np.ndarray, " n"]):
    scale = np.linalg.norm(slopes - slopes.mean())
    apart = np.linalg.norm(slopes - variation - (slopes - variation).mean())
    tolerance = OF_DERIVATIVES + 2 / len(slopes)
    if np.isfinite(scale) and not apart <= tolerance * scale + 1e-5 * np.linalg.norm(slopes):
        raise ValueError(
            "the function given as a functional has no derivative in the weight of an atom that "
            f"weighs nothing, or not the right one: {slopes[:3]} in the weights of three atoms, "
            f"{variation[:3]} in those of others in the same places. logsumexp(..., b=weights) and "
            "log(weights) leave such atoms out: take the logarithm of measure.mean(values); and a "
            "function of the values of functionals is Composition(outer, F, G)"
        )


def _require_same_values(values: Float[np.ndarray, " 3"]):
    if np.isfinite(values).all() and abs(values[1] - values[2]) > OF_VALUES * max(abs(values)):
        raise ValueError(
            "the function given as a functional changes when atoms that weigh nothing are moved, "
            f"from {values[1]:.4g} to {values[2]:.4g}, so it is no function of the measure: in "
            "each of its terms integrate with measure.mean(values), or use measure.weights, in "
            "place of averages over the points"
        )


def require_linearization(functional: Functional, measure: Measure) -> None:
    """Raises TypeError or ValueError, naming the class and the method, for one of one's own whose
    methods do not take or give what they should; what fails within has a note of how it was called.
    """
    name = type(functional).__name__
    called = "linearize(measure, carry, key)", "first_variation(tangent, points)"

    def taken(measure: Measure) -> tuple[Any, Any]:
        linearize = called_as(functional.linearize, f"linearize of {name}", called[0])
        found = linearize(measure, functional.init_carry(measure), None)
        if not isinstance(found, Linearization):
            raise TypeError(
                f"linearize of {name} must give a Linearization(value, tangent, carry), got "
                f"{type(found).__name__}"
            )
        vary = called_as(functional.first_variation, f"first_variation of {name}", called[1])
        return found.value, vary(found.tangent, measure.points)

    value, variation = (jnp.shape(x) for x in jax.eval_shape(taken, measure))
    if value or variation != (measure.size,):
        raise ValueError(
            f"{name} must have one number for a value and one for the first variation at each of "
            f"{measure.size} points, got shapes {value} and {variation}"
        )


def _require_differences(functional: Functional, mu: Measure) -> None:
    require_linearization(functional, mu)

    def linearized(mu: Measure) -> Array:
        tangent = functional.linearize(mu, functional.init_carry(mu)).tangent
        return functional.first_variation(tangent, mu.points)

    name, variation = type(functional).__name__, compiled(linearized, mu)(mu)
    if not is_known(variation):
        return
    at_weights = compiled(lambda w: functional(Measure(mu.points, w)), mu.weights)

    def value(weights: np.ndarray) -> float:
        return float(at_weights(jnp.asarray(weights, mu.weights.dtype)))

    ratios = []
    for change in CHANGES:
        ratio, rounding = slope_ratio(value, np.asarray(variation), step=change)
        if not abs(ratio - 1) > OF_DIFFERENCES + 3 * rounding:
            return
        ratios.append(ratio)
    raise ValueError(
        f"the first variation of {name} is not the derivative of its values: differences of F in "
        f"the weights of its atoms are {ratios[0]:.3g} times what it predicts. At 0 the value "
        "reads no weights: integrate with measure.mean; below 0 a sign is wrong. "
        f"mm.functionals.check_functional({name}(...), mu, nu) tells more"
    )
