"""What a mean-field model says beyond an ordinary one: `particles` and `objective`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, PyTree
from numpyro.primitives import Messenger, apply_stack

from .arrays import is_count, is_positive
from .functionals import Functional, as_functional
from .measures import Measure

#: Message types that `MMFLD` listens to and other handlers let pass. In a trace they stand beside
#: the plate, and the site, whose names they extend.
PARTICLES = "particles"
OBJECTIVE = "objective"


class particles(numpyro.plate):
    """A plate of `size` exchangeable particles, whose empirical measure is the unknown.

        with mm.particles("atom", 500):
            x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))

    The `sample` statements inside declare the base measure of one particle. To every NumPyro
    handler and kernel this is an ordinary plate; `MMFLD` moves its particles by mean-field
    dynamics, and the error of having N of them and not infinitely many is of order 1/N. A model has
    one such plate, which holds all sites of a particle and cannot be subsampled.

    name: of the plate, and of the dimension in exported runs.
    size: N, a positive Python integer.
    dim: the batch axis, negative; by default the last one that is free, as of a plate.

    Raises ValueError when the size is not a positive integer, as one that is traced."""

    def __init__(self, name: str, size: int, *, dim: int | None = None) -> None:
        if not is_count(size):
            raise ValueError(
                f"particles '{name}': the number of particles must be a positive integer, got "
                f"{size!r}; a size that comes in a traced argument has to be static"
            )
        apply_stack(_message(PARTICLES, f"{name}_{PARTICLES}", lambda: None))
        super().__init__(name, size, dim=dim)


class Objective(NamedTuple):
    """What an `objective` statement hands to the kernel through its site's `infer` dictionary.

    functional: F. points: the pytree of particle values that make the measure. temperature: tau.
    """

    functional: Functional
    points: PyTree[Float[Array, "n ..."]]
    temperature: Float[Array, ""] | float

    def log_factor(self) -> Float[Array, ""]:
        """-(N / tau) F(mu), mu the uniform measure on the points."""
        measure = Measure.uniform(self.points)
        return -measure.size / self.temperature * self.functional(measure)

    @classmethod
    def of(cls, site: dict) -> Objective:
        """What a site of a trace states; a `scale` handler divides the temperature."""
        stated, scale = site["infer"][OBJECTIVE], site["scale"]
        return stated if scale is None else stated._replace(temperature=stated.temperature / scale)


def objective(
    name: str,
    functional: Functional | Callable[[Measure], Float[Array, ""]],
    points: PyTree[Float[Array, "n ..."]],
    *,
    temperature: float | Float[Array, ""] = 1.0,
) -> None:
    r"""Minimise F(mu) + temperature * KL(mu | base), mu the measure of the particles.

    functional: F, a `Functional` or a plain callable of a `Measure`.
    points: the particles' values, an array or a pytree with the particles along the leading
      axis: a site sampled in a `particles` plate, or a function of such sites, particle by
      particle.
    temperature: tau > 0.

    To any other handler or kernel this is `numpyro.factor(name, -(N / temperature) * F(mu))`, the
    N-particle version of the problem. One objective a model: add functionals with `F + G`.
    Raises ValueError on a temperature that is not one positive number, or points without a
    particle axis; TypeError on what is no functional, a class included, and on a functional in
    the place of points."""
    if not is_positive(temperature):
        raise ValueError(
            f"objective '{name}': the temperature must be one positive number, got "
            f"{temperature!r}; as it falls to 0 the minimiser of F alone is approached, and a "
            "schedule goes to the kernel, MMFLD(model, temperature=schedule)"
        )
    if callable(points):
        raise TypeError(
            f"objective '{name}' got {type(points).__name__} for its points: "
            "mm.objective(name, functional, points, temperature=...)"
        )
    leaves = jax.tree.leaves(points)
    sizes = {jnp.shape(leaf)[:1] for leaf in leaves}
    if not leaves or len(sizes) != 1 or () in sizes:
        raise ValueError(
            f"objective '{name}': points must share a leading axis of particles, got shapes "
            f"{[jnp.shape(leaf) for leaf in leaves]}"
        )
    stated = Objective(as_functional(functional), points, temperature)
    message = apply_stack(_message(OBJECTIVE, f"{name}_{OBJECTIVE}", stated.log_factor))
    unit = dist.Unit(message["value"])
    infer = {"is_auxiliary": True, OBJECTIVE: stated}
    numpyro.sample(name, unit, obs=unit.sample(None), infer=infer)


class hold_objective(Messenger):
    """Keeps objectives from being computed: their sites hold what was stated, and a factor of 0."""

    def process_message(self, msg):
        if msg["type"] == OBJECTIVE:
            msg["value"] = jnp.zeros(())


def _message(kind: str, name: str, fn: Callable) -> dict:
    return {
        "type": kind,
        "name": name,
        "fn": fn,
        "args": (),
        "kwargs": {},
        "value": None,
        "infer": {},
        "cond_indep_stack": [],
    }
