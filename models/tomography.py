"""Quantum state tomography: measurement operators and counts in, density matrices with their
uncertainty out.

A measurement is a set of operators E_k, Hermitian and positive semidefinite with sum I; on a state
X it gives outcome k with probability tr(E_k X). Density matrices are held as the real arrays
Re X + Im X of `constraints.hermitian`, in which tr(E X) is a plain inner product.
"""

from __future__ import annotations

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Complex, Float, Int

import mmfld_ppl as mm
from mmfld_ppl.arrays import as_array
from mmfld_ppl.constraints.hermitian import to_complex
from mmfld_ppl.distributions import UniformHermitianSpectraplex
from mmfld_ppl.functionals.checks import require_finite

PAULI = {
    "X": np.array([[0, 1], [1, 0]], complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]], complex),
}


def pauli_measurement(setting: str) -> Complex[np.ndarray, "outcome n n"]:
    """The operators of one letter X, Y or Z a qubit, measured qubit by qubit: projections on the
    joint eigenvectors, outcomes in the order ++, +-, -+, -- (of two qubits).

    >>> print(pauli_measurement("Z")[1].real)
    [[0. 0.]
     [0. 1.]]
    """
    if not setting or set(setting) - set(PAULI):
        raise ValueError(f"a setting has a letter X, Y or Z for each qubit, got {setting!r}")
    each = [[(np.eye(2) + sign * PAULI[letter]) / 2 for sign in (1, -1)] for letter in setting]
    return np.stack([functools.reduce(np.kron, one) for one in itertools.product(*each)])


def tomography(
    operators: Complex[np.ndarray, "setting outcome n n"],
    counts: Int[np.ndarray, "setting outcome"],
) -> None:
    """One state, prepared and measured many times: its posterior under a uniform prior.

        X ~ uniform (Hilbert-Schmidt),   counts[s] ~ Multinomial(tr(operators[s, k] X))

    Sites: `state`, (n, n), the matrix Re X + Im X; `purity`, tr X^2. Raises ValueError for
    operators that are no measurement or do not fit the counts."""
    roots, counts = _checked(operators, counts)
    state = numpyro.sample("state", UniformHermitianSpectraplex(roots.shape[-1]))
    numpyro.deterministic("purity", jnp.sum(jnp.square(state)))
    p = probabilities(roots, state)
    # An operator may be zero, where it fills up a setting of fewer outcomes. Any other outcome has
    # a probability, or the state is refused.
    possible = jnp.any(roots != 0, axis=(-2, -1))
    logits = jnp.where(possible, jnp.log(jnp.where(possible, p, 1)), jnp.finfo(p.dtype).min)
    with numpyro.plate("setting", len(counts)):
        total = counts.sum(axis=-1)
        numpyro.sample("counts", dist.Multinomial(total, logits=logits), obs=jnp.asarray(counts))


def varying_states(
    operators: Complex[np.ndarray, "setting outcome n n"],
    counts: Int[np.ndarray, "block setting outcome"],
    *,
    particles: int = 500,
    temperature: float | None = None,
) -> None:
    r"""A source that prepares another state in every block of measurements: the law of its states.

        min over mu of  -(1/B) sum_b log E_mu[ Multinomial(counts[b] | X) ] + tau KL(mu | uniform)

    the nonparametric maximum likelihood estimate of the law, with an entropy: convex in mu.
    temperature: tau, in nats a block; default 1/B, the weight of a prior sample of one block.

    Sites: `state`, the particles, (particles, n, n). Raises ValueError as `tomography` does."""
    roots, counts = _checked(operators, counts, ("blocks",))
    flat = counts.reshape(-1, *counts.shape[-2:])
    with mm.particles("atom", particles):
        state = numpyro.sample("state", UniformHermitianSpectraplex(roots.shape[-1]))

    def log_density(x: Float[Array, "n n"], block: Float[Array, "setting outcome"]) -> Array:
        p = probabilities(roots, x)
        # Multinomial coefficients, the same for every state, are left out.
        return jnp.sum(jnp.where(block > 0, block * jnp.log(jnp.where(block > 0, p, 1)), 0))

    loss = mm.functionals.MixtureLikelihood(log_density, jnp.asarray(flat, float))
    tau = 1 / len(flat) if temperature is None else temperature
    mm.objective("loss", loss, state, temperature=tau)


def probabilities(
    roots: Complex[Array, "setting outcome n r"], state: Float[Array, "n n"]
) -> Float[Array, "setting outcome"]:
    """tr(A A^H X) of each operator, by a root A of it, and of a state: |A^H L|^2, X = L L^H.

    A sum of squares, which no rounding makes negative where a state is nearly pure."""
    factor = jnp.linalg.cholesky(to_complex(state))
    sides = jnp.einsum("skir,ij->skrj", jnp.conj(roots), factor, precision="highest")
    return jnp.sum(jnp.real(sides) ** 2 + jnp.imag(sides) ** 2, axis=(-2, -1))


def _checked(
    operators: np.ndarray, counts: np.ndarray, before: tuple[str, ...] = ()
) -> tuple[Array, np.ndarray]:
    """A root of each operator, counts as integers. before: what further axes of counts are."""
    operators = np.asarray(as_array("operators", operators), complex)
    counts = np.asarray(as_array("counts", counts))
    if operators.ndim != 4 or operators.shape[-1] != operators.shape[-2]:
        raise ValueError(
            f"operators must have shape (settings, outcomes, n, n), got {operators.shape}"
        )
    if counts.shape[-2:] != operators.shape[:2] or counts.ndim != 2 + len(before):
        axes = ", ".join((*before, "settings", "outcomes"))
        raise ValueError(
            f"counts must have shape ({axes}), with {operators.shape[0]} settings and "
            f"{operators.shape[1]} outcomes, got {counts.shape}"
        )
    require_finite("operators", operators)
    require_finite("counts", counts)
    if np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise ValueError("counts must be whole numbers, not negative")
    n = operators.shape[-1]
    adjoint = np.conj(np.swapaxes(operators, -1, -2))
    if not np.allclose(operators, adjoint, atol=1e-6):
        raise ValueError("the operators of a measurement must be Hermitian")
    if not np.allclose(operators.sum(axis=1), np.eye(n), atol=1e-5):
        raise ValueError("the operators of each setting must add up to the identity")
    values, vectors = np.linalg.eigh(operators)
    if values.min() < -1e-6:
        raise ValueError("the operators of a measurement must be positive semidefinite")
    roots = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
    return jnp.asarray(roots, jnp.result_type(1j)), counts.astype(int)
