"""Fluxes of a metabolism in a steady state: a posterior on a polytope, in equalities and bounds.

The network is the core of *E. coli*, 95 reactions (the model `textbook` of cobra). What is made
must be used, so that fluxes v obey S v = 0 and their bounds: a polytope of 24 dimensions in a space
of 95. Uptakes of glucose and oxygen were measured (Varma and Palsson 1994), cells are taken to grow
at no less than `--growth` of the best that the network can at those rates, and all else is left
open. Prints each flux beside its exact range, from linear programmes; saves the run (NetCDF) and a
figure.

--data FILE takes measured rates of your own: columns `reaction`, `rate` and `sd`, in the units of
the network. --network FILE takes another network, in SBML (.xml, .xml.gz) or JSON.
"""

from __future__ import annotations

import argparse
import logging
import pathlib
from typing import Any, NamedTuple

import cobra
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from cobra.flux_analysis import flux_variability_analysis
from cobra.util.array import create_stoichiometric_matrix
from jaxtyping import Array, Float, Int
from numpyro.distributions.constraints import Constraint

import mmfld_ppl as mm
from mmfld_ppl.inference_data import dataset
from mmfld_ppl.plots.style import colour

from . import command
from .tables import read_table

# Uptake is negative. The standard deviations are ours: a twentieth.
MEASURED = pd.DataFrame(
    {"reaction": ["EX_glc__D_e", "EX_o2_e"], "rate": [-10.5, -15.0], "sd": [0.525, 0.75]}
)
# Of the textbook network: glycolysis, pentose phosphates, citrate cycle, what leaves the cell.
SHOWN = (
    "PGI PFK FBA GAPD ENO PYK PDH G6PDH2r GND RPI TKT1 TALA CS ICDHyr AKGDH FUM MDH PPC ICL "
    "EX_ac_e EX_etoh_e EX_for_e EX_lac__D_e EX_co2_e"
).split()
# Ranges below this are taken for a single value: linear programmes are solved to 1e-7 or so.
NO_RANGE = 1e-6


class Rates(NamedTuple):
    """at: where the measured fluxes are among those that are free."""

    at: Int[Array, " m"]
    rate: Float[Array, " m"]
    sd: Float[Array, " m"]


def model(support: Constraint, size: int, measured: Rates) -> None:
    """Uniform on the polytope, normal errors."""
    v = numpyro.sample("flux", dist.ImproperUniform(support, (), (size,)))
    numpyro.sample("rate", dist.Normal(v[measured.at], measured.sd), obs=measured.rate)


def read_network(path: pathlib.Path | None) -> cobra.Model:
    logging.getLogger("cobra").setLevel(logging.ERROR)
    if path is None:
        return cobra.io.load_model("textbook")
    if not path.is_file():
        raise SystemExit(f"there is no file {path}")
    return (cobra.io.load_json_model if path.suffix == ".json" else cobra.io.read_sbml_model)(
        str(path)
    )


def read_rates(path: pathlib.Path, network: cobra.Model) -> pd.DataFrame:
    table = read_table(path, "reaction", "rate", "sd", all_numbers=False)
    known = {r.id for r in network.reactions}
    if unknown := sorted(set(table["reaction"]) - known):
        raise SystemExit(f"{path}: the network has no reactions {unknown}")
    if not (table["sd"] > 0).all():
        raise SystemExit(f"{path}: column 'sd' must hold positive numbers")
    return table


def demand_growth(network: cobra.Model, measured: pd.DataFrame, share: float) -> float:
    """Asks for this share of the largest growth at the measured rates, and returns it.

    Measured fluxes are bounded by four standard deviations on either side, in place of the bounds
    of the network, which may stop short of what was seen."""
    growth = [r for r in network.reactions if r.objective_coefficient]
    if len(growth) != 1:
        raise SystemExit(f"the objective of a network must be one reaction, growth, got {growth}")
    for reaction, rate, sd in measured[["reaction", "rate", "sd"]].itertuples(index=False):
        network.reactions.get_by_id(reaction).bounds = rate - 4 * sd, rate + 4 * sd
    with network as at_rates:
        for reaction, rate in measured[["reaction", "rate"]].itertuples(index=False):
            at_rates.reactions.get_by_id(reaction).bounds = rate, rate
        best = at_rates.slim_optimize()
    if not np.isfinite(best):
        raise SystemExit("no steady state of this network has all the measured rates at once")
    growth[0].lower_bound = share * best
    return best


def polytope(network: cobra.Model, ranges: pd.DataFrame) -> tuple[Constraint, list[str]]:
    """The steady states, and the names of the fluxes that are free in them.

    Fluxes of no range are put in as numbers, and bounds that no steady state reaches are left out:
    the polytope has an interior only so."""
    low, high = ranges["minimum"].to_numpy(), ranges["maximum"].to_numpy()
    free = high - low > NO_RANGE
    S: Any = create_stoichiometric_matrix(network)
    bounds = np.array([r.bounds for r in network.reactions])[free]
    at_lower = low[free] <= bounds[:, 0] + NO_RANGE
    at_upper = high[free] >= bounds[:, 1] - NO_RANGE
    identity = np.eye(free.sum())
    support = mm.constraints.polytope(
        np.vstack([-identity[at_lower], identity[at_upper]]),
        np.concatenate([-bounds[at_lower, 0], bounds[at_upper, 1]]),
        S[:, free],
        -S[:, ~free] @ low[~free],
    )
    return support, list(ranges.index[free])


def shadow(network: cobra.Model, first: str, second: str, directions: int = 48) -> np.ndarray:
    """Corners of the exact projection of the polytope on two fluxes."""
    corners = []
    one, two = (network.reactions.get_by_id(name) for name in (first, second))
    with network:
        for angle in np.linspace(0, 2 * np.pi, directions, endpoint=False):
            network.objective = {one: np.cos(angle), two: np.sin(angle)}
            fluxes = network.optimize().fluxes
            corners.append([fluxes[first], fluxes[second]])
    return np.array([*corners, corners[0]])


def table(fluxes: pd.DataFrame, ranges: pd.DataFrame) -> pd.DataFrame:
    """Medians and 90% intervals beside the exact ranges."""
    quantiles = fluxes.quantile([0.05, 0.5, 0.95]).T
    quantiles.columns = ["5%", "median", "95%"]
    exact = ranges.loc[quantiles.index, ["minimum", "maximum"]]
    return pd.concat([exact, quantiles], axis=1)


def draw(
    fluxes: pd.DataFrame,
    ranges: pd.DataFrame,
    shown: list[str],
    pair: list[str],
    outline: np.ndarray,
) -> Any:
    """Intervals over exact ranges, and two fluxes in the exact shadow of the polytope."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 5), layout="constrained", width_ratios=[1.4, 1]
    )
    rows = table(fluxes[shown], ranges)
    at = np.arange(len(shown))[::-1]
    left.hlines(at, rows["minimum"], rows["maximum"], color="0.85", lw=7, label="possible")
    left.hlines(at, rows["5%"], rows["95%"], color=colour(0), lw=3, label="90% interval")
    left.plot(rows["median"], at, "o", ms=4, color=colour(0), label="median")
    left.set_yticks(at, shown, fontsize=8)
    left.set(xlabel="flux, mmol a gram of dry cells and hour", ylim=(-0.7, len(shown) - 0.3))
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    right.plot(*outline.T, color="0.4", lw=1, label="possible")
    right.plot(fluxes[pair[0]], fluxes[pair[1]], ".", ms=2, color=colour(0), label="draws")
    right.set(xlabel=f"{pair[0]}, mmol / (g h)", ylabel=f"{pair[1]}, mmol / (g h)")
    right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def parse() -> argparse.Namespace:
    parser = command.parser("metabolic_fluxes", __doc__, "columns reaction, rate, sd")
    command.add_run_options(parser, warmup=1000, samples=4000, thinning=2)
    parser.add_argument("--network", type=pathlib.Path, help="SBML or JSON, in place of E. coli")
    parser.add_argument("--growth", type=float, default=0.8, help="least share of the best growth")
    parser.add_argument("--show", nargs="+", default=SHOWN, help="reactions of the figure")
    parser.add_argument(
        "--pair", nargs=2, default=["EX_ac_e", "EX_co2_e"], help="its second panel's reactions"
    )
    arguments = parser.parse_args()
    if not 0 <= arguments.growth < 1:
        parser.error("--growth must be at least 0 and less than 1")
    if arguments.quick:
        arguments.warmup, arguments.samples = 300, 300
    return arguments


def main() -> None:
    arguments = parse()
    # Beside a flux of hundreds, single precision does not tell one of 1e-5 from none.
    jax.config.update("jax_enable_x64", True)
    network = read_network(arguments.network)
    measured = read_rates(arguments.data, network) if arguments.data else MEASURED
    best = demand_growth(network, measured, arguments.growth)
    ranges = flux_variability_analysis(network, fraction_of_optimum=0, processes=1)
    support, names = polytope(network, ranges)
    chosen = [*arguments.show, *arguments.pair]
    if missing := [name for name in [*chosen, *measured["reaction"]] if name not in names]:
        raise SystemExit(f"reactions {missing} have one possible flux, or are not in the network")
    print(f"{len(ranges)} reactions, {len(names)} of them free; best growth {best:.3f} an hour\n")
    rates = Rates(
        jnp.array([names.index(name) for name in measured["reaction"]]),
        *(jnp.asarray(measured[column].to_numpy(float)) for column in ("rate", "sd")),
    )
    kernel = mm.MMFLD(model)
    print(kernel.describe(support, len(names), rates))
    mcmc = command.replicates(kernel, arguments, support, len(names), rates)
    idata = mm.to_inference_data(mcmc, coords={"reaction": names}, dims={"flux": ["reaction"]})
    draws = dataset(idata, "posterior")["flux"].stack(sample=("chain", "draw"))
    fluxes = pd.DataFrame(draws.transpose("sample", ...).values, columns=names)
    print("\nPossible fluxes, and the posterior:")
    print(table(fluxes, ranges).round(2).to_string())
    summary = mm.summary(idata)
    print(f"\nleast effective draws {summary['ess_bulk'].min():.0f}, ", end="")
    print(f"R-hat up to {summary['r_hat'].max():.3f}")
    print(f"\n{mm.diagnose(idata)}")
    outline = shadow(network, *arguments.pair)
    figure = draw(fluxes, ranges, list(arguments.show), list(arguments.pair), outline)
    command.save(idata, figure, arguments.out / "metabolic_fluxes", dpi=110)


if __name__ == "__main__":
    main()
