"""Where the arrays of a state live: particles and chains over the axes of a device mesh."""

from __future__ import annotations

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree
from numpyro.util import is_prng_key

from ..latent import Evaluation, Layout, Sites
from ..state import KernelState

#: Names of mesh axes over which chains and particles are spread; others are the user's.
CHAINS, PARTICLES = "chains", "particles"


def checked_mesh(mesh: Mesh | None) -> Mesh | None:
    """The same devices, with axes over which the compiler arranges communication.

    Raises TypeError for anything but a mesh, ValueError for one without a known axis."""
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as of jax.make_mesh, got {mesh!r}")
    if not {CHAINS, PARTICLES} & set(mesh.axis_names):
        raise ValueError(
            f"mesh needs an axis named '{PARTICLES}' or '{CHAINS}', got {mesh.axis_names}: "
            f"jax.make_mesh((jax.device_count(),), ('{PARTICLES}',))"
        )
    return Mesh(mesh.devices, mesh.axis_names)


def place(state: KernelState, mesh: Mesh) -> KernelState:
    """The state with its particles and chains spread over the mesh and the rest on every device.

    Tangent and carry of the linearisation follow by themselves.
    Raises ValueError where the particles or the chains do not divide over their axis."""
    chains = () if is_prng_key(state.rng_key) else (_axis(mesh, CHAINS),)
    if chains:
        _require_whole(mesh, CHAINS, state.rng_key.shape[0], "num_chains")
    layout: Layout = state.layout.value
    globals_, particles = state.globals_, state.particles
    if particles:
        size = particles.felt.variation.shape[-1]
        _require_whole(mesh, PARTICLES, size, f"the plate '{layout.particles}'")

    def spread(tree: PyTree, *axes: str | None) -> PyTree:
        return _constrain(tree, mesh, *chains, *axes)

    def spread_evaluation(evaluation: Evaluation) -> Evaluation:
        values = _spread_values(evaluation.values, layout, mesh, chains)
        log_base = spread(evaluation.log_base, _axis(mesh, PARTICLES))
        return evaluation._replace(log_base=log_base, values=values)

    if globals_:
        globals_ = globals_._replace(
            **spread({"position": globals_.position, "slope": globals_.slope}),
            energy=spread(globals_.energy),
            aux=spread_evaluation(globals_.aux),
        )
    if particles:
        particles = particles._replace(
            frozen=particles.frozen._replace(aux=spread_evaluation(particles.frozen.aux)),
            particles=spread(particles.particles, _axis(mesh, PARTICLES)),
            felt=spread(particles.felt, _axis(mesh, PARTICLES)),
            momentum=spread(particles.momentum, _axis(mesh, PARTICLES)),
        )
    if isinstance(state.z, Sites):
        z = Sites(_spread_values(state.z, layout, mesh, chains), state.z.deterministics)
    else:
        z = spread(state.z)
    held = {"z": z, "globals_": globals_, "particles": particles}
    rest = {name: v for name, v in state._asdict().items() if name not in held}
    return KernelState(**held, **spread(rest))


def _spread_values(
    values: dict[str, Array], layout: Layout, mesh: Mesh, chains: tuple
) -> dict[str, Array]:
    spread = {}
    for site in layout.sites:
        inner: list[str | None] = [None] * len(site.value_shape)
        if site.particle_axis is not None:
            inner[site.particle_axis] = _axis(mesh, PARTICLES)
        spread[site.name] = _constrain(values[site.name], mesh, *chains, *inner)
    return spread


def _constrain(tree: PyTree, mesh: Mesh, *axes: str | None) -> PyTree:
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree)


def _axis(mesh: Mesh, name: str) -> str | None:
    return name if name in mesh.axis_names else None


def _require_whole(mesh: Mesh, axis: str, size: int, what: str) -> None:
    if axis in mesh.axis_names and size % mesh.shape[axis]:
        raise ValueError(
            f"{what} has size {size}, which does not divide over the {mesh.shape[axis]} devices of "
            f"the mesh axis '{axis}'; choose a multiple of {mesh.shape[axis]}"
        )
