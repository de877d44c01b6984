"""The values of a model's sites, as MCMC collects them."""

from __future__ import annotations

import jax
from jaxtyping import Array


@jax.tree_util.register_pytree_with_keys_class
class Sites(dict):
    """Values of the latent sites; `deterministics` travel with them but are not among the keys."""

    def __init__(self, values: dict[str, Array], deterministics: dict[str, Array]) -> None:
        super().__init__(values)
        self.deterministics = deterministics

    def merged(self) -> dict[str, Array]:
        """Latent and deterministic sites together."""
        return {**self, **self.deterministics}

    def tree_flatten_with_keys(self):
        key = jax.tree_util.DictKey
        return ((key("values"), dict(self)), (key("deterministics"), self.deterministics)), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)
