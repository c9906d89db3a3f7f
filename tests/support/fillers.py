"""Layers for a root file system, made of members of archives."""

import io
from collections.abc import Iterable

from knarr.builder.roots.backend import LayerFiller, WriteLayer
from knarr.layers.tar.read import TarReader
from support.image_layout import Member, tar_bytes


def filler(*layers: Iterable[Member]) -> LayerFiller:
    """Gives the layers, each of its members."""
    archives = [tar_bytes(members) for members in layers]

    def fill(write: WriteLayer) -> None:
        for archive in archives:
            write(TarReader(io.BytesIO(archive)))

    return fill


def files(*names: str) -> LayerFiller:
    """Gives one layer of files, each with its own name as its content."""
    return filler([Member(name, content=name.encode()) for name in names])
