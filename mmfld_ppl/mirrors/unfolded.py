"""Products whose linear images are seen through the events of their base maps."""

from __future__ import annotations

import dataclasses

import equinox as eqx

from .base import Event, MirrorMap
from .linear import LinearImage
from .product import Independent, Product, over_axes


class Unfolded(LinearImage):
    """{site: x} as the image of {site: u}, with x = c + L u where a site has a map of that kind,
    as an ordered vector is one of its first entry and its gaps, and u = x where it has not.

    base: of the events u, with parts by site. images: by site; their own base maps are not used."""

    base: Product
    images: dict[str, LinearImage]

    @classmethod
    def of(cls, product: Product) -> Unfolded:
        """The same map."""
        found = {name: _as_image(part) for name, part in product.parts.items()}
        images = {name: image for name, image in found.items() if image is not None}
        below = {name: image.base for name, image in images.items()}
        return cls(Product(product.parts | below), images)

    @property
    def parts(self) -> dict[str, MirrorMap]:
        """The maps of the sites, as they are now."""
        own = self.base.parts
        folded = {n: dataclasses.replace(image, base=own[n]) for n, image in self.images.items()}
        return own | folded

    def forward(self, u: Event) -> Event:
        return u | {name: image.forward(u[name]) for name, image in self.images.items()}

    def inverse(self, x: Event) -> Event:
        return x | {name: image.inverse(x[name]) for name, image in self.images.items()}


class _IndependentImage(LinearImage):
    """Images over batch axes. each: one an element, whose base is not used."""

    base: MirrorMap
    each: LinearImage
    shape: tuple[int, ...] = eqx.field(static=True)

    def forward(self, u: Event) -> Event:
        return over_axes(lambda image, u: image.forward(u), self.shape)(self.each, u)

    def inverse(self, x: Event) -> Event:
        return over_axes(lambda image, x: image.inverse(x), self.shape)(self.each, x)


def _as_image(map: MirrorMap) -> LinearImage | None:
    if isinstance(map, LinearImage):
        return map
    if isinstance(map, Independent) and isinstance(map.base, LinearImage):
        return _IndependentImage(Independent(map.base.base, map.shape), map.base, map.shape)
    return None
