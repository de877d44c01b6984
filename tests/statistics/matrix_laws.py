"""Models with known moments on convex bodies and sets of matrices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints as nc
from scipy import stats
from scipy.integrate import quad
from scipy.special import digamma

from mmfld_ppl import distributions as convex

from .laws import Law


def _ball() -> Law:
    tilt = np.array([2.0, -1.0, 2.0])

    def model():
        numpyro.sample("x", convex.UniformBall(3, radius=2.0))
        y = numpyro.sample("y", convex.UniformBall(3))
        numpyro.factor("tilt", jnp.asarray(tilt, jnp.float32) @ y)

    # The density of <tilt, y> / |tilt| is proportional to (1 - t^2) exp(|tilt| t), |tilt| = 3.
    def along(function):
        return quad(lambda t: (1 - t**2) * np.exp(3 * t) * function(t), -1, 1)[0]

    mean, square = (along(lambda t, p=p: t**p) / along(lambda t: 1.0) for p in (1, 2))
    radius = lambda d: np.linalg.norm(d["x"], axis=-1) / 2  # noqa: E731
    return Law(
        model,
        {
            # (|x| / 2)^3 is uniform.
            "E |x|": (radius, 3 / 4),
            "E |x|^2": (lambda d: radius(d) ** 2, 3 / 5),
            "P(|x| < 1)": (lambda d: radius(d) < 0.5, 1 / 8),
            "E log(2 - |x|)": (lambda d: np.log1p(-radius(d)), digamma(1) - digamma(4)),
            "E x_2": (lambda d: d["x"][..., 1], 0.0),
            "E x_1 x_3": (lambda d: d["x"][..., 0] * d["x"][..., 2], 0.0),
            "E y_1": (lambda d: d["y"][..., 0], mean * 2 / 3),
            "E y_2": (lambda d: d["y"][..., 1], mean * -1 / 3),
            "E <tilt, y>^2": (lambda d: (d["y"] @ tilt) ** 2, square * 9),
        },
    )


def _polytopes() -> Law:
    vertices = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 2.0]])
    rows = np.array([[0.0, -1.0], [-2.0, 1.0], [2.0, 3.0]])
    bounds = np.array([0.0, 0.0, 8.0])

    def model():
        numpyro.sample("x", convex.UniformPolytope(rows, bounds))
        # Twice a uniform point of the simplex of size 4, given by an equality.
        numpyro.sample(
            "z", convex.UniformPolytope(-np.eye(4), np.zeros(4), np.ones((1, 4)), np.array([2.0]))
        )

    # Barycentric coordinates are uniform on the simplex, and proportional to the slacks.
    second = (vertices.T @ (np.eye(3) + 1) @ vertices) / 12
    depth = lambda d: (bounds - d["x"] @ rows.T) / np.array([2.0, 8.0, 8.0])  # noqa: E731
    return Law(
        model,
        {
            "E x_1": (lambda d: d["x"][..., 0], 5 / 3),
            "E x_2": (lambda d: d["x"][..., 1], 2 / 3),
            "E x_1^2": (lambda d: d["x"][..., 0] ** 2, second[0, 0]),
            "E x_1 x_2": (lambda d: d["x"][..., 0] * d["x"][..., 1], second[0, 1]),
            "P(deep in corner 3)": (lambda d: depth(d)[..., 0] > 0.5, 1 / 4),
            "E log slack 1": (lambda d: np.log(depth(d)[..., 0]), digamma(1) - digamma(3)),
            "E log slack 3": (lambda d: np.log(depth(d)[..., 2]), digamma(1) - digamma(3)),
            "E z_1": (lambda d: d["z"][..., 0], 0.5),
            "E z_1 z_4": (lambda d: d["z"][..., 0] * d["z"][..., 3], 4 / 20),
            "E log z_2": (
                lambda d: np.log(d["z"][..., 1] / 2),
                digamma(1) - digamma(4),
            ),
            "P(z_3 > 1)": (lambda d: d["z"][..., 2] > 1, 1 / 8),
        },
    )


def _spectraplex() -> Law:
    # W / tr W is uniform for a Wishart W with n + 1 degrees of freedom, independent of tr W.
    n, nu = 3, 4
    log_det = sum(digamma((nu - i) / 2) for i in range(n)) - n * digamma(n * nu / 2)
    return Law(
        lambda: numpyro.sample("x", convex.UniformSpectraplex(n)),
        {
            "E x_11": (lambda d: d["x"][..., 0, 0], 1 / 3),
            "E x_11^2": (lambda d: d["x"][..., 0, 0] ** 2, 1 / 7),
            "E x_11 x_22": (lambda d: d["x"][..., 0, 0] * d["x"][..., 1, 1], 2 / 21),
            "E x_12": (lambda d: d["x"][..., 0, 1], 0.0),
            "E x_13^2": (lambda d: d["x"][..., 0, 2] ** 2, 1 / 42),
            "E log det x": (lambda d: np.linalg.slogdet(d["x"])[1], log_det),
            "P(x_33 > .5)": (lambda d: d["x"][..., 2, 2] > 0.5, stats.beta(2, 4).sf(0.5)),
        },
    )


def _wishart() -> Law:
    nu = 5.5
    scale = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, -0.6], [0.0, -0.6, 0.5]])
    log_det = sum(digamma((nu - i) / 2) for i in range(3)) + np.log(8 * np.linalg.det(scale))

    def second(i, j):
        variance = nu * (scale[i, j] ** 2 + scale[i, i] * scale[j, j])
        return variance + (nu * scale[i, j]) ** 2

    return Law(
        lambda: numpyro.sample("x", dist.Wishart(nu, jnp.asarray(scale, jnp.float32))),
        {
            "E x_11": (lambda d: d["x"][..., 0, 0], nu * 1.0),
            "E x_12": (lambda d: d["x"][..., 0, 1], nu * 0.5),
            "E x_13": (lambda d: d["x"][..., 0, 2], 0.0),
            "E x_32": (lambda d: d["x"][..., 2, 1], nu * -0.6),
            "E x_22^2": (lambda d: d["x"][..., 1, 1] ** 2, second(1, 1)),
            "E x_23^2": (lambda d: d["x"][..., 1, 2] ** 2, second(1, 2)),
            "E log det x": (lambda d: np.linalg.slogdet(d["x"])[1], log_det),
            "P(x_33 > 4)": (lambda d: d["x"][..., 2, 2] > 4, stats.chi2(nu).sf(8)),
        },
    )


def _correlations() -> Law:
    d, eta = 3, 1.5

    def model():
        numpyro.sample("r", dist.LKJ(d, eta))
        numpyro.sample("L", dist.LKJCholesky(d, eta))

    # (r_ij + 1) / 2 is Beta(b, b); the squares of the diagonal of L are independent betas.
    b = eta + (d - 2) / 2
    a_2, a_3 = eta + 1 / 2, eta
    log_2 = digamma(a_2) - digamma(a_2 + 1 / 2)
    log_3 = digamma(a_3) - digamma(a_3 + 1)
    tail = stats.beta(b, b).sf(0.75)
    return Law(
        model,
        {
            "E r_12": (lambda x: x["r"][..., 0, 1], 0.0),
            "E r_13^2": (lambda x: x["r"][..., 0, 2] ** 2, 1 / (2 * b + 1)),
            "P(r_23 > .5)": (lambda x: x["r"][..., 1, 2] > 0.5, tail),
            "E log det r": (lambda x: np.linalg.slogdet(x["r"])[1], log_2 + log_3),
            "E L_21": (lambda x: x["L"][..., 1, 0], 0.0),
            "E L_31^2": (lambda x: x["L"][..., 2, 0] ** 2, 1 / (2 * b + 1)),
            "P(L_31 > .5)": (lambda x: x["L"][..., 2, 0] > 0.5, tail),
            "E log L_22": (lambda x: np.log(x["L"][..., 1, 1]), log_2 / 2),
            "E log L_33": (lambda x: np.log(x["L"][..., 2, 2]), log_3 / 2),
        },
    )


def _lower_cholesky() -> Law:
    powers = np.array([2.0, 0.5, 1.0])

    def model():
        L = numpyro.sample("L", dist.ImproperUniform(nc.lower_cholesky, (), (3, 3)))
        diagonal = jnp.sum(jnp.asarray(powers, jnp.float32) * jnp.log(jnp.diagonal(L)))
        numpyro.factor("density", diagonal - 0.5 * jnp.sum(L**2) + 0.7 * L[1, 0] - L[2, 1])

    # Off the diagonal normal; on it L_ii^2 is chi-square with powers_i + 1 degrees of freedom.
    diagonal = {}
    for i in range(3):
        df = powers[i] + 1
        entry = lambda d, i=i: d["L"][..., i, i]  # noqa: E731
        diagonal[f"E L_{i + 1}{i + 1}^2"] = (lambda d, e=entry: e(d) ** 2, df)
        diagonal[f"E log L_{i + 1}{i + 1}"] = (
            lambda d, e=entry: np.log(e(d)),
            (digamma(df / 2) + np.log(2)) / 2,
        )
    return Law(
        model,
        {
            **diagonal,
            "E L_21": (lambda d: d["L"][..., 1, 0], 0.7),
            "E L_31": (lambda d: d["L"][..., 2, 0], 0.0),
            "E L_32^2": (lambda d: d["L"][..., 2, 1] ** 2, 2.0),
        },
    )


def laws() -> dict[str, Law]:
    """Every law of this file by name."""
    return {
        "balls": _ball(),
        "polytopes": _polytopes(),
        "spectraplex": _spectraplex()._replace(chains=256, steps=400),
        "wishart": _wishart()._replace(chains=160, steps=600, thin=1),
        "correlations": _correlations()._replace(steps=300, thin=1),
        "lower cholesky": _lower_cholesky()._replace(steps=1000, thin=1),
    }
