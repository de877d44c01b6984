"""What is known of constraints by their class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from numpyro.distributions import constraints as nc

T = TypeVar("T")


class ByType(dict[type, T], Generic[T]):
    """Entries by class of constraint; that of the most specific class of a constraint counts."""

    def register(self, name: str, constraint_types: tuple[type, ...]) -> Callable[[Any], Any]:
        """A decorator that enters what it is given under these classes.

        name: of the decorator, for the TypeError that anything but a class of constraints gets."""
        for constraint_type in constraint_types:
            known = isinstance(constraint_type, type) and issubclass(constraint_type, nc.Constraint)
            if not known:
                raise TypeError(
                    f"{name} takes Constraint classes, got {constraint_type!r}; for a singleton "
                    "such as constraints.simplex pass type(constraints.simplex)"
                )

        def decorate(entry: T) -> T:
            self.update(dict.fromkeys(constraint_types, entry))
            return entry

        return decorate

    def of(self, constraint: nc.Constraint) -> T | None:
        """The entry of a constraint, None where there is none."""
        found = (self[ancestor] for ancestor in type(constraint).__mro__ if ancestor in self)
        return next(found, None)


def base_of(constraint: nc.Constraint) -> nc.Constraint:
    """The constraint inside of `independent`."""
    while isinstance(constraint, nc.independent):
        constraint = constraint.base_constraint
    return constraint
