"""The files of the executor's image, as a directory to change the root to."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path


def extract_executor(archive: Path, root: Path) -> None:
    """Write the files of an archive for `docker load` to a new directory, with what a runtime adds."""
    root.mkdir()
    with tarfile.open(archive) as image:
        manifest = image.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            layer = image.extractfile(name)
            assert layer is not None
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.read()))) as files:
                files.extractall(root, filter="fully_trusted")
    for name in ("proc", "dev"):
        (root / name).mkdir()
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
