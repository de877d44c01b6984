"""What a functional is made of."""

from __future__ import annotations

from collections.abc import Iterator

from ..measures import Measure
from .base import Functional, OfTerms, Scaled
from .pushforward import Pushforward


def parts(functional: Functional, *measures: Measure) -> Iterator[tuple[Functional, list[Measure]]]:
    """The functionals that are not made of others, and the measures that each is of: the images of
    those that the whole is of."""
    if isinstance(functional, OfTerms):
        for term in functional.terms:
            yield from parts(term, *measures)
    elif isinstance(functional, Scaled):
        yield from parts(functional.base, *measures)
    elif isinstance(functional, Pushforward):
        yield from parts(functional.functional, *map(functional.image, measures))
    else:
        yield functional, list(measures)
