"""Mixtures with an unknown mixing measure: nonparametric maximum likelihood with entropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from numpyro.distributions.constraints import Constraint

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_arrays, is_known
from mmfld_ppl.functionals import MixtureLikelihood, OfMean
from mmfld_ppl.functionals.checks import require_arguments, require_finite
from models.base_law import base_law, distribution, distributions, draw_from

#: theta -> distribution of one datum, or (theta, covariate) -> distribution.
Kernel = Callable[..., dist.Distribution]
#: The law of one atom: a distribution, or one for each part of theta by name.
Base = dist.Distribution | Mapping[str, dist.Distribution]

#: The sites of the atoms, where the base is one distribution, and of their masses.
SITE, MASS = "theta", "mass"
#: Atoms at which a kernel is tried on the data.
TRIALS = 16


def mixture(
    data: PyTree[Float[Array, "n ..."]],
    kernel: Kernel,
    base: Base,
    *,
    covariates: PyTree[Float[Array, "n ..."]] = None,
    counts: Float[Array | np.ndarray, " n"] | None = None,
    masses: dist.Distribution | Constraint | None = None,
    particles: int = 200,
    temperature: float | Array = 1e-3,
    batch_size: int | None = None,
) -> None:
    r"""Data from a mixture of kernel(theta) over an unknown measure nu of theta.

        min over nu of  -(1/n) sum_i log E_nu[k(z_i | theta)] + tau KL(nu | base)

    As tau falls, nu approaches the nonparametric maximum likelihood estimator, which has few atoms;
    the entropy makes it a density. The loss is a mean over the data: tau is per observation, and
    n tau is the weight of the entropy against the log-likelihood itself.

    With `masses` an atom is a pair of theta and a mass omega, and nu the measure of theta that the
    masses make; the loss is then

        -(1/n) sum_i log E_mu[omega k(z_i | theta)] + E_mu[omega] - 1,

    convex as before, and smallest at the same nu with a mean mass of one. Particles of equal mass
    1/N cannot hold what has a mass below 1/N, a few extreme data say; particles with masses can.

    data: an array, or a pytree of arrays, with the n data along the leading axis.
    kernel: theta -> NumPyro distribution of one datum; its support may not depend on theta.
    base: the law of theta, on whose support nu lives: a distribution, or a dictionary of them,
      theta then being a dictionary of values.
    covariates: what is known of each datum, one row a datum; the kernel is then called as
      kernel(theta, covariate). Numbers of trials, standard errors, ...
    counts: how often each datum occurs. Default: equal rows of the data are counted, where they can
      be seen, so that ties cost nothing.
    masses: the law of omega in the base, on the positive half-line, such as Exponential(1), or a
      constraint for the uniform law on it. None: equal masses.
    particles: number of atoms. temperature: tau.
    batch_size: data a step, drawn anew; for kernels with metropolize=False.

    Sites: `theta`, the atoms, or one for each name of the base; `mass`. Start at draws from the
    base, `MMFLD(mixture, init_strategy=init_to_sample)`: a datum that no atom explains pulls at all
    of them without bound.
    Raises ValueError for data that are not finite numbers or outside of the kernel's support,
    saying which, for kernels that give a batch of distributions or a support that moves with theta,
    and for laws of several particles; TypeError for kernels that cannot be called so or give no
    distribution, and for base and masses that are none."""
    rows = as_arrays("data", data), as_arrays("covariates", covariates)
    laws = parts(base)
    check_data(rows, kernel, base)
    if counts is None and all(map(is_known, jax.tree.leaves(rows))):
        rows, counts, _ = distinct(rows)
    log_k = log_density(kernel)
    with mm.particles("atom", particles):
        theta = joined({n: numpyro.sample(n, law) for n, law in laws.items()}, base)
        mass = None
        if masses is not None:
            mass = numpyro.sample(MASS, base_law(masses, (), "masses"), infer={"mass": True})
    if mass is None:
        points, loss = theta, MixtureLikelihood(log_k, rows, batch_size=batch_size, counts=counts)
    else:
        points = (theta, mass)
        loss = MixtureLikelihood(
            lambda x, row: log_k(x[0], row) + jnp.log(x[1]),
            rows,
            batch_size=batch_size,
            counts=counts,
        ) + OfMean(potential=lambda x: x[1] - 1)
    mm.objective("loss", loss, points, temperature=temperature)


def parts(base: Base) -> dict[str, dist.Distribution]:
    """The laws of the parts of theta by the names of their sites.

    Raises TypeError for what is no distribution, ValueError for a batch of them."""
    return distributions(base) if isinstance(base, Mapping) else {SITE: distribution(base)}


def joined(values: Mapping[str, Any], base: Base) -> Any:
    """Theta, as the kernel takes it, from values by site."""
    return dict(values) if isinstance(base, Mapping) else values[SITE]


def draw(key: PRNGKeyArray, base: Base, size: int) -> PyTree:
    """As many values of theta from the base."""
    laws = parts(base)
    keys = dict(zip(laws, jax.random.split(key, len(laws)), strict=True))
    return joined({name: draw_from(law, keys[name], size) for name, law in laws.items()}, base)


def law_of(kernel: Kernel, theta: PyTree, covariate: PyTree) -> dist.Distribution:
    """The distribution of one datum. Raises TypeError for a kernel that is none, or does not take
    what it is called with."""
    if isinstance(kernel, dist.Distribution):
        raise TypeError(
            "the kernel must give a distribution for each theta, got one distribution, "
            f"{type(kernel).__name__}(...): pass a function of theta that makes it"
        )
    called, arguments = "kernel(theta), as there are no covariates=", (theta,)
    if covariate is not None:
        called, arguments = "kernel(theta, covariate), as there are covariates=", (theta, covariate)
    require_arguments("the kernel", kernel, called, len(arguments))
    return kernel(*arguments)


def log_density(kernel: Kernel) -> Callable[[PyTree, tuple], Float[Array, ""]]:
    """log k of theta and a row (datum, covariate)."""

    def log_k(theta: PyTree, row: tuple) -> Float[Array, ""]:
        datum, covariate = row
        return law_of(kernel, theta, covariate).log_prob(datum)

    return log_k


class Distinct(NamedTuple):
    """rows: those that differ from each other. counts: how often each occurs. inverse: where each
    of the original rows is among them."""

    rows: PyTree
    counts: Float[np.ndarray, " k"]
    inverse: Int[np.ndarray, " n"]


def distinct(rows: PyTree) -> Distinct:
    """Equal rows counted."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(rows)]
    columns = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    _, first, inverse, counts = np.unique(
        columns, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    kept = jax.tree.map(lambda leaf: np.asarray(leaf)[first], rows)
    return Distinct(kept, counts.astype(float), inverse.ravel())


def check_data(rows: tuple[PyTree, PyTree], kernel: Kernel, base: Base) -> None:
    """Raises ValueError where the data cannot come from the kernel at any of some atoms drawn from
    the base, for data that can be looked at."""
    leaves = jax.tree.leaves(rows)
    if not leaves or not all(map(is_known, leaves)):
        return
    sizes = {np.shape(leaf)[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(
            "data and covariates must share a leading axis of at least one row, got shapes "
            f"{[np.shape(leaf) for leaf in leaves]}"
        )
    require_finite("data", rows[0])
    require_finite("covariates", rows[1])
    with jax.ensure_compile_time_eval():
        atoms = eqx.filter_jit(draw)(jax.random.key(0), base, TRIALS)
        first = [jax.tree.map(lambda leaf: leaf[0], tree) for tree in (atoms, *rows)]
        law = _checked_law(kernel, first[0], first[2])
        _check_shape(law, first[1])
        tried = eqx.filter_jit(_tried)(kernel, atoms, rows)
    if not all(map(is_known, tried)):  # a kernel with parameters that are traced
        return
    inside, finite = map(np.asarray, tried)
    if not inside.any(axis=0).all():
        row = int(np.flatnonzero(~inside.any(axis=0))[0])
        law = law_of(kernel, first[0], jax.tree.map(lambda leaf: leaf[row], rows[1]))
        raise ValueError(
            f"{np.count_nonzero(~inside.any(axis=0))} data are outside of the support "
            f"{law.support!r} of {type(law).__name__}, the first in row {row}: "
            f"{_shown(rows[0], row)}; take a kernel on the data's own support, or transform them"
        )
    if not inside.all():
        raise ValueError(
            f"the support of {type(law).__name__} moves with theta: of {TRIALS} atoms from the "
            f"base, {np.count_nonzero(~inside.all(axis=1))} cannot give all of the data. Take a "
            "kernel whose support is the same for every theta"
        )
    if not finite.any(axis=0).all():
        row = int(np.flatnonzero(~finite.any(axis=0))[0])
        raise ValueError(
            f"the log density of {type(law).__name__} is not finite at the datum of row {row}, "
            f"{_shown(rows[0], row)}, for any of {TRIALS} atoms drawn from the base: it may be on "
            "the boundary of the support, or in a tail that underflows"
        )


def _tried(kernel: Kernel, atoms: PyTree, rows: tuple) -> tuple[Array, Array]:
    """Whether each datum is in the support, and has a finite log density, at each atom."""

    def one(theta, row):
        datum, covariate = row
        law = law_of(kernel, theta, covariate)
        return law.support(datum), jnp.isfinite(law.log_prob(datum))

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(atoms, rows)


def _checked_law(kernel: Kernel, theta: PyTree, covariate: PyTree) -> dist.Distribution:
    law = law_of(kernel, theta, covariate)
    if not isinstance(law, dist.Distribution):
        raise TypeError(
            f"the kernel must give a NumPyro distribution for one theta, got {type(law).__name__}"
        )
    if law.batch_shape:
        raise ValueError(
            f"the kernel must give one distribution for one theta, got {type(law).__name__} of "
            f"batch shape {law.batch_shape}: declare the axes of a datum by "
            f".to_event({len(law.batch_shape)})"
        )
    return law


def _check_shape(law: dist.Distribution, datum: PyTree) -> None:
    if not isinstance(datum, Mapping | tuple | list) and np.shape(datum) != law.event_shape:
        raise ValueError(
            f"a datum has shape {np.shape(datum)}, and {type(law).__name__} gives events of shape "
            f"{law.event_shape}: a row of the data must be one value of the kernel"
        )


def _shown(data: PyTree, row: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[row].tolist(), data)
