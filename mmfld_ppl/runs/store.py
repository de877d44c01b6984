"""A run on disk: ArviZ's groups in a Zarr store, and the state to go on from.

    run.zarr/.zmetadata              the groups, their shapes, and which state belongs to them
    run.zarr/posterior/x/0.17.0      chunk 17 of a variable
    run.zarr/.mmfld_ppl/000123.npz   the state of the kernel after 123 steps

Chunks and state are written first, and then `.zmetadata` is replaced: that is the commit. Readers
take shapes from there, so that what is not committed is not seen, and is written over later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numcodecs import Blosc
from xarray.conventions import encode_cf_variable

from ..inference_data.groups import from_groups
from .files import write_atomically

#: Of the layout above, and of the digests in the record. Stores of another one are refused.
FORMAT = 4
FOLDER, METADATA = ".mmfld_ppl", ".zmetadata"
GROUP = {"zarr_format": 2}
CODEC = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
#: Kinds of numbers that Zarr has itself.
PLAIN = "biufcU"
#: The attribute with what the store says of itself.
RECORD = "mmfld_ppl_run"
DRAW = "draw"


class Store:
    """A store that is written to. committed: its record, None before the first commit."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = _folder(path)
        self._arrays: dict[str, dict[str, Any]] = {}  # Their metadata, by group/name.
        self._published: dict[str, str] = {}
        self.committed: dict[str, Any] | None = None
        self.read_record()

    def read_record(self) -> None:
        """Reads what is committed. Raises ValueError when it is not of this format."""
        self.committed = _record(self.path)
        if self.committed is not None:
            _, self._arrays = _metadata(self.path)

    def make(self) -> None:
        """Makes the folder, if it is not there, and finds whether it can be written to.

        Raises FileExistsError when something else is there."""
        folder = self.path / FOLDER
        used = self.path.exists() and not folder.exists()
        if used and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"{self.path} exists and is not the store of a run; it was left as it is: pass "
                "another path"
            )
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            with self.lock.open("ab"):
                pass

    def claim(self, resume: bool) -> None:
        """Makes the store this process's, which holds its lock.

        Raises FileExistsError when it has a run that is not to be resumed."""
        self.read_record()  # Another process may have ended since the store was first looked at.
        if self.committed is None:
            with self._explained():
                self._publish(".zgroup", GROUP)
        elif not resume:
            raise FileExistsError(
                f"{self.path} holds a run already, of {self.committed['steps']} steps: pass "
                "resume=True to go on with it, or another path"
            )

    @property
    def lock(self) -> Path:
        return self.path / FOLDER / "lock"

    def state(self) -> bytes:
        """The committed state of the kernel."""
        assert self.committed is not None
        return (self.path / FOLDER / self.committed["state"]).read_bytes()

    def write(self, group: str, dataset: xr.Dataset) -> None:
        """A group as a whole."""
        with self._explained():
            for name, variable in dataset.variables.items():
                self._put(group, str(name), variable, 0, max((1, *variable.shape)))

    def extend(self, group: str, dataset: xr.Dataset, start: int, rows: int) -> None:
        """Draws from `start` on, in place of what may be there; they lie in one chunk of `rows`."""
        with self._explained():
            for name, variable in dataset.variables.items():
                if start == 0 or DRAW in variable.dims:
                    self._put(group, str(name), variable, start, rows)

    def _put(self, group: str, name: str, variable: xr.Variable, start: int, rows: int) -> None:
        variable = plain(name, variable)
        axes = [str(dim) for dim in variable.dims]
        chunks, shape = [max(n, 1) for n in variable.shape], list(variable.shape)
        place, inside = ["0"] * variable.ndim, [slice(n) for n in variable.shape]
        if DRAW in axes:
            axis = axes.index(DRAW)
            at = start % rows
            place[axis], inside[axis] = str(start // rows), slice(at, at + shape[axis])
            chunks[axis], shape[axis] = rows, start + shape[axis]
        array = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": chunks,
            "dtype": variable.dtype.str,
            "compressor": CODEC.get_config(),
            "fill_value": None,
            "filters": None,
            "order": "C",
        }
        folder = self.path / group / name
        file = folder / (".".join(place) or "0")
        block = np.zeros(chunks, variable.dtype)
        if start % rows:  # The chunk has committed draws.
            stored = np.frombuffer(CODEC.decode(file.read_bytes()), variable.dtype)
            block[...] = stored.reshape(chunks)
        block[tuple(inside)] = variable.values
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, bytes(CODEC.encode(block)))
        attributes = {"_ARRAY_DIMENSIONS": axes, **variable.attrs}
        self._arrays[f"{group}/{name}"] = {".zarray": array, ".zattrs": attributes}

    def commit(
        self, steps: int, state: bytes, record: Mapping[str, Any], attrs: Mapping[str, Any]
    ) -> None:
        """Makes all that was written so far, and the state after `steps`, what the store holds.

        attrs: of the whole, and again of the posterior."""
        with self._explained():
            name, states = f"{steps:012d}.npz", self.path / FOLDER
            write_atomically(states / name, state)
            record = {**record, "format": FORMAT, "steps": steps, "state": name}
            files: dict[str, Any] = {".zgroup": GROUP, ".zattrs": dict(attrs)}
            for array, parts in self._arrays.items():
                group = array.split("/")[0]
                files[f"{group}/.zgroup"] = GROUP
                files[f"{group}/.zattrs"] = dict(attrs) if group == "posterior" else {}
                files |= {f"{array}/{kind}": part for kind, part in parts.items()}
            every = files | {".zattrs": {**attrs, RECORD: json.dumps(record)}}
            content = {"zarr_consolidated_format": 1, "metadata": every}
            write_atomically(self.path / METADATA, json.dumps(content).encode())
            for file, part in files.items():
                self._publish(file, part)
            self.committed = record
            for old in states.glob("*.npz"):
                if old.name != name:
                    old.unlink()

    def _publish(self, file: str, part: Mapping[str, Any]) -> None:
        """Metadata for readers that take no notice of `.zmetadata`; and Zarr always reads those of
        the whole."""
        text = json.dumps(part)
        if self._published.get(file) != text:
            write_atomically(self.path / file, text.encode(), durable=False)
            self._published[file] = text

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Says of an error of the file system that nothing committed was lost."""
        try:
            yield
        except OSError as error:
            has = 0 if self.committed is None else self.committed["steps"]
            raise OSError(
                error.errno,
                f"writing to {self.path} failed: {error.strerror or error}. What was committed is "
                f"intact, {has} steps: make room or permit writing, and make the same call with "
                "resume=True; mm.open_run reads what there is",
            ) from error

    def statistics(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """These of the committed draws, as far as they are there."""
        dataset = _groups(self.path).get("sample_stats", xr.Dataset())
        return {name: dataset[name].values for name in names if name in dataset}


def plain(name: str, variable: xr.Variable) -> xr.Variable:
    """The variable in a type that Zarr has. Raises ValueError where there is none."""
    if variable.dtype.kind == "O" and all(isinstance(v, str) for v in variable.values.flat):
        return xr.Variable(variable.dims, np.array(variable.values, str), variable.attrs)
    encoded = variable
    if variable.dtype.kind not in PLAIN:
        encoded = encode_cf_variable(variable)  # Dates, for example.
    if encoded.dtype.kind not in PLAIN:
        raise ValueError(
            f"'{name}' has values of type {variable.dtype} "
            f"({next(map(repr, variable.values.flat), 'none')}, for example), which a store cannot "
            "hold: give numbers, strings or NumPy's dates; in a model, float32 for a narrower type"
        )
    return encoded


def _folder(store: str | os.PathLike) -> Path:
    if not isinstance(store, str | os.PathLike):
        raise TypeError(f"store must be the path of a folder, got {store!r}")
    if not os.fspath(store) or "://" in os.fspath(store):
        raise ValueError(
            f"store must be a folder on this machine, got {os.fspath(store)!r}: copy the folder to "
            "an address after the run"
        )
    return Path(store)


def open_run(store: str | os.PathLike) -> Any:
    """The committed draws of `run`, of one that is under way too, read as they are used.

    Returns what `to_inference_data` returns, and the draws of the warm-up as `warmup_posterior`
    and `warmup_sample_stats` where they were collected. Values stay on the disk until they are
    used: `idata["posterior"]["x"][:, -100:]` reads the chunks of these draws only; `.load()` reads
    a group as a whole.

    Raises FileNotFoundError when there is no store, ValueError when it is not one of `run`, or
    one of another version of it."""
    path = _folder(store)
    require_record(path)
    groups = _groups(path)
    groups.pop("")
    attrs, _ = _metadata(path)
    attrs.pop(RECORD)
    return from_groups({name: groups[name] for name in sorted(groups, key=_order)}, attrs)


def require_record(path: Path) -> dict[str, Any]:
    """The record of a store. Raises as `open_run`."""
    if not path.exists():
        raise FileNotFoundError(f"there is no store at {path}: mm.run(..., store=...) makes one")
    record = _record(path)
    if record is None:
        raise ValueError(f"{path} has no committed draws of mm.run: pass the store of a run")
    return record


def _record(path: Path) -> dict[str, Any] | None:
    if not (path / METADATA).exists():
        return None
    stored = _metadata(path)[0].get(RECORD)
    record = None if stored is None else json.loads(stored)
    if record is None or record["format"] != FORMAT:
        has = "no run" if record is None else f"a run in format {record['format']}"
        raise ValueError(
            f"{path} holds {has}, and this version of mmfld_ppl reads and writes format {FORMAT}; "
            "it was left as it is: use the version that wrote it, or another path"
        )
    return record


def _metadata(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What is committed: attributes of the whole, and the metadata of each array."""
    found = _read(path / METADATA)["metadata"]
    arrays: dict[str, dict[str, Any]] = {}
    for file, part in found.items():
        if file.count("/") == 2:
            array, kind = file.rsplit("/", 1)
            arrays.setdefault(array, {})[kind] = part
    return found.get(".zattrs", {}), arrays


def _groups(path: Path) -> dict[str, xr.Dataset]:
    opened = xr.open_groups(path, engine="zarr", consolidated=True, chunks=None)
    # How the values lie here is of no use to where they may be written next.
    return {name.strip("/"): dataset.drop_encoding() for name, dataset in opened.items()}


def _order(group: str) -> tuple[bool, str]:
    return group.startswith("warmup_"), group


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
