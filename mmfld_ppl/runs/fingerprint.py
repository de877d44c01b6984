"""What must be the same for a run to be continued."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree
from numpyro.distributions import Distribution
from numpyro.infer import MCMC

from ..devices import default_device
from ..digests import digest
from ..inference_data.attributes import kernel_settings, run_attributes

Fingerprint = dict[str, Any]

#: What each entry is called in an error.
MEANING = {
    "mmfld_ppl": "the version of mmfld_ppl",
    "numpyro": "the version of numpyro",
    "kernel": "the kernel",
    "settings": "the settings of the kernel",
    "sites": "what a draw consists of",
    "arguments": "the arguments of the model",
    "init_params": "init_params",
    "key": "the key",
    "key_type": "the type of the key",
    "chains": "num_chains",
    "warmup": "num_warmup",
    "collect_warmup": "collect_warmup",
    "thinning": "thinning",
    "remainder": "the remainder of num_samples by thinning",
    "export": "the options of export=",
    "program": "the model, its data or the kernel, as compiled",
}
#: Of potential energies that two compilers compute in single precision, relative and absolute.
ENERGY_TOLERANCE = 1e-3
#: Entries that are shown; the others are digests.
SHOWN = ("mmfld_ppl", "numpyro", "kernel", "key_type", "chains", "warmup", "thinning", "remainder")


def fingerprint(
    mcmc: MCMC, key: Array, init_params: PyTree, one: Mapping[str, Any], **more: Any
) -> Fingerprint:
    """Of a run with its model arguments set. one: the fields of one draw."""
    attrs = run_attributes(mcmc)
    fields, _ = jax.tree.flatten_with_path(dict(one))
    return {
        "mmfld_ppl": attrs["creation_library_version"],
        "numpyro": attrs["inference_library_version"],
        "kernel": attrs["kernel"],
        "settings": json.dumps(kernel_settings(mcmc.sampler), sort_keys=True, default=str),
        "sites": {jax.tree_util.keystr(k): [list(v.shape), str(v.dtype)] for k, v in fields},
        "arguments": digest(spelled_out((mcmc._args, mcmc._kwargs))),
        "init_params": digest(init_params),
        "key": digest(key),
        "key_type": str(key.dtype),
        "chains": mcmc.num_chains,
        "warmup": mcmc.num_warmup,
        "thinning": mcmc.thinning,
        "remainder": mcmc.num_samples % mcmc.thinning,
        **more,
    }


def spelled_out(tree: PyTree) -> PyTree:
    """Distributions as their fields by name: NumPyro gathers these in sets, whose order differs
    from process to process."""

    def one(value: Any) -> PyTree:
        if not isinstance(value, Distribution):
            return value
        kind = type(value)
        names = {*kind.gather_pytree_data_fields(), *kind.gather_pytree_aux_fields()}
        fields = {name: vars(value).get(name) for name in names}
        return f"{kind.__module__}.{kind.__qualname__}", spelled_out(fields)

    return jax.tree.map(one, tree, is_leaf=lambda value: isinstance(value, Distribution))


def compiler() -> str:
    """What makes the last bits of a run beside the program."""
    device = default_device()
    return f"jax {jax.__version__} on {device.platform} ({device.device_kind})"


def require_same(path: Path, stored: Fingerprint, now: Fingerprint) -> None:
    """Raises ValueError with all that differs."""
    found = []
    for name, value in now.items():
        if name in stored and stored[name] != value:
            detail = f" (store: {stored[name]}, now: {value})" if name in SHOWN else ""
            if name == "sites":
                detail = f" ({_difference(stored[name], value)})"
            found.append(f"{MEANING[name]}{detail}")
    if found:
        raise ValueError(
            f"the run in {path} cannot be continued by this call, which differs in "
            f"{'; '.join(found)}. The store was left as it is: call mm.run as it was called, or "
            "pass another path"
        )


def energies_of(state: PyTree) -> list[float]:
    """Of each chain, by the fields `potential_energy` of the state, or of states in it; empty for
    kernels that keep none."""
    leaves, _ = jax.tree.flatten_with_path(state)
    found = [
        np.ravel(leaf)
        for path, leaf in leaves
        if path and getattr(path[-1], "name", None) == "potential_energy"
    ]
    return np.concatenate([np.zeros(0), *found]).tolist()


def require_energies(path: Path, stored: list[float], now: list[float]) -> None:
    """Raises ValueError when the first state has other densities, by more than rounding."""
    if not np.allclose(stored, now, ENERGY_TOLERANCE, ENERGY_TOLERANCE, equal_nan=True):
        raise ValueError(
            f"the run in {path} cannot be continued by this call: its first point had the "
            f"potential energies {stored} and has {now} now, so the model or its data are others. "
            "The store was left as it is: call mm.run as it was called, or pass another path"
        )


def warn_of_compiler(stored: str, now: str) -> None:
    """Warns that the draws cannot be the same to the last bit, the compilers being different."""
    warnings.warn(
        f"the run was begun with {stored} and goes on with {now}: its draws are valid, but not "
        "bit for bit those of an uninterrupted run",
        stacklevel=4,
    )


def _difference(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [n for n in {**stored, **now} if stored.get(n) != now.get(n)]
    return ", ".join(
        f"{n}: {stored.get(n, 'absent')} in the store, {now.get(n, 'absent')} now" for n in names
    )
