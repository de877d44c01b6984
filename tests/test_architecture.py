"""Which module may import which, and how long a file may be.

The package is built in layers, and imports run downwards only. A new module at the top of the
package must be given a place in `LAYERS`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "mmfld_ppl"

# From the bottom to the top: a layer may import those before it.
LAYERS = (
    "linalg",
    "trees",
    "naming",
    "constraints",
    "distributions",
    "mirrors",
    "projections",
    "arrays",
    "digests",
    "programs",
    "devices",
    "measures",
    "functionals",
    "dynamics",
    "primitives",
    "latent",
    "state",
    "chain",
    "initialize",
    "kernel",
    "diagnostics",
    "inference_data",
    "runs",
    "plots",
)

# Layers that stand above these and still know nothing of them: diagnostics are functions of
# arrays, plots read exported data.
SAMPLING = (
    "dynamics",
    "primitives",
    "latent",
    "state",
    "chain",
    "initialize",
    "kernel",
    "runs",
)
BLIND = {"diagnostics": SAMPLING, "plots": SAMPLING}

# The parts of the package that may import a library. Libraries that are not listed are free.
HOMES = {
    "numpyro": (
        "constraints",
        "distributions",
        "projections",
        "mirrors.registry",
        "primitives",
        "latent",
        "kernel",
        "diagnostics",
        "inference_data",
        "runs",
    ),
    "ott": ("functionals.transport", "functionals.transport_costs"),
    "arviz": ("inference_data",),
    "matplotlib": ("plots",),
    "mpltern": ("plots",),
    "zarr": ("runs",),
}

# What stands outside the package and uses it; nothing in the package may use these in turn.
USERS = ("models", "examples", "benchmarks", "tests")

MAX_LINES, MEAN_LINES = 400, 250


def imported_names(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Absolute dotted name of everything that the source of `module` imports, wherever it does.

    `from a import b` gives `a.b`, because b may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, parts: tuple[str, ...]) -> bool:
    """Whether the dotted name is one of the parts or inside of one."""
    return any(name == part or name.startswith(part + ".") for part in parts)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """The import rules that the source of `module`, a dotted name in the package, breaks."""
    here = module.removeprefix(PACKAGE).removeprefix(".")
    if not here:
        return []  # the package's own __init__ gathers the public names
    layer = here.split(".")[0]
    if layer not in LAYERS:
        return [f"{module} has no place in LAYERS of {Path(__file__).name}"]
    found = []
    for name in imported_names(source, module, is_package):
        top, _, inside = name.partition(".")
        if top == PACKAGE:
            target = inside.split(".")[0]
            if target not in LAYERS:
                found.append(
                    f"{module} imports {name}, which is in no layer: import a name from the module "
                    "that defines it, and give a new module a place in LAYERS"
                )
            elif LAYERS.index(target) > LAYERS.index(layer):
                found.append(f"{module} imports {name}, which stands above it")
            elif target in BLIND.get(layer, ()):
                found.append(f"{module} imports {name}, of which it should know nothing")
        elif top in HOMES and not within(here, HOMES[top]):
            found.append(f"{module} imports {top}, allowed in {', '.join(HOMES[top])} only")
        elif top in USERS:
            found.append(f"{module} imports {name}, which is a user of the package")
    return found


def package_files() -> list[Path]:
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", package_files(), ids=module_name)
def test_imports_run_downwards(path: Path) -> None:
    is_package = path.name == "__init__.py"
    found = violations(path.read_text(encoding="utf-8"), module_name(path), is_package)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mirrors.simplex", "import numpyro"),
        ("mirrors.simplex", "from numpyro.distributions import constraints"),
        ("mirrors.simplex", "from ..dynamics import step"),
        ("mirrors.simplex", "from .. import dynamics"),
        ("mirrors.simplex", "from mmfld_ppl import MMFLD"),
        ("mirrors.simplex", "import mmfld_ppl"),
        ("dynamics.step", "def f():\n    import numpyro"),
        ("dynamics.step", "from mmfld_ppl.latent import sites"),
        ("functionals.of_mean", "from ott.geometry import pointcloud"),
        ("functionals.transporter", "import ott"),
        ("diagnostics.energy", "from ..kernel import MMFLD"),
        ("diagnostics.energy", "import matplotlib.pyplot as plt"),
        ("plots.particles", "from ..dynamics.state import State"),
        ("plots.particles", "import arviz as az"),
        ("plots.particles", "from numpyro.diagnostics import hpdi"),
        ("kernel", "from .inference_data import to_inference_data"),
        ("kernel", "from models import barycenter"),
        ("unheard_of", "import jax"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(source, f"{PACKAGE}.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source", "is_package"),
    [
        ("", "from .kernel import MMFLD", True),
        ("mirrors", "from .registry import mirror_map", True),
        ("mirrors.registry", "import numpyro\nfrom ..constraints import ball", False),
        ("functionals.transport", "import ott", False),
        ("functionals.base", "from ..measures import Measure\nfrom . import algebra", False),
        ("kernel", "import numpyro\nfrom .dynamics import step\nfrom . import latent", False),
        ("plots.particles", "from matplotlib import pyplot\nimport xarray", False),
    ],
)
def test_an_allowed_import_passes(module: str, source: str, is_package: bool) -> None:
    assert not violations(source, f"{PACKAGE}.{module}".rstrip("."), is_package)


def test_files_are_short() -> None:
    paths = [p for folder in (PACKAGE, *USERS) for p in (ROOT / folder).rglob("*.py")]
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in paths}
    long = [f"{p.relative_to(ROOT)}: {n}" for p, n in lines.items() if n > MAX_LINES]
    assert not long, f"more than {MAX_LINES} lines: " + ", ".join(long)
    assert mean(lines.values()) < MEAN_LINES
