"""The polytope of steady states, of a network that can be checked by hand."""

from __future__ import annotations

import cobra
import numpy as np
import pandas as pd
import pytest
from cobra.flux_analysis import flux_variability_analysis

from examples.metabolic_fluxes import demand_growth, polytope, read_rates

#: What enters (at most 10) splits into two ways that end in growth, one of them at most 4; nothing
#: can feed the way "dead".
REACTIONS = {
    "in": ("-> a", (0, 10)),
    "one": ("a -> b", (0, 1000)),
    "two": ("a -> b", (0, 4)),
    "dead": ("c -> b", (0, 1000)),
    "growth": ("b ->", (0, 1000)),
}


@pytest.fixture
def network():
    model = cobra.Model("toy")
    for name, (equation, bounds) in REACTIONS.items():
        reaction = cobra.Reaction(name)
        model.add_reactions([reaction])
        reaction.build_reaction_from_string(equation, verbose=False)
        reaction.bounds = bounds
    model.objective = "growth"
    return model


def measured(rate, sd):
    return pd.DataFrame({"reaction": ["in"], "rate": [rate], "sd": [sd]})


def test_steady_states(network):
    best = demand_growth(network, measured(6.0, 0.5), 0.75)
    assert best == pytest.approx(6.0)
    ranges = flux_variability_analysis(network, fraction_of_optimum=0, processes=1)
    # in = growth = one + two, at least three quarters of 6 and at most 6 + 4 * .5.
    expected = {"in": (4.5, 8), "one": (0.5, 8), "two": (0, 4), "dead": (0, 0), "growth": (4.5, 8)}
    for name, limits in expected.items():
        assert tuple(ranges.loc[name]) == pytest.approx(limits)
    support, names = polytope(network, ranges)
    assert names == ["in", "one", "two", "growth"]
    assert support(np.array([6.0, 3.0, 3.0, 6.0]))
    assert not support(np.array([6.0, 3.0, 2.0, 6.0]))  # more is made of a than is used
    assert not support(np.array([4.0, 2.0, 2.0, 4.0]))  # too slow
    assert not support(np.array([6.0, 1.0, 5.0, 6.0]))  # above the second way's bound


def test_a_network_without_growth(network):
    network.objective = {}
    with pytest.raises(SystemExit, match="must be one reaction, growth"):
        demand_growth(network, measured(6.0, 0.5), 0.75)


def test_rates_that_cannot_be(network, tmp_path):
    with pytest.raises(SystemExit, match="all the measured rates at once"):
        demand_growth(network, measured(-3.0, 0.5), 0.8)
    file = tmp_path / "rates.csv"
    pd.DataFrame({"reaction": ["inn"], "rate": [1.0], "sd": [0.1]}).to_csv(file)
    with pytest.raises(SystemExit, match="no reactions .'inn'"):
        read_rates(file, network)
    measured(1.0, 0.0).to_csv(file)
    with pytest.raises(SystemExit, match="'sd' must hold positive"):
        read_rates(file, network)
