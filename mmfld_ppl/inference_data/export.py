"""What turns draws of one run into named groups: made once, used on all draws or on many chunks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PyTree
from numpyro.infer import MCMC
from numpyro.infer import log_likelihood as evaluate_log_likelihood

from ..kernel import LangevinKernel
from ..naming import flatten_named, require_known
from .attributes import Attributes, model_attributes, run_attributes
from .capacity import available, fits, size
from .datasets import SAMPLE_DIMS, Coords, Named, dataset_of, file_name
from .geometry import Draws, geometry_of
from .recording import Site, complete, record, whole
from .scales import SCALE_OF, scales_at

Dims = Mapping[str, Sequence[str]]

#: NumPyro's names of statistics, and ArviZ's. The potential energy also changes its sign.
STATISTICS = {
    "potential_energy": "lp",
    "accept_prob": "acceptance_rate",
    "adapt_state.step_size": "step_size",
    "num_steps": "n_steps",
}

#: The dimension of `boundary_slack_by_site`.
BOUNDED_SITE = "bounded_site"

#: A value that no site of a model accounts for.
UNKNOWN = Site("latent", (), None, (), None)


class Export:
    """The sites, axes and maps of a run, and the programs that evaluate its groups.

    mcmc: the run. one: one draw, as `get_samples` gives it. The other arguments are those of
    `to_inference_data`. recording: the model, run once. geometry: its maps, None where not all
    latent sites have one."""

    def __init__(
        self,
        mcmc: MCMC,
        one: PyTree,
        *,
        log_likelihood: bool = False,
        dual: bool = False,
        dims: Dims | None = None,
        coords: Coords | None = None,
        constant_data: Mapping[str, Array] | None = None,
    ) -> None:
        self.dims = dict(dims or {})
        self.coords = {file_name(dim): values for dim, values in (coords or {}).items()}
        self.constants = dict(constant_data or {})
        names = list(flat(one))
        self.recording = record(mcmc.sampler.model, mcmc._args, mcmc._kwargs, flat(one))
        self.geometry = geometry_of(mcmc, one, unadapted=dual)
        require_known("dims", self.dims, [*names, *self.recording.sites, *self.constants])
        self._dual = dual
        if dual and self.geometry is None:
            raise ValueError(
                "dual=True needs the mirror maps of the sites, and not all latent sites of this "
                "model can have one; leave it out"
            )
        self._latents = self._require_likelihood(names) if log_likelihood else []
        model, args, kwargs = mcmc.sampler.model, mcmc._args, mcmc._kwargs

        def likelihood(draws: Draws) -> dict[str, Array]:
            return evaluate_log_likelihood(whole(model), draws, *args, batch_ndims=2, **kwargs)

        self._likelihood = jax.jit(likelihood)
        # Trajectories of other kernels end divergent in a neck.
        scaled = self.recording.scaled_by if isinstance(mcmc.sampler, LangevinKernel) else {}
        # Of a site that was left out there are no draws.
        self._scaled = {n: by for n, by in scaled.items() if set(by) <= set(names)}
        held = {n: s.value for n, s in self.recording.sites.items() if s.kind == "latent"}

        def scales(draws: Draws) -> dict[str, Array]:
            def one(draw: Draws) -> dict[str, Array]:
                return scales_at(model, args, kwargs, held | draw, self._scaled)

            return jax.vmap(jax.vmap(one))(draws)

        self._scales = jax.jit(scales)

    def datasets(self, draws: Draws, statistics: Draws) -> dict[str, xr.Dataset]:
        """The groups that have a value for each draw, as they are asked for; leaves by chain and
        draw."""
        sites = self.recording.sites
        draws = {n: draws[n] for n in (*sites, *draws) if n in draws}  # in model order
        slack = {} if self.geometry is None else self.geometry.slack(draws)
        groups = {
            "posterior": self._of_sites(draws),
            "sample_stats": _plain(statistics)
            | _slack_statistics(slack)
            | _plain(self._scale_statistics(draws)),
        }
        if self._latents:
            groups["log_likelihood"] = self._log_likelihood(draws)
        if self._dual:
            groups["unconstrained_posterior"] = self._of_duals(draws)
        coords = {BOUNDED_SITE: [file_name(name) for name in slack], **self.coords}
        return {name: dataset_of(arrays, coords) for name, arrays in groups.items() if arrays}

    def data(self) -> dict[str, xr.Dataset]:
        """The groups of the data: what was observed, and the constants."""
        observed = {n: s for n, s in self.recording.sites.items() if s.kind == "observed"}
        groups = {
            "observed_data": {
                n: (s.axis_names(n, np.shape(s.value), self.dims.get(n)), s.value)
                for n, s in observed.items()
            },
            "constant_data": {
                n: (complete(n, [None] * np.ndim(v), self.dims.get(n, ())), v)
                for n, v in self.constants.items()
            },
        }
        return {name: dataset_of(arrays, self.coords) for name, arrays in groups.items() if arrays}

    def predictive(
        self, group: str, values: PyTree, shape: tuple[int, ...], *, elsewhere: bool = False
    ) -> dict[str, xr.Dataset]:
        """A group of draws that were predicted at those of the run.

        shape: of the run, chains and draws; raises ValueError where a site has others.
        elsewhere: whether they are for other data, so that the plates of data alone may have other
        sizes, and have other labels."""
        named = _with_numbers(values)
        for name, value in named.items():
            if value.shape[:2] != shape:
                raise ValueError(
                    f"{group}['{name}'] has shape {value.shape}, and the run {shape[0]} chains of "
                    f"{shape[1]} draws: make it by Predictive(model, "
                    "mcmc.get_samples(group_by_chain=True), batch_ndims=2)"
                )
        arrays = self._of_sites(named, resized=elsewhere)
        coords = self.coords
        if elsewhere:
            latent = [s.plates for s in self.recording.sites.values() if s.kind == "latent"]
            shared = {plate for plates in latent for plate, *_ in plates}
            of_data = {p for s in self.recording.sites.values() for p, *_ in s.plates} - shared
            coords = {dim: at for dim, at in coords.items() if dim not in of_data}
        return {group: dataset_of(arrays, coords)}

    def prior(self, values: PyTree, posterior: Iterable[str]) -> dict[str, xr.Dataset]:
        """The groups of draws from the prior, along a leading axis: of latent sites and what is in
        the posterior, and of all others."""
        named = _with_numbers(values)
        sizes = {value.shape[:1] for value in named.values()}
        if len(sizes) != 1 or () in sizes:
            raise ValueError(
                "prior must have its draws along one leading axis, got shapes "
                f"{ {n: v.shape for n, v in named.items()} }: make it by Predictive(model, "
                "num_samples=500)(key, ...)"
            )
        latent = (name for name, site in self.recording.sites.items() if site.kind == "latent")
        inside = {*posterior, *latent}
        groups = {
            "prior": {n: v[None] for n, v in named.items() if n in inside},
            "prior_predictive": {n: v[None] for n, v in named.items() if n not in inside},
        }
        return {g: dataset_of(self._of_sites(v), self.coords) for g, v in groups.items() if v}

    def require_coords(self, datasets: Mapping[str, xr.Dataset]) -> None:
        """Raises ValueError when `coords` names a dimension that none of the groups has."""
        dims = (str(dim) for dataset in datasets.values() for dim in dataset.dims)
        require_known("coords", self.coords, dims)

    def attributes(self, mcmc: MCMC, statistics: Draws) -> Attributes:
        """Of the run as it stands. statistics: of its last draws."""
        attrs = run_attributes(mcmc) | model_attributes(self.recording, self.geometry)
        if "step_size" in statistics:
            attrs["step_size"] = json.dumps(statistics["step_size"][:, -1].tolist())
        return attrs

    def _require_likelihood(self, names: Sequence[str]) -> list[str]:
        """The latent sites, all of which a log likelihood needs."""
        kinds = {name: site.kind for name, site in self.recording.sites.items()}
        if "observed" not in kinds.values():
            raise ValueError(
                "log_likelihood=True needs observed sites, and the model has none (an objective or "
                "a factor is no observation); leave it out"
            )
        latents = [name for name, kind in kinds.items() if kind == "latent"]
        if missing := sorted(set(latents) - set(names)):
            raise ValueError(
                f"log_likelihood=True needs all latent sites, and the run has no draws of "
                f"{missing}: leave out '~z.site' in its extra_fields, or log_likelihood=True here"
            )
        return latents

    def _log_likelihood(self, draws: Draws) -> dict[str, Named]:
        chains, length = next(iter(draws.values())).shape[:2]
        observed = [s.batch_size() for s in self.recording.sites.values() if s.kind == "observed"]
        # One array where JAX computes, and its copy.
        needed = chains * length * sum(observed) * jnp.zeros(()).dtype.itemsize
        if not fits(needed, needed):
            warnings.warn(
                f"the log likelihood of {sum(observed)} observations at {chains * length} draws "
                f"takes {size(2 * needed)}, and {size(available())} of memory are free: keep fewer "
                "draws with thinning=, or stream them with mm.run, which evaluates it chunk by "
                "chunk with export={'log_likelihood': True}",
                stacklevel=4,
            )
        values = jax.device_get(self._likelihood({name: draws[name] for name in self._latents}))
        sites = self.recording.sites
        return {
            name: ((*SAMPLE_DIMS, *sites[name].batch().axis_names(name, v.shape[2:])), v)
            for name, v in values.items()
        }

    def _scale_statistics(self, draws: Draws) -> Draws:
        if not self._scaled:
            return {}
        sources = {name: draws[name] for by in self._scaled.values() for name in by}
        scales = jax.device_get(self._scales(sources))
        return {f"{SCALE_OF}{name}": scale for name, scale in scales.items()}

    def _of_sites(self, values: Draws, resized: bool = False) -> dict[str, Named]:
        named = {}
        for name, value in values.items():
            site, shape = self.recording.sites.get(name, UNKNOWN), np.shape(value)[2:]
            if resized:
                site = site.resized(shape)
            axes = site.axis_names(name, shape, self.dims.get(name))
            named[name] = ((*SAMPLE_DIMS, *axes), value)
        return named

    def _of_duals(self, draws: Draws) -> dict[str, Named]:
        assert self.geometry is not None  # as the start requires
        dual = self.geometry.dual(draws)
        # In a chart of another shape than its values, a site has axes of other names.
        alike = {n for n, y in dual.items() if n in draws and y.shape == draws[n].shape}
        named = self._of_sites({n: y for n, y in dual.items() if n in alike})
        return named | _plain({n: y for n, y in dual.items() if n not in alike})


def statistics_of(mcmc: MCMC) -> Draws:
    """What a run collected beside its draws, under ArviZ's names."""
    collected = flat(jax.device_get(mcmc.get_extra_fields(group_by_chain=True)))
    statistics = {STATISTICS.get(name, name): value for name, value in collected.items()}
    if "lp" in statistics:
        statistics["lp"] = -statistics["lp"]
    return statistics


def flat(tree: PyTree) -> Draws:
    """Leaves by dotted name."""
    names, leaves, _ = flatten_named(tree)
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def _with_numbers(values: PyTree) -> Draws:
    """By dotted name, without the site of an objective, which has none."""
    return {n: v for n, v in flat(jax.device_get(values)).items() if v.size}


def _plain(values: Draws) -> dict[str, Named]:
    """Of no site: the axes after chain and draw have no names."""
    return {
        name: ((*SAMPLE_DIMS, *complete(name, [None] * (np.ndim(v) - 2))), v)
        for name, v in values.items()
    }


def _slack_statistics(slack: Draws) -> dict[str, Named]:
    if not slack:
        return {}
    by_site = np.stack(list(slack.values()), axis=-1)
    named: dict[str, Named] = {"boundary_slack": (SAMPLE_DIMS, by_site.min(axis=-1))}
    if len(slack) > 1:
        named["boundary_slack_by_site"] = ((*SAMPLE_DIMS, BOUNDED_SITE), by_site)
    return named
