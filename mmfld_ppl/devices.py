"""Where JAX computes."""

from __future__ import annotations

from typing import Any

import jax


def default_device() -> Any:
    """What JAX computes on where nothing else is said."""
    settings: Any = jax.config
    chosen = settings.jax_default_device  # A device, or the name of a platform.
    if chosen is None or isinstance(chosen, str):
        return jax.local_devices(backend=chosen)[0]
    return chosen


def on_cpu() -> bool:
    """Whether that is a CPU, and a block had better stay in its caches; on other devices it must be
    large enough to keep them busy."""
    return default_device().platform == "cpu"
