"""A gap in the data of a model is refused, with the name of the argument."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.handlers import seed

import mmfld_ppl as mm
from mmfld_ppl.functionals.kernels import Gaussian
from models.barycenter import barycenter
from models.entropic_transport import entropic_transport
from models.mean_matching import simplex_matching, spectraplex_matching
from models.mixture import mixture
from models.quantisation import quantisation
from models.spikes import spikes
from models.tensor import tensor
from models.tomography import pauli_measurement, tomography, varying_states
from models.trajectory import trajectory
from models.two_layer import two_layer, two_layer_classes

NUMBERS = np.array([0.2, 0.3, 0.5])
POINTS = np.array([[0.1, 0.2], [0.3, 0.5], [0.6, 0.4]])
MATRIX = np.array([[0.6, 0.1], [0.1, 0.4]])
LABELS = np.array([1.0, -1.0, 1.0])
OPERATORS = np.stack([pauli_measurement(letter) for letter in "XYZ"])
COUNTS = np.array([[9.0, 3.0], [2.0, 10.0], [11.0, 1.0]])
SETTING = {"diffusivity": 1.0, "bandwidth": 1.0, "regularization": 1.0}


def gap(array):
    """The array with a NaN in its last place."""
    with_gap = np.array(array, complex if np.iscomplexobj(array) else float)
    with_gap.flat[-1] = np.nan
    return with_gap


def normal(theta, covariate=None):
    return dist.Normal(theta, 1.0)


def law():
    return dist.Uniform(0, jnp.ones(2)).to_event(1)


def transported(a, b):
    marginals = mm.Measure(POINTS, a), mm.Measure(b, NUMBERS)
    entropic_transport((law(), law()), marginals, Gaussian(1.0), cost=lambda x, y: x @ y)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: barycenter([(gap(POINTS), NUMBERS)]), "the points of target 0"),
        (lambda: barycenter([(POINTS, gap(NUMBERS))]), "the masses of target 0"),
        (lambda: barycenter([(POINTS, NUMBERS)], weights=[np.nan]), "the barycenter weights"),
        (lambda: transported(gap(NUMBERS), POINTS), "the masses of marginal 0"),
        (lambda: transported(NUMBERS, gap(POINTS)), "the points of marginal 1"),
        (lambda: simplex_matching(gap(NUMBERS)), "the target"),
        (lambda: spectraplex_matching(gap(MATRIX)), "the target"),
        (lambda: spectraplex_matching(gap(MATRIX + 0j)), "the target"),
        (lambda: mixture(gap(NUMBERS), normal, dist.Normal()), "data"),
        (
            lambda: mixture(NUMBERS, normal, dist.Normal(), covariates=gap(NUMBERS)),
            "covariates",
        ),
        (lambda: mixture(NUMBERS, normal, dist.Normal(), counts=gap(LABELS)), "counts"),
        (
            lambda: quantisation((gap(POINTS), NUMBERS), Gaussian(1.0), law()),
            "points of the target",
        ),
        (
            lambda: quantisation((POINTS, gap(NUMBERS)), Gaussian(1.0), law()),
            "masses of the target",
        ),
        (lambda: spikes(gap(NUMBERS), NUMBERS, width=0.1, largest=1.0), "sensors"),
        (lambda: spikes(NUMBERS, gap(NUMBERS), width=0.1, largest=1.0), "observed"),
        (lambda: tensor(gap(np.ones((2, 2, 2))), scale=1.0), "the target"),
        (lambda: tomography(gap(OPERATORS), COUNTS), "operators"),
        (lambda: tomography(OPERATORS, gap(COUNTS)), "counts"),
        (lambda: varying_states(OPERATORS, gap([COUNTS])), "counts"),
        (lambda: trajectory([POINTS, gap(POINTS)], [0, 1], **SETTING), "cells of snapshot 1"),
        (lambda: trajectory([POINTS, POINTS], [0, np.nan], **SETTING), "times of the snapshots"),
        (
            lambda: trajectory([POINTS, POINTS], [0, 1], weights=[1, np.nan], **SETTING),
            "weights of the snapshots",
        ),
        (lambda: two_layer(gap(POINTS), LABELS), "inputs"),
        (lambda: two_layer(POINTS, gap(LABELS)), "labels"),
        (lambda: two_layer_classes(gap(POINTS), np.arange(3), classes=3), "inputs"),
        (lambda: two_layer_classes(POINTS, gap(np.arange(3)), classes=3), "labels"),
    ],
)
def test_a_gap_is_refused_by_name(model, words):
    with pytest.raises(ValueError, match=f"(?s){re.escape(words)} .*nan"):
        seed(model, jax.random.key(0))()


def test_a_gap_in_what_a_growth_holds_is_found():
    rates = jnp.array([0.1, jnp.nan])

    def model():
        growth = lambda x, time: jnp.sum(x * rates)  # noqa: E731
        trajectory([POINTS, POINTS], [0, 1], growth=growth, cells=3, **SETTING)

    with pytest.raises(ValueError, match=r"'path' is nan, and its .* shape \(2,\) with 1 NaN"):
        mm.MMFLD(model).init(jax.random.key(0), 1, None, (), {})
