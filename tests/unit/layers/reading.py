"""What the reader makes of an archive, in one go."""

import io

from knarr.layers.entry import Entry
from knarr.layers.tar.read import TarReader


def entries(data: bytes, *, whiteouts: bool = True) -> list[Entry]:
    return list(TarReader(io.BytesIO(data), whiteouts=whiteouts))


def contents(data: bytes) -> list[tuple[str, bytes]]:
    reader = TarReader(io.BytesIO(data))
    return [(entry.path, b"".join(map(bytes, reader.chunks()))) for entry in reader]


def only(data: bytes) -> Entry:
    (entry,) = entries(data)
    return entry
