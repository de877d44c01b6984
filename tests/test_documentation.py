"""Every block of Python in the README and the documentation runs, in the order of its page."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


def cases():
    """The README's programs are of full size, those of the documentation are small."""
    for page in PAGES:
        if blocks(page):
            marks = [pytest.mark.optimised] if page.name == "README.md" else []
            yield pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", list(cases()))
def test_blocks_run(page: Path):
    names: dict = {"__name__": "documentation"}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)
    plt.close("all")


def test_the_readme_has_blocks():
    assert blocks(PAGES[0])
