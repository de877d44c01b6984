"""Draws the figures that the README and the documentation show.

python docs/figures.py [readme] [pictures]      default: both

Those of the examples are drawn by docs/gallery.py.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from numpyro.infer import MCMC, init_to_sample  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))

import mmfld_ppl as mm  # noqa: E402

#: Where a page names the call of a figure, and the figure.
CALL = re.compile(
    r"^`(?P<call>mm\.plots\.[^`]*)`\n\n!\[.*\]\(images/pictures/(?P<name>[\w.]+)\)", re.M
)


def readme() -> None:
    """The picture of the README's model, drawn by its own code."""
    block = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert block, "the README has no block of Python"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it saves its figure
        exec(compile(block.group(1), "README.md", "exec"), {})
    plt.gcf().set_size_inches(5, 4)
    plt.gcf().savefig(IMAGES / "simplex.png", dpi=110, bbox_inches="tight")
    plt.close("all")


def pictures() -> None:
    """The figures of docs/pictures.md, by the calls that stand on that page."""
    folder = IMAGES / "pictures"
    folder.mkdir(exist_ok=True)
    page = (ROOT / "docs" / "pictures.md").read_text()
    calls = list(CALL.finditer(page))
    lost = {*re.findall(r"images/pictures/([\w.]+)", page)} - {found["name"] for found in calls}
    assert not lost, f"no call stands alone above {sorted(lost)}"
    names = {"mm": mm, **runs()}
    plt.rcParams.update({"figure.figsize": (4.2, 2.9), "font.size": 9})
    for found in calls:
        drawn = eval(found["call"], names)
        if found["name"].endswith(".gif"):
            drawn.save(folder / found["name"], writer="pillow", dpi=60)
        else:
            plt.gcf().savefig(folder / found["name"], dpi=90, bbox_inches="tight")
            # A quarter of the bytes, and the same to the eye.
            with Image.open(folder / found["name"]) as image:
                few = image.convert("RGB").quantize(128)
            few.save(folder / found["name"], optimize=True)
        plt.close("all")


def runs() -> dict[str, Any]:
    """A small run for each kind of picture."""
    idata = mm.to_inference_data(finished(matching), diagnostics=True)
    return {
        "idata": idata,
        "start": mm.to_inference_data(warming(matching)),
        "shapes": mm.to_inference_data(finished(shapes)),
        **clouds(),
        **population(),
        **mixed(),
    }


def matching() -> None:
    q = jnp.array([0.7, 0.2, 0.1])
    with mm.particles("atom", 200):
        x = numpyro.sample("x", dist.Dirichlet(jnp.ones(3)))
    F = mm.functionals.OfMean(outer=lambda mean: jnp.sum((mean - q) ** 2))
    mm.objective("F", F, x, temperature=0.05)


def shapes() -> None:
    """Particles in the disk, on the half-line, and among positive definite matrices."""
    with mm.particles("atom", 150):
        z = numpyro.sample("z", mm.distributions.UniformBall(2))
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        cov = numpyro.sample("cov", dist.Wishart(6.0, jnp.eye(2) / 6))

    def outer(mean: dict) -> Any:
        off_diagonal = mean["cov"][0, 1] - 0.5
        return jnp.sum((mean["z"] - jnp.array([0.8, 0.3])) ** 2) + off_diagonal**2

    F = mm.functionals.OfMean(outer=outer)
    mm.objective("F", F, {"z": z, "rate": rate, "cov": cov}, temperature=0.1)


def finished(model: Any, *args: Any, init: Any = None, samples: int = 300, **kwargs: Any) -> MCMC:
    kernel = mm.MMFLD(model) if init is None else mm.MMFLD(model, init_strategy=init)
    mcmc = replicates(kernel, samples)
    mcmc.run(jax.random.key(0), *args, **kwargs)
    return mcmc


def warming(model: Any) -> MCMC:
    """From one point, in short steps."""
    kernel = mm.MMFLD(model, step_size=0.01, adapt_step_size=False)
    mcmc = replicates(kernel, 1)
    corner = {"x": jnp.tile(jnp.array([0.05, 0.05, 0.9]), (4, 200, 1))}
    mcmc.warmup(jax.random.key(0), collect_warmup=True, init_params=corner)
    return mcmc


def replicates(kernel: Any, samples: int) -> MCMC:
    return MCMC(
        kernel,
        num_warmup=300,
        num_samples=samples,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )


def clouds() -> dict[str, Any]:
    """The barycenter of two bent clouds."""
    from models.barycenter import barycenter, init_to_targets

    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, 80)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.35
    both = [0.5 + arc + 0.02 * rng.normal(size=arc.shape), 0.5 - arc]
    inputs = [mm.Measure.uniform(jnp.asarray(points, jnp.float32)) for points in both]
    setting = {"particles": 100, "epsilon": 0.01, "temperature": 0.002}
    mcmc = finished(barycenter, inputs, init=init_to_targets(inputs), samples=200, **setting)
    return {"mean": mm.to_inference_data(mcmc), "inputs": inputs}


def population() -> dict[str, Any]:
    """Paths of a population that splits in two."""
    from examples.gapminder_trajectories import fit
    from models.bifurcation import TIMES, simulate
    from models.trajectory_result import with_trajectories

    rng = np.random.default_rng(0)
    times = TIMES[:7:2]
    seen = [simulate(rng, 60, s)[:, :2] for s in times]
    setting = {"cells": 60, "diffusivity": 0.25, "bandwidth": 0.1, "regularization": 0.1}
    mcmc, path = fit(seen, times, setting=setting, chains=2, warmup=150, samples=50)
    names = ["position", "height"]
    return {"paths": with_trajectories(mm.to_inference_data(mcmc), path, coordinates=names)}


def mixed() -> dict[str, Any]:
    """A mixture of normal laws."""
    from models.mixture import mixture
    from models.mixture_result import mixture_result

    rng = np.random.default_rng(0)
    data = rng.choice([-2.0, 1.0, 3.0], 150, p=[0.5, 0.3, 0.2]) + rng.normal(size=150)
    model = {"data": data, "kernel": lambda theta: dist.Normal(theta, 1.0)}
    model |= {"base": dist.Normal(0.0, 4.0)}
    mcmc = finished(mixture, init=init_to_sample, **model, particles=100, temperature=1e-3)
    grid = jnp.linspace(-6, 7, 131)
    idata = mixture_result(mm.to_inference_data(mcmc), **model, grid=grid, theta_grid=grid)
    return {"mixture": idata, "data": data}


if __name__ == "__main__":
    known = {"readme": readme, "pictures": pictures}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which of {list(known)}; default: all")
    for name in parser.parse_args().names or known:
        known[name]()
