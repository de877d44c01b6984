"""Data of one's own, as every example takes it: columns, one row an observation.

A .csv file has a header. An .npz file has one array a column. A .nc file (NetCDF) has one variable
a column, all along one dimension.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import xarray as xr

#: What --help says of a file.
KINDS = "a .csv, .npz or .nc file"


def read_table(path: pathlib.Path, *needed: str, all_numbers: bool = True) -> pd.DataFrame:
    """The columns of a file. Ends the program with a word to the user where it cannot be read,
    lacks a needed column, or has entries that are not finite; or not numbers, unless
    `all_numbers` is False."""
    if not path.is_file():
        raise SystemExit(f"there is no file {path}")
    if path.suffix == ".npz":
        with np.load(path) as stored:
            columns = {name: stored[name] for name in stored.files}
    elif path.suffix == ".nc":
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            columns = {str(name): stored[name].values for name in stored.data_vars}
    elif path.suffix == ".csv":
        columns = dict(pd.read_csv(path).items())
    else:
        raise SystemExit(f"{path} must be {KINDS}")
    shapes = {name: np.shape(column) for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        raise SystemExit(f"{path}: columns must be of one length each, got shapes {shapes}")
    table = pd.DataFrame(columns)
    if missing := [name for name in needed if name not in table]:
        raise SystemExit(f"{path} has no columns {missing}, only {list(table)}")
    numbers = table.select_dtypes("number")
    if all_numbers and (others := sorted(set(table) - set(numbers))):
        raise SystemExit(f"{path}: columns {others} must hold numbers")
    if not np.isfinite(numbers.to_numpy(float)).all():
        raise SystemExit(f"{path} has gaps, or numbers that are not finite: leave those rows out")
    return table
