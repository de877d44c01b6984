"""Trajectory inference: the path that a population took, from snapshots of different cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

import mmfld_ppl as mm
from mmfld_ppl.functionals import PathSpace
from mmfld_ppl.functionals.snapshots import Snapshot
from models.base_law import Base, base_law, distributions, draw_from

#: The law of one cell before the data; a mapping holds the parts of its coordinates, in order.
CellBase = Base | Mapping[str, dist.Distribution]


def trajectory(
    snapshots: Sequence[Snapshot],
    times: Sequence[float] | Array | np.ndarray,
    *,
    diffusivity: float,
    bandwidth: float,
    regularization: float,
    cells: int = 100,
    base: CellBase | None = None,
    growth: Callable[[Array, Array], Array] | None = None,
    weights: Float[Array, " t"] | None = None,
    temperature: float | None = None,
) -> None:
    r"""The min-entropy estimator of Chizat, Zhang, Heitz and Schiebinger (2022).

        min over laws R of paths of  sum_t w_t Fit_t(R_t) + lambda tau KL(R | Brownian motion)

    through its marginals at the times of the snapshots, `cells` particles each; see `PathSpace`.

    snapshots: arrays (n_t, d), or `Measure`s, of any sizes. times: increasing.
    diffusivity: tau. bandwidth: sigma. regularization: lambda. weights: as in `PathSpace`.
    growth: a function of one cell, an array (d,), and a time to its rate per unit of `times`, which
      JAX can trace.
    base: law of one cell, on a support that holds every snapshot, or a constraint, for the uniform
      law on that support; by default uniform on a box that is twice as wide as the data. Several
      parts {name: distribution} are sites of their own, whose coordinates, joined in order, are
      those of the snapshots: an orthant beside a simplex, say.
    temperature: by default the diffusivity, which makes this the paper's estimator.

    Sites: `x`, shape (T * cells, d), blocks of `cells` in the order of the times; with several
    parts their sites, and `x` is deterministic.
    Raises ValueError for snapshots outside of the support, and as `PathSpace` does; TypeError where
    `base` or one of its parts is something else."""
    path = PathSpace(
        snapshots,
        times,
        diffusivity=diffusivity,
        bandwidth=bandwidth,
        regularization=regularization,
        growth=growth,
        weights=weights,
    )
    if cells < 2:
        raise ValueError(f"a marginal needs cells=2 particles or more, got {cells}")
    base = _checked(path, base)
    with mm.particles("cell", path.num_times * cells):
        if isinstance(base, Mapping):
            parts = [_vectors(numpyro.sample(name, law)) for name, law in base.items()]
            x = numpyro.deterministic("x", jnp.concatenate(parts, axis=-1))
        else:
            x = numpyro.sample("x", base)
    mm.objective("path", path, x, temperature=diffusivity if temperature is None else temperature)


def default_base(path: PathSpace) -> dist.Distribution:
    """Uniform on a box about the data, twice as wide and no narrower than eight bandwidths."""
    cells = path.cells.reshape(-1, path.cells.shape[-1])
    low, high = jnp.min(cells, axis=0), jnp.max(cells, axis=0)
    margin = jnp.maximum((high - low) / 2, 4 * path.bandwidth)
    return mm.distributions.UniformBox(low - margin, high + margin)


def starting_cells(
    key: PRNGKeyArray,
    snapshots: Sequence[Snapshot],
    times: Sequence[float] | Array | np.ndarray,
    *,
    cells: int = 100,
    base: CellBase | None = None,
    bandwidth: float,
    chains: int = 1,
    pull: float = 0.02,
) -> dict[str, Array]:
    """`init_params` for `trajectory`: every particle starts at a cell of its own snapshot.

    Cells are drawn again with their masses, as evenly as can be, and pulled towards a draw of the
    base, by a random part of at most the fraction `pull` of the way and half a bandwidth, which
    takes them off the boundary and apart: from further away than a bandwidth a cell hardly pulls
    back. With several chains their axis leads.
    Raises ValueError and TypeError as `trajectory` does, and TypeError for a base without draws."""
    path = PathSpace(snapshots, times, diffusivity=1.0, bandwidth=bandwidth, regularization=1.0)
    base = _checked(path, base)
    laws = base if isinstance(base, Mapping) else {"x": base}
    data = dict(zip(laws, _parts(path.cells, laws), strict=True))

    def one(key: PRNGKeyArray) -> dict[str, Array]:
        key_cells, key_pull, *keys = jax.random.split(key, 2 + len(laws))
        offsets = jax.random.uniform(key_cells, (path.num_times,))
        chosen = jax.vmap(lambda b, u: _even(b, u, cells))(path.masses, offsets)
        size = path.num_times * cells
        random = jax.random.uniform(key_pull, (size,), minval=0.05)
        start = {}
        for (name, law), key in zip(laws.items(), keys, strict=True):
            values = jax.vmap(lambda z, i: z[i])(data[name], chosen)
            values = values.reshape(size, *law.event_shape)
            way = draw_from(law, key, size) - values
            length = jnp.sqrt(jnp.sum(way.reshape(size, -1) ** 2, axis=1))
            share = random * pull * bandwidth / jnp.maximum(bandwidth, 2 * pull * length)
            start[name] = values + share.reshape(size, *(1 for _ in law.event_shape)) * way
        return start

    if chains == 1:
        return one(key)
    return jax.vmap(one)(jax.random.split(key, chains))


def _even(masses: Float[Array, " n"], offset: Array, count: int) -> Array:
    """Systematic draws of indices: each comes within one of its expected number of times."""
    at = (jnp.arange(count) + offset) / count
    last = jnp.max(jnp.where(masses > 0, jnp.arange(len(masses)), 0))
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(masses), at, side="right"), last)


def _vectors(values: Array) -> Array:
    """A site of numbers as one of vectors of length one."""
    return values[..., None] if values.ndim == 1 else values


def _parts(cells: Array, laws: Mapping[str, dist.Distribution]) -> list[Array]:
    """The coordinates of each part, (T, n, ...)."""
    widths = [int(np.prod(law.event_shape, dtype=int)) for law in laws.values()]
    dimension = int(np.prod(cells.shape[2:], dtype=int))
    if sum(widths) != dimension or any(len(law.event_shape) > 1 for law in laws.values()):
        shapes = {name: law.event_shape for name, law in laws.items()}
        raise ValueError(
            f"the base has events of shape {shapes}, the snapshots cells of shape "
            f"{cells.shape[2:]}: together they must have as many coordinates"
        )
    split = jnp.split(cells, np.cumsum(widths)[:-1], axis=-1)
    return [
        part.reshape(*cells.shape[:2], *law.event_shape)
        for part, law in zip(split, laws.values(), strict=True)
    ]


def _checked(
    path: PathSpace, base: CellBase | None
) -> dist.Distribution | dict[str, dist.Distribution]:
    """The base, or the default one; raises where it cannot be that of these snapshots."""
    if not hasattr(path.cells, "ndim") or path.cells.ndim != 3:
        shapes = jax.tree.map(lambda leaf: leaf.shape[2:], path.cells)
        raise ValueError(
            f"snapshots must hold cells that are vectors, got cells of shape {shapes}: numbers "
            "become vectors by s[:, None]"
        )
    if base is None:
        return default_base(path)
    parts = isinstance(base, Mapping)
    laws = distributions(base) if parts else {"x": base_law(base, path.cells.shape[2:])}
    for (name, law), data in zip(laws.items(), _parts(path.cells, laws), strict=True):
        inside = law.support(data)
        if isinstance(inside, Tracer) or bool(jnp.all(inside)):
            continue
        k, j = (int(i) for i in np.argwhere(~np.asarray(inside))[0])
        raise ValueError(
            f"snapshot {k} (time {float(path.times[k]):g}): cell {j}, {np.asarray(data[k, j])}, is "
            f"outside of the support {law.support} of the base of '{name}': give a base whose "
            "support holds the data, or transform them"
        )
    return laws if parts else laws["x"]
