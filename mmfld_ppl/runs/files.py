"""Files that are old or new, but never half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Replaces a file; a kill leaves the old one or the new one, a power cut too if durable."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(partial, path)
    if not durable:
        return
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders.
        return
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process, however that ends.

    Raises RuntimeError when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks.
        yield
        return
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"another process is writing to the run in {path.parent.parent}: wait for it, or "
                "end it"
            ) from None
        yield
