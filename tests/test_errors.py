"""docs/errors.md has an entry for every exception and warning that the library raises, and none
for those that it does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"(`+) ?(.+?) ?\1")


def words(node: ast.expr) -> str:
    """The text of a message, `{name}` for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(words, node.values))
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp):
        return words(node.left) + words(node.right)
    return "{}"


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of what a source raises or warns of; not what it passes on."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = node.exc.args
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            arguments = node.args[:1]
        else:
            continue
        text = " ".join(map(words, arguments))
        if len(re.findall(r"\w+", re.sub(r"\{.*?\}", "", text))) > 1:
            yield node.lineno, text


def sources() -> dict[Path, str]:
    folders = (ROOT / "mmfld_ppl", ROOT / "models")
    return {p: p.read_text("utf-8") for folder in folders for p in sorted(folder.rglob("*.py"))}


def entries() -> list[str]:
    """The words in the first column of the page's tables."""
    rows = (ROOT / "docs" / "errors.md").read_text("utf-8").splitlines()
    cells = [row.split(" | ")[0] for row in rows if row.startswith("| `")]
    return [code for cell in cells for _, code in CODE.findall(cell)]


def test_every_message_has_an_entry():
    known = entries()
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path, source in sources().items()
        for line, text in messages(source)
        if not any(entry in text for entry in known)
    ]
    assert not missing, "not in docs/errors.md:\n" + "\n".join(missing)


def test_every_entry_is_of_a_message():
    strings = "\n".join(
        words(node)
        for source in sources().values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant | ast.JoinedStr)
    )
    stale = [entry for entry in entries() if entry not in strings]
    assert not stale, f"docs/errors.md has entries that no message contains: {stale}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise ValueError(f'size {n} is ' 'too small')", ["size {n} is too small"]),
        ("warnings.warn('look out here', stacklevel=2)", ["look out here"]),
        ("raise ValueError(f'{name}: {error}')", []),
        ("raise", []),
    ],
)
def test_messages_are_found(source, found):
    assert [text for _, text in messages(source)] == found
