"""Names of one file, kept together within a layer."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from knarr.layers.entry import NO_XATTRS, Entry, Kind, LayerItem


class HardLinks:
    """Remembers which inodes the layer has, by device and number."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], str] = {}

    def item(self, entry: Entry, status: os.stat_result, open_content: Callable[[], BinaryIO]) -> LayerItem:
        """The entry with its content, or as a HARDLINK to the name of the same inode that came first."""
        if status.st_nlink > 1 and entry.kind is not Kind.DIRECTORY:
            first = self._first.setdefault((status.st_dev, status.st_ino), entry.path)
            if first != entry.path:
                return LayerItem(
                    replace(
                        entry,
                        kind=Kind.HARDLINK,
                        size=0,
                        link_target=first,
                        xattrs=NO_XATTRS,
                        device=(0, 0),
                    )
                )
        return LayerItem(entry, open_content if entry.size else None)
