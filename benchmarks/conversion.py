"""What it takes to turn a long run of many particles into InferenceData, a file and a report.

Mean matching on the simplex, four chains of 1000 draws of 2000 particles: 24 million numbers. CPU
seconds of each call, with the compilation of what it evaluates.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
from numpyro.infer import MCMC

import mmfld_ppl as mm
from benchmarks.overhead import simplex_matching

CHAINS, DRAWS, PARTICLES = 4, 1000, 2000


def run() -> list[dict]:
    mcmc = MCMC(
        mm.MMFLD(simplex_matching),
        num_warmup=100,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), PARTICLES)
    jax.block_until_ready(mcmc.get_samples())
    rows: list[dict] = []

    def timed(call: str, function: Callable[[], Any]) -> Any:
        begin = time.process_time()
        result = function()
        rows.append({"call": call, "CPU seconds": time.process_time() - begin})
        return result

    idata = timed("to_inference_data(mcmc)", lambda: mm.to_inference_data(mcmc))
    timed("the same again", lambda: mm.to_inference_data(mcmc))
    timed("..., dual=True", lambda: mm.to_inference_data(mcmc, dual=True))
    with tempfile.TemporaryDirectory() as folder:
        timed("idata.to_netcdf(path)", lambda: idata.to_netcdf(f"{folder}/run.nc"))
    timed("diagnose(idata)", lambda: mm.diagnose(idata))
    idata = timed("..., diagnostics=True", lambda: mm.to_inference_data(mcmc, diagnostics=True))
    timed("diagnose(idata)", lambda: mm.diagnose(idata))
    return rows


if __name__ == "__main__":
    from benchmarks.__main__ import print_rows

    print_rows(run())
