"""The README and the documentation hold: their programs run, their pictures are those that the
programs draw, their lists are complete, their links lead somewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpyro.distributions import constraints
from PIL import Image

import mmfld_ppl as mm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def blocks(page: Path) -> list[str]:
    """The programs of a page, after blank lines, so that tracebacks name the line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, m.start(1)) + m[1] for m in BLOCK.finditer(text)]


#: Pages of several runs each, or long ones; `.ci/run` has them with the slow tests.
LONG = (
    "barycenters",
    "coming_from",
    "density",
    "extending_functional",
    "extending_map",
    "extending_projection",
    "mean_field",
    "trajectories",
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module to run in, as a program's own names are in one."""
    module = ModuleType("documentation")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield module
    plt.close("all")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.stem in LONG else [])
        for page in PAGES
        if blocks(page)
    ],
)
def test_blocks_run(page: Path, program: ModuleType, tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(blocks(page)):
        exec(compile(block, str(page), "exec", dont_inherit=True), vars(program))
        if page == README and number == 0:
            assert_same_picture(drawn(tmp_path), DOCS / "images" / "simplex.png")


def drawn(folder: Path) -> Path:
    """The open figure, in the README's size."""
    plt.gcf().set_size_inches(5, 4)
    plt.gcf().savefig(folder / "figure.png", dpi=110, bbox_inches="tight")
    return folder / "figure.png"


def assert_same_picture(new: Path, stored: Path, tolerance: float = 0.03) -> None:
    """Draws and fonts differ a little from one machine to another, pictures of something else
    by more."""
    assert np.mean(np.abs(coarse(new) - coarse(stored))) < tolerance


def coarse(path: Path, size: int = 32) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BOX)) / 255


def test_another_picture_is_told_apart():
    images = [
        DOCS / "images" / f"{name}.png" for name in ("simplex", "trajectories", "vote_shares")
    ]
    for other in images[1:]:
        with pytest.raises(AssertionError):
            assert_same_picture(other, images[0])


def test_the_readme_has_blocks():
    assert blocks(README)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path):
    text = page.read_text(encoding="utf-8")
    generated = DOCS / "generated"  # by Sphinx
    for target in LINK.findall(text) + IMAGE.findall(text):
        path = (page.parent / target).resolve()
        assert path.exists() or generated in path.parents, f"{page.name}: no {target}"


def test_every_picture_is_shown_and_small():
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in IMAGE.findall(page.read_text(encoding="utf-8"))
    }
    for path in (DOCS / "images").rglob("*.png"):
        assert path in shown, f"{path.name} is on no page"
        assert path.stat().st_size < 120_000, f"{path.name}: docs/gallery.py has `shrink`"


def test_every_support_with_a_map_is_on_its_page():
    text = (DOCS / "supports.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:mm\.constraints\.)?(\w+)`", text))
    for kind in mm.mirrors.registered():
        if kind.__module__.startswith(("numpyro.", "mmfld_ppl.")):  # not those of other tests
            public = {
                name
                for module in (constraints, mm.constraints)
                for name, value in vars(module).items()
                if value is kind or type(value) is kind
            }
            assert public & named, f"docs/supports.md does not name {kind.__name__}"


def test_every_page_is_in_the_index():
    listed = re.findall(r"^(\w+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert sorted(listed) == sorted(pages)
