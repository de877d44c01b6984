"""The gallery: what each example says of itself, its figure, its command and how long it takes.

    python docs/gallery.py                  writes docs/gallery.md from the examples' docstrings
    python docs/gallery.py --run            first runs all of them, for their figures and times
    python docs/gallery.py --run ordered_effect "paper xor"

Every figure of the gallery is drawn by the command beside it. Times go to docs/run_times.csv; take
them on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TIMES = DOCS / "run_times.csv"


class Entry(NamedTuple):
    """name: what follows `python -m examples.`, options included. title: of the section. drawn:
    stem of the figure that the example saves. image: where it is kept in docs/images."""

    name: str
    title: str
    drawn: str
    image: str

    @property
    def command(self) -> str:
        return f"python -m examples.{self.name}"

    @property
    def source(self) -> Path:
        """Of `paper NAME`, the module or package NAME somewhere in the package."""
        module, *rest = self.name.split()
        if not rest:
            return ROOT / "examples" / f"{module}.py"
        folder, name = ROOT / "examples" / module, rest[0]
        return next(p for n in (f"{name}.py", f"{name}/__init__.py") for p in folder.rglob(n))


ENTRIES = (
    Entry("digits_barycenter", "Barycenter of digits", "digits_barycenter_3", "digits_barycenter"),
    Entry("consensus_posterior", "Consensus posterior", "consensus_posterior", "consensus"),
    Entry("doctor_visits", "Doctor visits", "doctor_visits", "doctor_visits"),
    Entry("vote_shares", "Votes on the simplex", "vote_shares", "vote_shares"),
    Entry("district_scores", "Scores of districts", "district_scores", "district_scores"),
    Entry(
        "gapminder_trajectories", "Countries through time", "gapminder_trajectories", "trajectories"
    ),
    Entry("ordered_effect", "A posterior beside NUTS", "ordered_effect", "ordered_effect"),
    Entry("metabolic_fluxes", "Fluxes on a polytope", "metabolic_fluxes", "metabolic_fluxes"),
    Entry("paper tomography", "Quantum tomography", "paper_tomography_bell", "tomography"),
    Entry("paper xor", "Neurons in a ball", "paper_network_xor", "two_layer_network"),
    Entry("paper problems", "Tensors, spikes, discrepancies", "paper_problems", "problems"),
    Entry("paper decay", "A theorem, measured", "paper_decay", "theory_decay"),
)

HEAD = """\
# Gallery

<!-- Written by docs/gallery.py: change that, or the examples' docstrings. -->

Each picture was drawn by the command beside it. With `--help` a command says what it takes, most
of them data of your own; `--quick` is a small run.{times}

They need `pip install -e ".[examples]"` in the folder of the checkout, or the environment that
`make demo` makes: then `.venv/bin/python -m examples...`.
"""


def paragraphs(path: Path) -> list[str]:
    """Of a module's docstring, each on one line, options as code."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = re.sub(r"(?<!`)--\w+( [A-Z]+)?", r"`\g<0>`", text)
    return [" ".join(part.split()) for part in text.split("\n\n")]


def folded(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def section(entry: Entry, seconds: float | None) -> str:
    first, *rest = paragraphs(entry.source)
    took = "" if seconds is None else f" Run time: {duration(seconds)}."
    return "\n".join(
        [
            f"## {entry.title}",
            "",
            folded(" ".join([first, *rest[:1]])),
            "",
            f"![{first}](images/{entry.image}.png)",
            "",
            f"    {entry.command}",
            "",
            f"Source: `{entry.source.relative_to(ROOT)}`.{took}",
            "",
            *(f"{folded(part)}\n" for part in rest[1:]),
        ]
    )


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def read_times() -> dict[str, dict[str, str]]:
    if not TIMES.exists():
        return {}
    with TIMES.open(newline="", encoding="utf-8") as file:
        return {row["example"]: row for row in csv.DictReader(file)}


def write_times(rows: dict[str, dict[str, str]]) -> None:
    with TIMES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["example", "seconds", "machine"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[entry.name] for entry in ENTRIES if entry.name in rows)


def page() -> str:
    """The whole of docs/gallery.md."""
    rows = read_times()
    machines = sorted({row["machine"] for row in rows.values()})
    whole = f" Times are of a whole run, compilation included, on {' or '.join(machines)}."
    head = HEAD.format(times=whole if machines else "")
    times = {name: float(row["seconds"]) for name, row in rows.items()}
    return "\n".join([head, *(section(entry, times.get(entry.name)) for entry in ENTRIES)])


def run(entry: Entry) -> float:
    """Runs an example, keeps its figure, and returns the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", *entry.command.split()[2:], "--out", folder]
        begin = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"MPLBACKEND": "Agg"})
        seconds = time.perf_counter() - begin
        shrink(Path(folder) / f"{entry.drawn}.png", DOCS / "images" / f"{entry.image}.png")
    return seconds


def shrink(drawn: Path, kept: Path, width: int = 1100) -> None:
    """No wider than a page, in 256 colours where that makes the file smaller."""
    with Image.open(drawn) as image:
        colours = image.convert("RGB")
        if colours.width > width:
            height = round(colours.height * width / colours.width)
            colours = colours.resize((width, height), Image.Resampling.LANCZOS)
        colours.quantize(256, dither=Image.Dither.NONE).save(kept, optimize=True)
        if colours.size == image.size and drawn.stat().st_size <= kept.stat().st_size:
            shutil.copyfile(drawn, kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = [entry.name for entry in ENTRIES]
    parser.add_argument("--run", nargs="*", metavar="NAME", help=f"run these, or all: {known}")
    chosen = parser.parse_args().run
    if chosen is not None:
        if unknown := sorted(set(chosen) - set(known)):
            raise SystemExit(f"no examples {unknown} in the gallery, only {known}")
        rows = read_times()
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
        for entry in ENTRIES:
            if not chosen or entry.name in chosen:
                seconds = f"{run(entry):.1f}"
                rows[entry.name] = {"example": entry.name, "seconds": seconds, "machine": machine}
                write_times(rows)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
