"""What a run of `models.mixture` says about the data, as groups for ArviZ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.nn import logsumexp
from jaxtyping import Array, PRNGKeyArray, PyTree

from mmfld_ppl.arrays import as_array, as_arrays
from mmfld_ppl.diagnostics import effective_components, likelihood_certificate
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.inference_data.datasets import SAMPLE_DIMS, Named, dataset_of, file_name
from mmfld_ppl.inference_data.groups import with_groups
from mmfld_ppl.naming import flatten_named

from .mixture import MASS, Base, Kernel, distinct, draw, joined, law_of, log_density, parts

#: Candidates for the certificate that are drawn from the base, and taken from the particles.
CANDIDATES = 256

OBSERVATION = "observation"


def mixture_result(
    idata: Any,
    data: PyTree,
    kernel: Kernel,
    base: Base,
    *,
    covariates: PyTree = None,
    counts: np.ndarray | None = None,
    grid: Array | None = None,
    theta_grid: PyTree = None,
    key: PRNGKeyArray | None = None,
) -> Any:
    r"""A run of `mixture`, with what follows from its mixing measures draw by draw.

    Adds to the groups of the run, with dims chain and draw, so that means over them are estimates
    and quantiles bands across replicates:

      log_likelihood: `obs`, log p_i at each observation. `az.loo` takes it. The draws are those of
        the particles' stationary law, whose spread is that of N particles and not that of a
        posterior, unless N = n tau: see the documentation before reading its effective number of
        parameters.
      posterior_predictive: `obs`, one replicate of each observation.
      empirical_bayes: the posterior mean of theta given each observation, part by part.
      sample_stats: `certificate`, a bound on F(mu) - min F in nats an observation, and
        `certificate_at...`, the theta where it is attained: see `likelihood_certificate`;
        `components`, how many can be told apart: see `effective_components`.
      density, where `grid` is given: `density` of a datum at each point of the grid.
      gradient, where `theta_grid` is given: `gradient`, D of the certificate at each of its points;
        the search for the maximum starts there too.
      observed_data: `obs`, as integers where the kernel is discrete and the data are whole.

    idata: from `mm.to_inference_data`, of either ArviZ generation. data, kernel, base, covariates,
    counts: as the model was given them; an observation is a row of the data. grid: data, along the
    leading axis. theta_grid: values of theta, an array or a dictionary of arrays. key: of the
    posterior predictive draws and of the candidates.
    Raises ValueError for a grid with covariates, as a density then depends on them, for data that
    are not numbers, and for a kernel whose laws cannot be drawn from in a compiled program, as a
    Multinomial of unknown total."""
    if grid is not None and covariates is not None:
        raise ValueError(
            "grid= asks for the density of a datum, which with covariates is a different one for "
            "each of them: leave it out, and call this again with the covariates of interest"
        )
    data, covariates, grid, theta_grid = (
        as_arrays(name, values)
        for name, values in (
            ("data", data),
            ("covariates", covariates),
            ("grid", grid),
            ("theta_grid", theta_grid),
        )
    )
    posterior = dataset(idata, "posterior")
    atoms, log_w, shape = _atoms(posterior, base)
    rows, occurs, inverse = distinct((data, covariates))
    if counts is not None:
        occurs = np.bincount(inverse, as_array("counts", counts), len(occurs))
    rows = jax.tree.map(jnp.asarray, rows)
    key_base, key_draws = jax.random.split(jax.random.key(0) if key is None else key)
    candidates = _candidates(key_base, base, atoms, theta_grid)
    measures = (atoms, log_w)
    replicates = _predict(key_draws, kernel, measures, (data, covariates))
    log_k = log_density(kernel)
    supports = joined({name: law.support for name, law in parts(base).items()}, base)

    def one(measure: tuple[PyTree, Array]) -> dict[str, Any]:
        """Of one measure, at the distinct rows."""
        theta, log_w = measure
        each = _log_densities(log_k, theta, rows)
        logs = each + log_w[:, None]
        log_p = logsumexp(logs, axis=0)
        shares = jnp.exp(logs - log_p)
        bound = likelihood_certificate(
            log_k, rows, log_p, candidates, supports, counts=jnp.asarray(occurs)
        )
        found = {
            "log_p": log_p,
            "means": jax.tree.map(
                lambda leaf: jnp.tensordot(shares.T, leaf, 1, precision="highest"), theta
            ),
            "components": effective_components(each, log_w, counts=jnp.asarray(occurs)),
            "certificate": bound.gap,
            "location": bound.location,
        }
        if theta_grid is not None:
            size = jnp.shape(jax.tree.leaves(theta_grid)[0])[0]
            found["gradient"] = bound.at_candidates[:size]
        if grid is not None:
            at_grid = _log_densities(log_k, theta, (jnp.asarray(grid), None)) + log_w[:, None]
            found["density"] = jnp.exp(logsumexp(at_grid, axis=0))
        return found

    found = jax.device_get(jax.jit(lambda measures: jax.lax.map(one, measures))(measures))
    found = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)
    first = (
        jax.tree.map(lambda leaf: leaf[0, 0], atoms),
        jax.tree.map(lambda leaf: leaf[0], rows[1]),
    )
    discrete = law_of(kernel, *first).support.is_discrete
    means = _named(found["means"], base)
    groups: dict[str, dict[str, Named]] = {
        "log_likelihood": {"obs": ((*SAMPLE_DIMS, OBSERVATION), found["log_p"][..., inverse])},
        "posterior_predictive": _observed(replicates, shape, discrete),
        "empirical_bayes": {
            name: ((*SAMPLE_DIMS, OBSERVATION, *_event_dims(posterior, name)), v[:, :, inverse])
            for name, v in means.items()
        },
        "observed_data": _observed(data, (), discrete),
    }
    if grid is not None:
        groups["density"] = {"density": ((*SAMPLE_DIMS, "grid"), found["density"])}
        groups["density"] |= _grid_points("", "grid", grid)
    if theta_grid is not None:
        groups["gradient"] = {"gradient": ((*SAMPLE_DIMS, "theta_grid"), found["gradient"])}
        for name, values in _named(theta_grid, base).items():
            groups["gradient"] |= _grid_points(f"{name}_", "theta_grid", values)
    statistics = {name: (SAMPLE_DIMS, found[name]) for name in ("components", "certificate")} | {
        f"certificate_at_{name}": ((*SAMPLE_DIMS, *_event_dims(posterior, name)), value)
        for name, value in _named(found["location"], base).items()
    }
    return _with_results(idata, posterior, groups, statistics)


def _log_densities(log_k: Any, theta: PyTree, rows: PyTree) -> Array:
    return jax.vmap(jax.vmap(log_k, (None, 0)), (0, None))(theta, rows)


def _atoms(posterior: xr.Dataset, base: Base) -> tuple[PyTree, Array, tuple[int, int]]:
    """Theta of every draw and the logarithms of the weights, chains and draws in one leading axis,
    and how many there are of each."""
    plate = posterior.attrs.get("particle_plate")
    missing = [name for name in parts(base) if name not in posterior]
    if plate is None or missing:
        raise ValueError(
            f"a run of `mixture` has particles at the sites {list(parts(base))}; this one has "
            f"{sorted(map(str, posterior.data_vars))} and the particle plate {plate!r}"
        )

    def values(name: str) -> Array:
        array = posterior[name].transpose(*SAMPLE_DIMS, plate, ...).values
        return jnp.asarray(array.reshape(-1, *array.shape[2:]))

    atoms = {name: values(name) for name in parts(base)}
    mass = values(MASS) if MASS in posterior else jnp.ones(next(iter(atoms.values())).shape[:2])
    log_w = jnp.log(mass) - jnp.log(jnp.sum(mass, axis=1, keepdims=True))
    return joined(atoms, base), log_w, (posterior.sizes["chain"], posterior.sizes["draw"])


def _candidates(key: PRNGKeyArray, base: Base, atoms: PyTree, theta_grid: PyTree) -> PyTree:
    """The grid, draws of the base, and particles of all draws."""
    drawn = draw(key, base, CANDIDATES)
    count = np.prod(jax.tree.leaves(atoms)[0].shape[:2])
    every = max(1, int(count) // CANDIDATES)
    some = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[::every][:CANDIDATES], atoms)
    sources = [drawn, some] if theta_grid is None else [theta_grid, drawn, some]
    return jax.tree.map(lambda *leaves: jnp.concatenate([*map(jnp.asarray, leaves)]), *sources)


def _predict(key: PRNGKeyArray, kernel: Kernel, measures: tuple, rows: tuple) -> PyTree:
    """A replicate of every row under each measure: an atom at random, then a draw of its kernel."""
    n = jnp.shape(jax.tree.leaves(rows)[0])[0]

    def one(key: PRNGKeyArray, theta: PyTree, covariate: PyTree) -> Array:
        return law_of(kernel, theta, covariate).sample(key)

    def replicate(arguments: tuple) -> Array:
        key, (theta, log_w) = arguments
        key_atom, key_row = jax.random.split(key)
        chosen = jax.random.choice(key_atom, log_w.shape[0], (n,), p=jnp.exp(log_w))
        picked = jax.tree.map(lambda leaf: leaf[chosen], theta)
        return jax.vmap(one)(jax.random.split(key_row, n), picked, rows[1])

    run = jax.jit(lambda keys, measures: jax.lax.map(replicate, (keys, measures)))
    try:
        return jax.device_get(run(jax.random.split(key, len(measures[1])), measures))
    except (ValueError, NotImplementedError) as error:
        raise ValueError(
            f"the posterior predictive draws from the laws of the kernel, and could not: {error} "
            "A Multinomial whose total is a covariate takes total_count_max=, the largest of them"
        ) from error


def _named(values: PyTree, base: Base) -> dict[str, Any]:
    return dict(values) if isinstance(base, Mapping) else dict.fromkeys(parts(base), values)


def _event_dims(posterior: xr.Dataset, name: str) -> tuple[str, ...]:
    plate = posterior.attrs["particle_plate"]
    return tuple(str(d) for d in posterior[name].dims if d not in (*SAMPLE_DIMS, plate))


def _observed(values: PyTree, shape: tuple[int, ...], discrete: bool) -> dict[str, Named]:
    """Data, or replicates of them by chain and draw, one variable a leaf. Discrete ones that are
    whole are integers, as ArviZ's pictures of counts need them: a column that had gaps is not."""
    lead = SAMPLE_DIMS if shape else ()
    found: dict[str, Named] = {}
    names, leaves, _ = flatten_named({"obs": values})
    for name, leaf in zip(map(file_name, names), leaves, strict=True):
        array = np.asarray(leaf)
        if discrete and array.dtype.kind == "f" and np.all(array == np.rint(array)):
            array = array.astype(int)
        array = array.reshape(*shape, *array.shape[1:]) if shape else array
        extra = [f"{name}_dim_{i}" for i in range(array.ndim - len(lead) - 1)]
        found[name] = ((*lead, OBSERVATION, *extra), array)
    return found


def _grid_points(prefix: str, dim: str, points: Any) -> dict[str, Named]:
    points = np.asarray(points)
    extra = [f"{prefix}{dim}_dim_{i}" for i in range(points.ndim - 1)]
    return {f"{prefix}points": ((dim, *extra), points)}


def _with_results(
    idata: Any,
    posterior: xr.Dataset,
    groups: Mapping[str, Mapping[str, Named]],
    statistics: Mapping[str, Named],
) -> Any:
    """The run with new groups and more statistics."""
    coords = {str(dim): posterior[dim].values.tolist() for dim in posterior.dims}
    named = {name: dataset_of(group, coords) for name, group in groups.items()}
    present = dataset(idata, "sample_stats") if "sample_stats" in idata else xr.Dataset()
    named["sample_stats"] = present.merge(dataset_of(statistics, coords))
    return with_groups(idata, named)
