"""Draws the figures that the README and the documentation show: `python docs/figures.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def readme() -> None:
    """The picture of the README's model, drawn by its own code."""
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert block, "the README has no block of Python"
    exec(compile(block.group(1), "README.md", "exec"), {})
    plt.gcf().set_size_inches(5, 4)
    plt.gcf().savefig(IMAGES / "simplex.png", dpi=110, bbox_inches="tight")
    plt.close("all")


def digits() -> None:
    """The figure of the demo."""
    command = [sys.executable, "-m", "examples.digits_barycenter", "--out", str(ROOT / "outputs")]
    subprocess.run(command, cwd=ROOT, check=True)
    figure = plt.imread(ROOT / "outputs" / "digits_barycenter_3.png")
    plt.imsave(IMAGES / "digits_barycenter.png", figure)


if __name__ == "__main__":
    readme()
    digits()
