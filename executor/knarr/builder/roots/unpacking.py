"""Layers on their way into a directory."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from knarr.builder.roots.backend import LayerFiller
from knarr.layers.tar.read import TarReader
from knarr.rootfs.unpacking.protection import Protection
from knarr.rootfs.unpacking.unpack import Loss, OwnerPolicy, apply_layer

OnLosses = Callable[[Sequence[Loss]], None]


def unpack_layers(
    root: Path,
    layers: LayerFiller,
    *,
    owner_policy: OwnerPolicy,
    protected: Protection | None = None,
    on_losses: OnLosses = lambda _: None,
) -> None:
    """Write layers to a directory where nothing else is at work; `on_losses` gets what each could not keep.

    Raises what `apply_layer` does, with a part of the layers written.
    """
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(reader: TarReader) -> None:
        applied = apply_layer(root_fd, reader, owner_policy=owner_policy, protected=protected)
        on_losses(applied.losses)

    try:
        layers(write)
    finally:
        os.close(root_fd)
