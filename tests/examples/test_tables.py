"""Files of one's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from examples.tables import read_table

TABLE = pd.DataFrame({"time": [0.0, 1.0, 1.0], "x1": [0.5, 2.0, 3.0], "name": ["a", "b", "b"]})


def stored(folder, kind: str, table: pd.DataFrame = TABLE):
    path = folder / f"data.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "npz":
        np.savez(
            path, **{name: table[name].to_numpy(str if name == "name" else None) for name in table}
        )
    else:
        table.to_xarray().drop_vars("index").to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("kind", ["csv", "npz", "nc"])
def test_kinds_of_files_hold_the_same(tmp_path, kind):
    table = read_table(stored(tmp_path, kind), "time", all_numbers=False)
    assert {name: table[name].tolist() for name in table} == TABLE.to_dict("list")


@pytest.mark.parametrize(
    ("table", "needed", "words"),
    [
        (TABLE, ("time", "x2"), "no columns ['x2']"),
        (TABLE, ("time",), "['name'] must hold numbers"),
        (TABLE[["time"]].assign(x1=[1.0, np.nan, 2.0]), ("time",), "not finite"),
    ],
)
def test_a_file_that_does_not_do_is_explained(tmp_path, table, needed, words):
    with pytest.raises(SystemExit) as caught:
        read_table(stored(tmp_path, "csv", table), *needed)
    assert words in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="no file"):
        read_table(tmp_path / "nothing.csv")
    (tmp_path / "data.xlsx").touch()
    with pytest.raises(SystemExit, match="must be a .csv, .npz or .nc file"):
        read_table(tmp_path / "data.xlsx")
    np.savez(tmp_path / "data.npz", time=np.zeros(3), cells=np.zeros((3, 2)))
    with pytest.raises(SystemExit, match="one length"):
        read_table(tmp_path / "data.npz")
