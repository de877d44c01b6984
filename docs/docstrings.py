"""Lays out the package's docstrings for Sphinx.

They are written to be read as text: formulas in ASCII, `code` in single backticks, a displayed
formula as an indented block, "name: meaning" lines, with or without a heading such as "Args:" above
them. To reStructuredText most of that is an error, or mark-up that nobody meant (`|x|`,
`grad phi*`), so it is translated block by block.
"""

from __future__ import annotations

import re
import textwrap
from itertools import groupby
from typing import NamedTuple

from sphinx.application import Sphinx

NAMES = r"`?\w+`?(?:, `?\w+`?)*"
FIELD = re.compile(rf"({NAMES}): +(\S.*)")
NEXT_FIELD = re.compile(rf"(?<=[.;]) +(?!default: )(?=[a-z`_]{NAMES}: )")
# A sentence of its own, also where it follows the last field.
ENDING = re.compile(r"(Raises|Returns) ")
HEADING = re.compile(r"([A-Z]\w+):$")
CODE = re.compile(r"(`+)(.+?)\1")
# Array annotations read as in the source: without their libraries and with their aliases.
LIBRARY = re.compile(r"~?\b(?:jaxlib\._jax|jaxlib|jaxtyping|jax)\.(?=[A-Z])")
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
SPECIAL = re.compile(r"([\\*|]|_(?!\w))")


class NamedTupleField(NamedTuple):
    field: None


def inline(text: str) -> str:
    """Backticks become literals; nothing else is mark-up."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts += [SPECIAL.sub(r"\\\1", text[end : match.start()]), f"\\ ``{match[2]}``\\ "]
        end = match.end()
    return "".join([*parts, SPECIAL.sub(r"\\\1", text[end:])])


def dedent(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n")


def literal(lines: list[str]) -> list[str]:
    return [".. code-block:: text", "", *("    " + line for line in lines)]


def items(lines: list[str], starts: re.Pattern[str]) -> list[list[str]]:
    """Lines gathered into items; a line that starts none goes on with the last one."""
    found: list[list[str]] = []
    for line in lines:
        if starts.match(line):
            found.append([])
        found[-1].append(line.strip())
    return found


def block(lines: list[str]) -> list[str]:
    """One run of lines without a blank one."""
    first = lines[0]
    if first.lstrip().startswith(">>>"):
        return dedent(lines)
    if first.startswith(" "):
        return literal(lines)
    if first.startswith("- "):
        return ["- " + inline(" ".join(item)[2:]) for item in items(lines, re.compile("- "))]
    if (heading := HEADING.match(first)) and lines[1:] and lines[1].startswith(" "):
        return [f"**{heading[1]}**", "", *block(dedent(lines[1:]))]
    if FIELD.match(first):
        found = [NEXT_FIELD.split(" ".join(item)) for item in items(lines, FIELD)]
        fields = [FIELD.match(field) for item in found for field in item]
        return [f"- **{field[1].replace('`', '')}**: {inline(field[2])}" for field in fields]
    flush = [line for line in lines if not line.startswith(" ")]
    if flush == lines[: len(flush)]:
        text = [inline(" ".join(flush))]
        return [*text, "", *literal(lines[len(flush) :])] if len(flush) < len(lines) else text
    return [inline(" ".join(line.strip() for line in lines))]


def translate(lines: list[str]) -> list[str]:
    """A whole docstring, as lines of reStructuredText."""
    result: list[str] = []
    apart = [part for line in lines for part in (["", line] if ENDING.match(line) else [line])]
    for blank, run in groupby(apart, key=lambda line: not line.strip()):
        if not blank:
            result += [*block(list(run)), ""]
    return result


def setup(app: Sphinx) -> dict[str, bool]:
    def docstring(app, what, name, obj, options, lines):
        lines[:] = translate(lines)

    def signature(app, what, name, obj, options, signature, returns):
        parts = (signature, returns)
        return tuple(part and ALIAS.sub(r"\1", LIBRARY.sub("", part)) for part in parts)

    def skip(app, what, name, obj, skip, options):
        if isinstance(obj, type) and obj.__name__.startswith("_") and not name.startswith("_"):
            # A private class under a public name, as NumPyro writes constraints: shown as itself
            # and not as an alias of something that has no page.
            obj.__name__ = name
        # The docstring of a NamedTuple says what its fields are.
        return isinstance(obj, type(NamedTupleField.field)) or None

    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
