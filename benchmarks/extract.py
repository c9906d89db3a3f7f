"""Unpacks layer blobs into a directory with the package's own code, hashes included.

python -m benchmarks.extract DIRECTORY LAYER...
"""

import os
import sys
from pathlib import Path

from knarr.layers.read import open_layer
from knarr.layers.tar.read import TarReader
from knarr.rootfs.unpacking.unpack import apply_layer


def extract(directory: Path, layers: list[Path]) -> None:
    """Apply the layers, the lowest first, to an empty directory."""
    root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for layer in layers:
            with layer.open("rb") as packed, open_layer(packed) as stream:
                apply_layer(root_fd, TarReader(stream))
                stream.verify()
    finally:
        os.close(root_fd)


if __name__ == "__main__":
    extract(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
