"""The adjusted kernel, adapted as it comes, reproduces exact expectations on every support."""

from __future__ import annotations

import jax
import pytest

from mmfld_ppl import MMFLD

from . import laws, matrix_laws
from .helpers import assert_law, compare_all, run_kernel

LAWS = {**laws.laws(), **matrix_laws.laws()}
FAST = ("dirichlet", "circle")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in LAWS]
)
def test_adjusted_kernel_reproduces_exact_expectations(name: str) -> None:
    law = LAWS[name]
    draws = run_kernel(
        MMFLD(law.model, **law.settings),
        jax.random.key(0),
        chains=law.chains,
        warmup=law.warmup,
        draws=law.steps // law.thin,
        thin=law.thin,
    )
    assert_law(compare_all(draws, law.expectations))
