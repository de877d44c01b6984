"""Every example is a tool: it says what it takes, and the gallery shows it."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import numpyro
import numpyro.distributions as dist
import pytest

import mmfld_ppl as mm
from examples import command
from examples.paper.__main__ import EXPERIMENTS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def gallery():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("gallery")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def commands() -> list[Path]:
    """Examples that are run as `python -m examples.NAME`."""
    return [p for p in sorted(EXAMPLES.glob("*.py")) if '__name__ == "__main__"' in p.read_text()]


@pytest.mark.parametrize("path", commands(), ids=lambda path: path.stem)
def test_help_says_what_an_example_takes(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"examples.{path.stem}").main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert f"usage: python -m examples.{path.stem}" in said
    for option in ("--data", "--seed", "--out", "--quick"):
        assert option in said
    # A default, or a word on what happens without the option.
    assert "default: " in said


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_says_what_an_experiment_takes(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paper", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("examples.paper.__main__").main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert f"usage: python -m examples.paper {name}" in said
    assert "--quick" in said


def test_a_model_may_have_an_argument_called_kernel(capsys):
    def model(kernel, arguments):
        numpyro.sample("x", dist.Normal(kernel, arguments))

    parser = command.parser("name", "What it does.")
    command.add_run_options(parser, warmup=2, samples=4, thinning=2, chains=2)
    mcmc = command.replicates(mm.MMFLD(model), parser.parse_args([]), kernel=1.0, arguments=2.0)
    assert mcmc.get_samples(group_by_chain=True)["x"].shape == (2, 2)
    assert "2 chains in" in capsys.readouterr().out


@pytest.mark.parametrize("path", commands(), ids=lambda path: path.stem)
def test_the_docstring_serves_the_gallery(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    first, _, rest = text.partition("\n\n")
    assert "\n" not in first and first.endswith(".")
    assert re.search(r"saves\s+the\s+run", rest), "say what is saved"
    assert "--data FILE" in rest, "say what a file of one's own holds"


def test_every_example_is_in_the_gallery(gallery):
    shown = {entry.source for entry in gallery.ENTRIES}
    missing = [path.name for path in commands() if path not in shown]
    assert not missing, f"add these to ENTRIES of docs/gallery.py: {missing}"


def test_the_gallery_is_up_to_date(gallery):
    written = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert written == gallery.page(), "run: python docs/gallery.py"


def test_pictures_of_the_gallery_are_there(gallery):
    for entry in gallery.ENTRIES:
        assert entry.source.exists()
        path = ROOT / "docs" / "images" / f"{entry.image}.png"
        assert path.exists(), f"run: python docs/gallery.py --run '{entry.name}'"
