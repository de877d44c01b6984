"""Assumptions 5 and 7: constants of all maps, and of objectives beside them.

Assumption 7, as we read it: |D^3 phi[u,u,u]| <= 2 c_1 (D^2 phi[u,u])^(3/2), and D^2 phi[u,u] >= c_2
|u|^2. Assumption 5: the first variation is Lipschitz and smooth relative to phi: |grad dF/dmu| in
the norm of (hess phi)^-1, and the Hessian of dF/dmu against hess phi, are bounded. Points approach
the boundary, or infinity, in random directions; a constant that keeps growing is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from mmfld_ppl.mirrors.constants import map_constants, relative_constants
from mmfld_ppl.plots.style import COLOURS, bare

from ... import command
from .objectives import network_variation, pairs
from .simulate import table
from .supports import all_maps, towards_boundary

#: Slack as a share of what it is in the middle.
DISTANCES = 10.0 ** -np.arange(0, 7)
SHOWN = (1, 3, 6)
#: A constant that grows by more than this over the last three decades has no bound.
GROWTH = 1.5
#: Maps in the figure.
DRAWN = ("Simplex", "Spectraplex", "EntropyOrthant", "EntropySimplex", "VonNeumannSpectraplex")
MARKERS = "osd^v"
#: Barriers are drawn solid, entropies dashed; where lines coincide, markers of two sizes.
LINES = {"log barrier": {"ls": "-", "ms": 8, "mfc": "none"}, "entropy": {"ls": "--", "ms": 4}}


def of_maps(quick: bool, directions: int) -> xr.Dataset:
    """Greatest concordance and least convexity seen, by distance."""
    rows, stated, names = [], [], []
    for name, (mirror, middle) in all_maps().items():
        if quick and name not in ("Simplex", "EntropyOrthant"):
            continue

        def found(m, x):
            points = towards_boundary(m, x, DISTANCES, directions, 0)
            at = jax.vmap(jax.vmap(lambda p: map_constants(m, p, jax.random.key(1))))(points)
            return jnp.max(at.concordance, axis=1), jnp.min(at.convexity, axis=1)

        rows.append(np.array(jax.jit(found)(mirror, middle)))
        stated.append(float(jnp.asarray(mirror.self_concordance)))
        names.append(name)
    values = np.stack(rows)
    return xr.Dataset(
        {
            "concordance": (("map", "distance"), values[:, 0]),
            # Over all points that are at least as far from the boundary.
            "convexity": (("map", "distance"), np.minimum.accumulate(values[:, 1], axis=1)),
            "stated": ("map", stated),
        },
        coords={"map": names, "distance": DISTANCES},
    )


def of_pairs(quick: bool, directions: int) -> xr.Dataset:
    """Greatest relative slope and curvature seen, by distance."""
    rows, names = [], []
    for pair in pairs()[: 2 if quick else None]:

        def found(x, pair=pair):
            points = towards_boundary(pair.mirror, x, DISTANCES, directions, 0)

            def at(potential):
                def one(p):
                    return relative_constants(pair.mirror, potential, p)

                return jax.tree.map(lambda v: jnp.max(v, axis=1), jax.vmap(jax.vmap(one))(points))

            each = [at(potential) for potential in pair.potentials]
            return jax.tree.map(lambda *v: jnp.max(jnp.stack(v), axis=0), *each)

        rows.append(np.array(jax.jit(found)(pair.middle)))
        names.append((pair.objective, pair.map))
    values = np.maximum.accumulate(np.stack(rows), axis=2)
    return xr.Dataset(
        {
            "slope": (("pair", "distance"), values[:, 0]),
            "curvature": (("pair", "distance"), values[:, 1]),
            "objective": ("pair", [objective for objective, _ in names]),
            "beside": ("pair", [label for _, label in names]),
        },
        coords={"distance": DISTANCES},
    )


def across_kink(width: float) -> float:
    """|grad V(x + d u) - grad V(x - d u)| / |2 d u| for a neuron at a kink of its ReLU."""
    V = network_variation(1)
    # The only datum lies on the line <w, x> + b = 0 of this neuron.
    x = np.random.default_rng(0).uniform(-1, 1, (1, 2))[0]
    w = jnp.array([0.5, -0.5 * (x[0] + x[1]), 0.5, 0.5])
    u = jnp.array([0.0, 1.0, 0.0, 0.0])
    difference = jax.grad(V)(w + width * u) - jax.grad(V)(w - width * u)
    return float(jnp.linalg.norm(difference) / (2 * width))


def verdict(values: np.ndarray) -> str:
    """Of a constant by distance."""
    grown = values[-1] / values[-4] if values[-4] > 0 else 1.0
    return f"{values[-1]:.3g}" if grown < GROWTH else "none"


def draw(maps: xr.Dataset, relative: xr.Dataset):
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    near = slice(1, None)
    for k, name in enumerate(name for name in DRAWN if name in maps["map"]):
        ratio = maps["concordance"].sel(map=name)[near]
        line = LINES["entropy" if name.startswith(("Entropy", "VonNeumann")) else "log barrier"]
        look = {"marker": MARKERS[k], "color": COLOURS[k], **line}
        axes[0].plot(DISTANCES[near], ratio, **look, label=name)
    axes[0].set_ylabel("self-concordance ratio")
    which = relative["objective"].str.contains("simplex|repulsion").values
    objectives = list(dict.fromkeys(relative["objective"].values[which]))
    for i in np.flatnonzero(which):
        one = relative.isel(pair=i)
        objective, beside = one["objective"].item(), one["beside"].item()
        k = objectives.index(objective)
        look = {"marker": MARKERS[k], "color": COLOURS[k], **LINES[beside]}
        name = objective.replace("matching, ", "").replace("beta", r"$\beta$")
        axes[1].plot(DISTANCES[near], one["slope"][near], **look, label=f"{name}, {beside}")
    axes[1].set_ylabel("slope of the first variation, local norm")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="distance to the boundary, as a share")
        ax.minorticks_off()
        ax.invert_xaxis()
        ax.legend(frameon=False, fontsize=7.5, loc="upper left", handlelength=3)
        bare(ax)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser("paper constants", __doc__)
    parser.add_argument("--directions", type=int, default=40, help="in which points go outwards")
    arguments = parser.parse_args(argv)
    with jax.enable_x64(True):
        maps = of_maps(arguments.quick, arguments.directions)
        relative = of_pairs(arguments.quick, arguments.directions)
        kinks = {width: across_kink(width) for width in (1e-2, 1e-4, 1e-6)}
    at = [f"{DISTANCES[i]:.0e}" for i in SHOWN]
    table(
        "assumption 7: greatest |D^3 phi| / (2 |D^2 phi|^(3/2)) by the distance to the boundary; "
        "least D^2 phi",
        ["map", "stated", *at, "c_1", "c_2 at " + at[0], "c_2 at " + at[-1]],
        [
            [
                str(name),
                one["stated"].item(),
                *[one["concordance"].values[i] for i in SHOWN],
                verdict(np.maximum.accumulate(one["concordance"].values)),
                *[one["convexity"].values[i] for i in (SHOWN[0], SHOWN[-1])],
            ]
            for name, one in ((m, maps.sel(map=m)) for m in maps["map"].values)
        ],
    )
    table(
        "assumption 5: slope and curvature of dF/dmu relative to phi",
        [
            "objective",
            "map",
            *[f"slope {a}" for a in at],
            "Lipschitz",
            "curvature " + at[-1],
            "smooth",
        ],
        [
            [
                one["objective"].item(),
                one["beside"].item(),
                *[one["slope"].values[i] for i in SHOWN],
                verdict(one["slope"].values),
                one["curvature"].values[-1],
                verdict(one["curvature"].values),
            ]
            for one in (relative.isel(pair=i) for i in range(relative.sizes["pair"]))
        ],
    )
    print("\nReLU: slope of the gradient across a kink, by the width of the difference")
    print("  " + "  ".join(f"{width:.0e}: {value:.3g}" for width, value in kinks.items()))
    result = xr.merge([maps, relative])
    command.save(result, draw(maps, relative), arguments.out / "paper_constants", dpi=120)
