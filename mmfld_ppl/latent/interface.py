"""What the dynamics and the diagnostics ask of a model, or of a potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .layout import Layout
from .problem import Coordinates, Evaluation


class LatentProblem(Protocol):
    """A density, and perhaps a functional of particles, as functions of coordinates."""

    layout: Layout

    def initial_values(
        self, key: PRNGKeyArray, init_strategy: Callable, given: dict[str, Array]
    ) -> dict[str, Array]:
        """Constrained values of every latent site: as given, and by the strategy elsewhere."""
        ...

    def coordinates(self, values: Mapping[str, Array], key: PRNGKeyArray) -> Coordinates:
        """The coordinates of constrained values, particle axes in front."""
        ...

    def evaluate(self, coordinates: Coordinates, key: PRNGKeyArray) -> tuple[Evaluation, Any]:
        """Densities and values at these coordinates, and the `Objective` that is stated there, None
        without one; `key` draws subsamples."""
        ...

    def global_potential(
        self, particles: Coordinates, carry: PyTree, temperature_scale: Float[Array, ""] | float
    ) -> Callable[[Coordinates, PRNGKeyArray], tuple[Float[Array, ""], Evaluation]]:
        """-log joint density of the global sites, the particles being held."""
        ...

    def report(self, evaluation: Evaluation) -> PyTree:
        """What a draw holds."""
        ...

    def complaints(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """What is not finite at concrete coordinates, in words."""
        ...

    def steep(self, coordinates: Coordinates, key: PRNGKeyArray) -> list[str]:
        """What has a gradient that is not finite at concrete coordinates, in words."""
        ...
