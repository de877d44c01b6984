"""The public names are those of tests/public_names.txt, and docs/api.md documents their modules.

`python tests/test_public_names.py` writes the list anew, after a change on purpose."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("public_names.txt")


def documented() -> list[str]:
    """The modules that docs/api.md lists."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    return re.findall(r"^   (mmfld_ppl[\w.]+)$", text, re.MULTILINE)


def own_names(module: ModuleType) -> list[str]:
    """`__all__`; without it, what the module defines itself under a name without underscore."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def public_names() -> str:
    package = importlib.import_module("mmfld_ppl")
    lines = [f"version {package.__version__}"]
    for name in ("mmfld_ppl", *sorted(documented())):
        lines += ["", f"{name}:", *(f"  {n}" for n in own_names(importlib.import_module(name)))]
    return "\n".join(lines) + "\n"


def test_public_names_are_those_of_the_list():
    assert public_names() == LIST.read_text(encoding="utf-8"), (
        "public names have changed; if on purpose, run: python tests/test_public_names.py, and "
        "say so in CHANGELOG.md"
    )


def test_every_public_module_is_documented():
    package = importlib.import_module("mmfld_ppl")
    modules = {
        value.__name__
        for name in package.__all__
        if isinstance(value := getattr(package, name), ModuleType)
    }
    assert modules <= set(documented())


def test_every_public_name_is_documented():
    """What the package gathers is defined, or gathered too, in a module of docs/api.md."""
    package = importlib.import_module("mmfld_ppl")
    known = {n for name in documented() for n in own_names(importlib.import_module(name))}
    others = {
        name for name in package.__all__ if not isinstance(getattr(package, name), ModuleType)
    }
    assert others <= known


def test_the_citation_is_of_this_version():
    package = importlib.import_module("mmfld_ppl")
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {package.__version__}\n" in text


if __name__ == "__main__":
    LIST.write_text(public_names(), encoding="utf-8")
