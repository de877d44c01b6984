"""How methods look in the figures of this folder: one colour and marker each, whatever the figure.

Colours tell families of methods apart, markers the members of one. A hollow marker is a variant of
the method with the same colour. Dots are what methods are compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mmfld_ppl.plots.style import COLOURS

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK = COLOURS
#: The scores' axis.
SCORE = r"$(L - L(\mu_*))/\tau$, nats"
#: A line that methods are compared with.
COMPARED = {"color": "black", "lw": 1.0, "ls": ":"}


class Look(NamedTuple):
    colour: str
    marker: str
    hollow: bool = False


ONE_STEP, RAW = Look(ORANGE, "s"), Look(YELLOW, "P")
#: By name. Maps of matrices are beside those of the simplex that they extend.
LOOKS = {
    "adjusted": Look(BLUE, "o"),
    "adjusted, log barrier": Look(BLUE, "o"),
    "adjusted, entropy": Look(BLACK, "X"),
    "one step, log barrier": ONE_STEP,
    "one step, log det": ONE_STEP,
    "algorithm 1": ONE_STEP,
    "sub-steps, log barrier": Look(ORANGE, "<", True),
    "sub-steps, log det": Look(ORANGE, "<", True),
    "projected": Look(GREEN, "^"),
    "projected, barrier": Look(PINK, "v"),
    "exact, entropy": Look(SKY, "D"),
    "one step, entropy": RAW,
    "one step, von Neumann": RAW,
    "8 sub-steps, entropy": Look(YELLOW, "<", True),
    "32 sub-steps, entropy": Look(YELLOW, "o", True),
    "sub-steps, entropy": Look(YELLOW, "<", True),
    "sub-steps, von Neumann": Look(YELLOW, "<", True),
    # Weights of the barrier, of which "projected, barrier" has that of .1.
    "projected, barrier 0": Look(GREEN, "^"),
    "projected, barrier 0.01": Look(PINK, "<", True),
    "projected, barrier 0.1": Look(PINK, "v"),
    "projected, barrier 1": Look(PINK, "o", True),
    # One step under the log barrier, by the rows in a minibatch.
    "1 of 64": Look(ORANGE, "<", True),
    "8 of 64": Look(ORANGE, "o", True),
    "all": ONE_STEP,
}
#: Of methods whose lines would hide those of the others, below them.
ABOVE = ("adjusted", "adjusted, log barrier")


def look(method: str, *, label: str | None = None) -> dict[str, Any]:
    """Options of `plot` and `errorbar` for a method. label: default, its name."""
    colour, marker, hollow = LOOKS[method]
    return {
        "color": colour,
        "marker": marker,
        "mfc": "white" if hollow else colour,
        "ms": 4,
        "lw": 1.1,
        "label": method if label is None else label,
        "zorder": 3 if method in ABOVE else 2,
    }


def number_axis(ax: Any, sizes: np.ndarray, name: str = "particles $N$") -> None:
    """Numbers of particles, on a logarithmic scale."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel(name)


def legend_under(figure: Any, ax: Any, columns: int) -> None:
    """What is labelled in one panel, under all of them."""
    figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
    )
