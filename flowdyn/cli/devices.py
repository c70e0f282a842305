"""The device that the shell's programs run on: the first of the kind that ``--device`` names."""

import contextlib
from collections.abc import Iterator

from flowdyn import _check


@contextlib.contextmanager
def on_device(kind: str | None) -> Iterator[None]:
    """Have JAX run on a device of this kind for a while; None leaves it to JAX."""
    if kind is None:
        yield
        return
    import jax

    try:
        device = jax.devices(kind)[0]
    except RuntimeError:
        found = sorted({known.platform for known in jax.devices()} | {"cpu"})  # JAX lists those of the best kind alone
        raise _check.fail("--device", f"must be a kind of device that JAX finds here, of {found}", kind) from None
    before = jax.config.values["jax_default_device"]
    jax.config.update("jax_default_device", device)  # of the process: a context of JAX would be that of one thread
    try:
        yield
    finally:
        jax.config.update("jax_default_device", before)
