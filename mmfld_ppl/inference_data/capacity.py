"""How much memory there is where JAX computes, and bytes in words."""

from __future__ import annotations

import math
import os

from ..devices import default_device


def available() -> float:
    """Memory that can be had: of the device where it has its own, else of the machine without
    swapping; infinite where neither tells."""
    own = _of_device()
    return _of_machine() if own is None else own


def fits(there: float, copied: float = 0.0) -> bool:
    """Whether so much fits where JAX computes, beside a copy of so much on the machine."""
    if _of_device() is None:
        return there + copied <= available()
    return there <= available() and copied <= _of_machine()


def _of_device() -> float | None:
    """None where the device has no memory of its own."""
    own = default_device().memory_stats()
    return own["bytes_limit"] - own["bytes_in_use"] if own and "bytes_limit" in own else None


def _of_machine() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
