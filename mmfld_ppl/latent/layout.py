"""What is known about a model's latent sites before a run: shapes, axes, charts, blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from numpyro.distributions import constraints as nc

from ..constraints.by_type import base_of
from ..mirrors import MirrorMap, Product
from .charts import Chart

#: NumPyro's class, which it does not export.
MULTINOMIAL = type(nc.multinomial(1))


@dataclasses.dataclass(frozen=True)
class Site:
    """One latent site.

    shape: of the coordinate, without the particle axis. value_shape, dtype: of the value, particle
    axis included. particle_axis: the particles' axis in the value, counted from the right; None
    for a global site. support, geometry: for reports. has_symmetric_step: whether its map has."""

    name: str
    shape: tuple[int, ...]
    value_shape: tuple[int, ...]
    dtype: str
    particle_axis: int | None
    chart: Chart
    support: str
    geometry: str
    has_symmetric_step: bool

    @property
    def support_in_short(self) -> str:
        """The support, in sixty letters at the most."""
        return shortened(self.support)

    @property
    def coordinate_axis(self) -> int | None:
        """The particles' axis in the coordinate where it has its plates in front as the value has
        them, counted from the right; its event may have fewer axes than that of the value."""
        if self.particle_axis is None:
            return None
        return self.particle_axis + len(self.value_shape) - (1 + len(self.shape))


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is static about a model's latent variables.

    particles: the name of the particle plate, None for an ordinary model. objective: name of the
    objective's site. stochastic: why evaluations differ from key to key, None when they do not.
    """

    sites: tuple[Site, ...]
    particles: str | None
    objective: str | None
    stochastic: str | None

    def block(self, particles: bool) -> tuple[Site, ...]:
        """The particle sites, or the global ones."""
        return tuple(s for s in self.sites if (s.particle_axis is not None) == particles)

    def site(self, name: str) -> Site:
        """The site of this name."""
        return next(s for s in self.sites if s.name == name)

    def describe(self) -> str:
        """A table: site, event shape, support, how it moves, block."""
        rows = [("site", "shape", "support", "moves in", "block")]
        for s in self.sites:
            block = "global" if s.particle_axis is None else f"particles '{self.particles}'"
            rows.append((s.name, str(s.shape), s.support_in_short, s.geometry, block))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def product_of(layout: Layout, maps: Mapping[str, MirrorMap], particles: bool) -> Product:
    """The map of one block: of one particle, or of all global sites."""
    return Product({s.name: maps[s.name] for s in layout.block(particles)})


def in_words(support: nc.Constraint) -> str:
    """A constraint in one line."""
    base = base_of(support)
    text = " ".join(repr(base).split())
    if isinstance(base, MULTINOMIAL):  # Which does not say the total.
        text = f"{text[:-1]}upper_bound={base.upper_bound})"
    # NumPyro's repr has the name of a class that it does not export.
    if event := support.event_dim - base.event_dim:
        text = f"independent({text}, {event})"
    return text


def shortened(words: str) -> str:
    """In sixty letters at the most."""
    return words if len(words) <= 60 else words[:57] + "..."
