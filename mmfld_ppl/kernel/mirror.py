"""The kernel of mirror mean-field Langevin dynamics."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Mapping

from jax.sharding import Mesh
from jaxtyping import PyTree
from numpyro.distributions.constraints import Constraint

from ..arrays import is_known
from ..chain import Schedule, Settings, Shapes
from ..dynamics import Adaptation, Mirror, Symmetric, Transition, check_diffusion
from ..latent import Layout, product_of
from ..latent.default_start import default_start
from ..mirrors import MirrorMap, Product
from ..mirrors.correlated import correlated
from ..mirrors.unfolded import Unfolded
from .base import LangevinKernel, as_schedule, is_positive_number

#: The name of `dynamics.Symmetric` among diffusions.
SYMMETRIC = "symmetric"
#: Target acceptance of moves that forget where they went, and of those that go on: along paths, or
#: with momenta that are kept.
ONE_STEP_TARGET, PATH_TARGET = 0.6, 0.8


class MMFLD(LangevinKernel):
    r"""Mirror mean-field Langevin dynamics, and mirror Langevin dynamics of ordinary models.

    An ordinary model: adjusted mirror Langevin dynamics on the joint density of its latent sites,
    several leapfrog steps a move; the posterior is the exact stationary law. A model with
    `mm.particles` and `mm.objective`: dynamics whose stationary measure obeys mu = mu_hat(mu)
    proportional to base * exp(-(1/tau) dF/dmu(mu)), up to O(1/N), the minimiser of
    F + tau KL(mu | base); each particle is accepted or refused on its own. A model with particles
    and other latent sites moves the two blocks in turn; the spread of the latter is then too wide
    by a share that falls with the step (figures: docs/mean_field.md). `metropolize=False` is
    algorithm 1 of Gu and Kim 2025, with a bias of first order in the step; on a half-line whose
    density is positive at the bound, with rare jumps far out too, unless the step is short (.02).

    model: a NumPyro model, or potential_fn: a potential of a pytree, with support: its constraint,
      or a pytree of them; `init_params` are then required.
    step_size: h, a time of dY = -grad V dt + sqrt(2 G) dB: the first to try, or a schedule of the
      step's index (then not adapted).
    adapt_step_size: by dual averaging in the warm-up. Default: when adjusted and not scheduled.
    target_accept_prob: what it is driven to, while keeping the collective ratio r at .25 or less.
      Default: .8 of symmetric steps under a path length, .6 of others.
    adapt_metric: whether the warm-up adapts a weight for each site, coordinate by coordinate
      where its map is separable. Default: when adjusted.
    metropolize: adjusted or not. Minibatches (subsampled plates) need False.
    diffusion: how the noise is discretised. Default:
        "symmetric": adjusted. The step of `dynamics.Symmetric`, along paths of some length.
        "one-step": unadjusted. The paper's step, which can be adjusted as well (Srinivasan,
          Wibisono and Wilson 2024).
      If one map has no symmetric step, as an entropy has none, all sites that move together take
      "one-step". Unadjusted dynamics also take a number of sub-steps, or "exact" where the
      maps have a closed form.
    dense_mass: whether the metric knows correlations between the sites of an ordinary model on
      lines, half-lines and intervals and in ordered vectors (`mirrors.correlated`), as those of an
      intercept and a slope; d^2 numbers and multiplications a step for d coordinates. Takes
      symmetric steps.
    path_length: how far symmetric steps go in one direction, in the units of the metric: about
      standard deviations, once adapted. A move of an ordinary model is as many steps as it takes
      to cover a length between 0 and this one. Particles, and other sites beside them,
      take one step a move and keep their momenta: half of this length is where 1/e of them is
      left, so that this is kinetic mean-field Langevin dynamics of friction 2 / path_length
      (`dynamics.MeanFieldLangevin`). None is one step a move, and new momenta at each.
    mirror_maps: {site: map of one event}, in place of the default of its support.
    init_strategy: as in NumPyro's kernels; default: `init_to_uniform`, at matrices of radius .5 in
      place of 2, since single precision is not enough further out. `init_params` are constrained
      values by site name.
    temperature: a schedule of the step's index that multiplies the objective's temperature, or
      tempers the whole law of an ordinary model.
    strict: raise where a support has no mirror map, instead of using an unconstrained chart.
    mesh: devices to spread over, by axes named "particles" and "chains"; chains are then
      vectorised.

    Raises ValueError or TypeError for numbers out of range and options that exclude each other,
    when it is made; for a model that it cannot run, when the run begins: sites without a map or
    chart, discrete sites, densities that change from step to step under metropolize=True, or no
    valid starting point. Warns where an unadjusted map is not self-concordant.
    """

    def __init__(
        self,
        model: Callable | None = None,
        *,
        potential_fn: Callable | None = None,
        support: PyTree | None = None,
        step_size: float | Schedule = 0.1,
        adapt_step_size: bool | None = None,
        target_accept_prob: float | None = None,
        adapt_metric: bool | None = None,
        metropolize: bool = True,
        diffusion: str | int | None = None,
        dense_mass: bool = False,
        path_length: float | None = 5.0,
        mirror_maps: Mapping[str, MirrorMap] | None = None,
        init_strategy: Callable = default_start,
        temperature: Schedule | None = None,
        strict: bool = False,
        mesh: Mesh | None = None,
    ) -> None:
        if diffusion is None and not metropolize:
            diffusion = "one-step"
        if diffusion not in (None, SYMMETRIC):
            check_diffusion(diffusion)
        if path_length is not None:
            if not is_positive_number(path_length):
                raise ValueError(
                    "path_length must be a positive number, the greatest length of a move, or None "
                    f"for one step a move, got {path_length!r}"
                )
            path_length = float(path_length)
        if metropolize and diffusion not in (None, SYMMETRIC, "one-step"):
            raise ValueError(
                f"metropolize=True takes diffusion='symmetric' or 'one-step', whose densities are "
                f"known, got {diffusion!r}; pass metropolize=False to use it"
            )
        if diffusion == SYMMETRIC and not metropolize:
            raise ValueError(
                "diffusion='symmetric' is made to be adjusted: leave metropolize=False out, or "
                "take 'one-step', a number of sub-steps or 'exact'"
            )
        if not isinstance(dense_mass, bool):
            raise TypeError(
                f"dense_mass must be True, for all sites that it is for, or False, got "
                f"{dense_mass!r}; it knows no blocks of sites"
            )
        if dense_mass and diffusion not in (None, SYMMETRIC):
            raise ValueError(
                f"dense_mass=True takes symmetric steps, got diffusion={diffusion!r}; leave one out"
            )
        if target_accept_prob is not None and not (
            is_positive_number(target_accept_prob) and target_accept_prob < 1
        ):
            raise ValueError(f"target_accept_prob must be in (0, 1), got {target_accept_prob!r}")
        if adapt_step_size and callable(step_size):
            raise ValueError("a scheduled step size is not adapted; leave adapt_step_size out")
        if adapt_step_size and not metropolize:
            raise ValueError(
                "unadjusted dynamics accept every move, so there is no acceptance to adapt the "
                "step size to; pass step_size= and leave adapt_step_size out"
            )
        if adapt_step_size is None:
            adapt_step_size = metropolize and not callable(step_size)
        if adapt_metric and not metropolize:
            raise ValueError(
                "adapt_metric=True takes adjusted moves: it frees the maps of half-lines and "
                "matrices of what holds far moves back, and unadjusted dynamics would make them; "
                "leave adapt_metric out"
            )
        if adapt_metric is None:
            adapt_metric = metropolize
        if dense_mass and not adapt_metric:
            raise ValueError("a dense metric comes from the warm-up; leave adapt_metric=False out")
        self._diffusion, self._dense_mass = diffusion, dense_mass
        self._chooses_target = target_accept_prob is None
        target = ONE_STEP_TARGET if target_accept_prob is None else float(target_accept_prob)
        settings = Settings(
            step_size=as_schedule("step_size", step_size),
            temperature=temperature,
            metropolize=metropolize,
            adaptation=Adaptation(target, adapt_step_size, adapt_metric),
            init_strategy=init_strategy,
            transition=functools.partial(_transition, diffusion),
            transition_options={"diffusion": diffusion, "dense_mass": dense_mass},
            geometry=functools.partial(_geometry, diffusion, dense_mass),
            path_length=path_length,
        )
        super().__init__(model, potential_fn, support, mirror_maps, strict, settings, mesh)

    def settings_for(self, layout: Layout) -> Settings:
        if not self._chooses_target or self.settings.path_length is None:
            return self.settings
        targets = {}
        for block in ("globals", "particles"):
            sites = layout.block(particles=block == "particles")
            if _is_symmetric(self._diffusion, all(site.has_symmetric_step for site in sites)):
                targets[block] = PATH_TARGET
        return dataclasses.replace(self.settings, targets=targets)

    def _check_geometry(
        self,
        layout: Layout,
        maps: Mapping[str, MirrorMap],
        supports: Mapping[str, Constraint],
    ) -> None:
        if self._dense_mass:
            _require_correlations(product_of(layout, maps, particles=False))
        for name, map in maps.items():
            if self._diffusion == SYMMETRIC and not map.has_symmetric_step:
                raise ValueError(
                    f"site '{name}': diffusion='symmetric' needs a map with a symmetric step, and "
                    f"{map.describe()} has none; choose another by mirror_maps=, or leave "
                    "diffusion out"
                )
            if self._diffusion == "exact":
                if not map.has_exact_diffusion:
                    raise ValueError(
                        f"site '{name}': diffusion='exact' needs a map with a closed-form "
                        f"diffusion, and {map.describe()} has none; choose another by "
                        "mirror_maps=, or use diffusion='one-step' or a number of sub-steps"
                    )
            elif not (self.settings.metropolize or _self_concordant(map)):
                warnings.warn(
                    f"site '{name}': {map.describe()} is not self-concordant, and unadjusted "
                    "dynamics under it collapse onto the boundary or overflow (the noise is "
                    "unbounded in the local norm); use the default map of the support, or "
                    "metropolize=True; diffusion='exact' makes the noise exact and not the drift, "
                    "so that it helps only where the slope is bounded in the map's metric, not "
                    "where the density vanishes at the boundary",
                    stacklevel=4,
                )


def _require_correlations(map: Product) -> None:
    """Raises ValueError where there are none that a dense metric could know."""
    stepless = [name for name, part in map.parts.items() if not part.has_symmetric_step]
    if stepless:
        raise ValueError(
            f"dense_mass=True takes symmetric steps, which the map of site '{stepless[0]}' has "
            "none of; leave dense_mass out, or take the default map of the support"
        )
    if not any(part.is_flat for part in Unfolded.of(map.stepping()).base.parts.values()):
        raise ValueError(
            "dense_mass=True is for sites on lines, half-lines and intervals, and for ordered "
            "vectors, that are no particles, and this model has none; leave it out"
        )


def _self_concordant(map: MirrorMap) -> bool:
    constant = map.self_concordance
    return not is_known(constant) or math.isfinite(constant)


def _is_symmetric(diffusion: str | int | None, has_step: bool) -> bool:
    """Whether moves are symmetric steps. has_step: whether all maps that move together have one."""
    return has_step and diffusion in (None, SYMMETRIC)


def _geometry(
    diffusion: str | int | None, dense_mass: bool, map: Product, unit: PyTree, particles: bool
) -> MirrorMap:
    if not _is_symmetric(diffusion, map.has_symmetric_step):
        return map
    stepping = map.stepping()
    return correlated(stepping, unit) if dense_mass and not particles else stepping


def _transition(
    diffusion: str | int | None,
    map: MirrorMap,
    supports: PyTree,
    shapes: Shapes,
    particles: bool,
) -> Transition:
    if _is_symmetric(diffusion, map.has_symmetric_step):
        return Symmetric(map, truncated=particles)
    return Mirror(map, "one-step" if diffusion in (None, SYMMETRIC) else diffusion)
