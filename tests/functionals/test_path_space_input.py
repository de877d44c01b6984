"""What the path-space functional takes as snapshots, times and growth, and what it refuses."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mmfld_ppl.functionals.path_space import PathSpace
from mmfld_ppl.measures import Measure

OPTIONS = {"diffusivity": 1.0, "bandwidth": 1.0, "regularization": 1.0}
Y = np.round(np.random.default_rng(0).uniform(-1, 1, (4, 2)) * 64) / 64
DAYS = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")


@pytest.mark.parametrize(
    ("snapshots", "times", "options", "message"),
    [
        ([Y, Y[:0]], [0, 1], {}, r"snapshot 1 \(time 1\) has no cells, its shape is \(0, 2\)"),
        ([Y, np.float64(1)], [0, 1], {}, r"snapshot 1 \(time 1\) has no cells, its shape is \(\)"),
        ([Y], [0], {}, "two times or more, got 1"),
        ([Y, Y], [0, 1, 2], {}, "times: 3 entries for 2 snapshots, give one"),
        ([Y, Y], [[0, 1]], {}, r"times: shape \(1, 2\) for 2 snapshots"),
        ([Y, Y], [0], {}, "times: 1 entries for 2 snapshots, give one"),
        ([Y, Y, Y], [0, 2, 1], {}, "must increase, got 2 and then 1 at places 1 and 2"),
        ([Y, Y], [3, 3], {}, "must increase, got 3 and then 3 .* join those of equal times"),
        (
            [Y, Y],
            DAYS,
            {},
            r"times of the snapshots must be numbers, got np.datetime64.*/ np.timed",
        ),
        ([Y, Y], DAYS - DAYS[0], {}, r"must be numbers, got np.timedelta64.*/ np.timedelta64\(365"),
        ([Y, [["a", "b"]]], [0, 1], {}, r"cells of snapshot 1 \(time 1\) must be numbers, got 'a'"),
        ([Y, Y], [0, np.nan], {}, "times of the snapshots must be finite"),
        ([Y, np.where(Y == Y[2, 0], np.nan, Y)], [0, 1], {}, "cells of snapshot 1 .* in row 2"),
        ([Y, Y[:, :1]], [0, 1], {}, r"snapshot 1 .*\(1,\), snapshot 0 .*\(2,\)"),
        ([Y, Measure(Y, np.full(4, 0.3))], [0, 1], {}, "masses of snapshot 1 .* sum 1.2"),
        ([Y, Measure(Y, np.array([2, -1, 0, 0.0]))], [0, 1], {}, "snapshot 1 .* minimum -1"),
        ([Y, Y], [0, 1], {"weights": np.array([0.5, 0.4])}, "weights of the snapshots .* sum 0.9"),
        (
            [Y, Y],
            [0, 1],
            {"weights": np.ones(3) / 3},
            "weights of the snapshots: 3 entries for 2 snap",
        ),
        ([Y, Y], [0, 1], {"diffusivity": 0.0}, "diffusivity must be one positive number, got 0"),
        ([Y, Y], [0, 1], {"bandwidth": -1.0}, "bandwidth must be one positive number"),
        ([Y, Y], [0, 1], {"regularization": np.inf}, "regularization must be one positive number"),
        ([Y, Y], [0, 1], {"threshold": 0.0}, "threshold must be positive"),
    ],
)
def test_misuse_is_explained(snapshots, times, options, message):
    with pytest.raises(ValueError, match=message):
        PathSpace(snapshots, times, **{**OPTIONS, **options})


def test_growth_must_be_a_function():
    with pytest.raises(TypeError, match=r"function \(point, time\) -> rate, got float"):
        PathSpace([Y, Y], [0, 1], growth=0.3, **OPTIONS)
    with pytest.raises(TypeError, match=r"growth is called as growth\(point, time\), and does not"):
        PathSpace([Y, Y], [0, 1], growth=lambda x: 0.1, **OPTIONS)
    path = PathSpace([Y, Y], [0, 1], growth=lambda x, s: 0.1 * x, **OPTIONS)
    with pytest.raises(ValueError, match=r"growth must give one number, got shape \(2,\)"):
        path(Measure.uniform(Y))


def test_a_rate_may_be_a_whole_number():
    path, same = (
        PathSpace([Y, Y], [0, 1], growth=growth, **OPTIONS)
        for growth in (lambda x, s: jnp.where(x[0] > 0, 1, 0), lambda x, s: 1.0 * (x[0] > 0))
    )
    np.testing.assert_allclose(path(Measure.uniform(Y)), same(Measure.uniform(Y)))


def test_snapshots_are_a_list():
    with pytest.raises(TypeError, match=r"must be a list.*got dict.*times=list\(d\)"):
        PathSpace({0.0: Y, 1.0: Y}, [0, 1], **OPTIONS)


def test_snapshots_may_be_data_frames():
    frames = [pd.DataFrame(Y), Y.tolist()]
    path, same = (
        PathSpace(z, times, **OPTIONS) for z, times in ((frames, (0, 1)), ([Y, Y], [0, 1]))
    )
    np.testing.assert_array_equal(path.cells, same.cells)


def test_measures_that_do_not_fit():
    path = PathSpace([Y, Y, Y], [0, 1, 2], **OPTIONS)
    with pytest.raises(ValueError, match="3 equal blocks, got .*4.*multiple of 3"):
        path(Measure.uniform(jnp.zeros((4, 2))))
    with pytest.raises(ValueError, match=r"the measure has points of shape \(3,\)"):
        path(Measure.uniform(jnp.zeros((6, 3))))
    with pytest.raises(ValueError, match="the marginal at time 1.0 has no mass: each of the 3"):
        path(Measure(jnp.zeros((6, 2)), jnp.array([0.25, 0.25, 0.0, 0.0, 0.25, 0.25])))


def test_misuse_is_explained_while_tracing():
    """A functional is built inside of a model, which is traced."""

    @eqx.filter_jit
    def value(x):
        return PathSpace([Y, Y[:0]], [0.0, 1.0], **OPTIONS)(Measure.uniform(x))

    with pytest.raises(ValueError, match="snapshot 1 .* has no cells"):
        value(jnp.zeros((4, 2)))
