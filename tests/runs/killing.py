"""A process that dies, or a disk that fails, at any operation of the file system."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Killed(BaseException):
    """What no code may catch, as a kill."""


class _Watch:
    """left: operations below the folder before the failure; after it, each one fails."""

    folder: str | None = None
    left = 0
    error: BaseException = Killed()
    count = 0
    installed = False

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None or event not in OPERATIONS:
            return
        path = arguments[0]
        if not isinstance(path, (str, os.PathLike)) or not str(path).startswith(self.folder):
            return
        self.count += 1
        self.left -= 1
        if self.left >= 0:
            return
        if event == "os.rename" and self.left == -1:
            # What was being written is half there.
            os.truncate(path, os.path.getsize(path) // 2)
        raise self.error


OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir")
WATCH = _Watch()


@contextmanager
def failing(folder: Path, after: int, error: BaseException | None = None) -> Iterator[_Watch]:
    """Lets every operation below the folder fail, once `after` of them have been done."""
    if not WATCH.installed:
        sys.addaudithook(WATCH)  # For good; it does nothing outside of this context.
        WATCH.installed = True
    WATCH.left, WATCH.count, WATCH.error = after, 0, error or Killed()
    WATCH.folder = str(folder)
    try:
        yield WATCH
    finally:
        WATCH.folder = None
