"""Whether to trust a run, in words."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any, NamedTuple

import pandas as pd

from .checks import CHECKS, FAIL, OK, SKIPPED, WARN, Check, Run

#: Columns of a report.
WIDTH = 96


class Diagnosis(NamedTuple):
    """What `diagnose` found; printing it gives a report.

    checks: in the order of the report."""

    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str:
        """The gravest one: "ok", "warn" or "fail"."""
        found = {check.verdict for check in self.checks}
        return next((verdict for verdict in (FAIL, WARN) if verdict in found), OK)

    @property
    def table(self) -> pd.DataFrame:
        """A row a check: verdict, value, advice."""
        rows = [check._asdict() for check in self.checks]
        return pd.DataFrame(rows).set_index("name")

    def __repr__(self) -> str:
        lines = [_headline(self.checks)]
        indent = " " * 8
        for check in _merged(self.checks):
            mark = "-" if check.verdict == SKIPPED else check.verdict
            first = f"{check.name}: {check.value or check.verdict}"
            lines += textwrap.wrap(
                first, WIDTH, initial_indent=f"  {mark.upper():<6}", subsequent_indent=indent
            )
            if check.advice:
                lines += textwrap.wrap(
                    check.advice, WIDTH, initial_indent=indent + "-> ", subsequent_indent=indent
                )
        return "\n".join(lines)


def diagnose(idata: Any) -> Diagnosis:
    """Whether a run converged, whether particles and step were right, and what to do if not.

    Runs every check that the exported data allow, without the model: they may come from a file.
    Checks of the measure itself (fixed point, Stein discrepancy, first variation, particle number,
    boundary) need `to_inference_data(mcmc, diagnostics=True)`, which evaluates the model once.

    A difference counts when it is both more than chance and large enough to matter: that of F in
    units of the temperature, that of a mean in standard deviations of a particle. ArviZ's own
    thresholds ask only for the first: with many particles F and the means fluctuate by 1/sqrt(N)
    alone, and R-hat calls out differences between chains that no use of the result would notice.

    idata: from `to_inference_data`, or read from a file."""
    run = Run.of(idata)
    found = (check(run) for check in CHECKS)
    return Diagnosis(tuple(check for check in found if check is not None))


def _merged(checks: tuple[Check, ...]) -> list[Check]:
    """One in place of those that were left out for the same reason, one after another."""
    rows = itertools.groupby(checks, key=lambda c: (c.verdict == SKIPPED and c.advice) or id(c))
    merged = []
    for _, row in rows:
        first, *others = row
        merged.append(first._replace(name=", ".join(c.name for c in (first, *others))))
    return merged


def _headline(checks: tuple[Check, ...]) -> str:
    counts = {v: sum(c.verdict == v for c in checks) for v in (OK, WARN, FAIL, SKIPPED)}
    passed = f"{counts[OK]} of {len(checks) - counts[SKIPPED]} checks passed"
    if counts[FAIL]:
        return f"Do not use this run as it is: {passed}."
    if counts[WARN]:
        return f"Use with care: {passed}."
    if counts[SKIPPED]:
        left_out = ", ".join(c.name for c in checks if c.verdict == SKIPPED)
        return f"Nothing wrong was found: {passed}; not checked: {left_out}."
    return f"Nothing is wrong with this run: {passed}."
