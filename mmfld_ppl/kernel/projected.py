"""The kernel of projected mean-field Langevin dynamics, the paper's baseline."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree
from numpyro.distributions.constraints import Constraint

from ..chain import Schedule, Settings, Shapes
from ..dynamics import Adaptation, Projected
from ..latent import Layout
from ..latent.default_start import default_start
from ..mirrors import MirrorMap
from ..projections import projection
from .base import LangevinKernel, as_schedule, is_positive_number


class ProjectedMFLD(LangevinKernel):
    r"""Projected mean-field Langevin dynamics, with or without a barrier: the paper's baselines.

        x' = P(x - h (grad V(x) + barrier * grad phi(x)) + sqrt(2h) xi)

    Targets exp(-V) only as h -> 0, and puts a positive mass on the boundary. P projects on the
    support shrunk by the factor 1 - inset towards the centre of phi, since densities may be
    infinite on the boundary itself; phi is the default mirror map of each site. Takes the same
    models as `MMFLD`, on the supports of `mmfld_ppl.projections`.

    step_size: h, or a schedule of the step's index; there is no acceptance to adapt it to.
    barrier: the weight of phi in the drift, 0 for the plain projected dynamics. inset: above.
    model, or potential_fn and support; init_strategy, temperature, mesh: as in `MMFLD`.

    Raises ValueError for numbers out of range, when it is made, and as `MMFLD` does when the run
    begins; for supports without a projection, too."""

    def __init__(
        self,
        model: Callable | None = None,
        *,
        step_size: float | Schedule,
        potential_fn: Callable | None = None,
        support: PyTree | None = None,
        barrier: float = 0.0,
        inset: float = 1e-4,
        init_strategy: Callable = default_start,
        temperature: Schedule | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        if not (barrier == 0 or is_positive_number(barrier)):
            raise ValueError(f"barrier must be zero or a positive number, got {barrier!r}")
        if not (is_positive_number(inset) and inset < 1):
            raise ValueError(f"inset must be in (0, 1), got {inset!r}")

        settings = Settings(
            step_size=as_schedule("step_size", step_size),
            temperature=temperature,
            metropolize=False,
            adaptation=Adaptation(0.5, False, False),
            init_strategy=init_strategy,
            transition=functools.partial(_projected, barrier, inset),
            transition_options={"barrier": float(barrier), "inset": float(inset)},
            keep_supports=True,
        )
        super().__init__(model, potential_fn, support, None, True, settings, mesh)

    def _check_geometry(
        self,
        layout: Layout,
        maps: Mapping[str, MirrorMap],
        supports: Mapping[str, Constraint],
    ) -> None:
        for site in layout.sites:
            try:
                projection(supports[site.name], site.shape)
            except ValueError as error:
                raise ValueError(f"site '{site.name}': {error}") from None


def _projected(
    barrier: float,
    inset: float,
    map: MirrorMap,
    supports: PyTree,
    shapes: Shapes,
    particles: bool,
) -> Projected:
    projections = {name: projection(supports[name], shapes[name]) for name in shapes}

    def project(x: PyTree) -> PyTree:
        return {name: projections[name](x[name]) for name in x}

    return Projected(map, project, jnp.asarray(barrier), inset)
