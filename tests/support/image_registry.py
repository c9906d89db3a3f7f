"""A registry that serves small images, and remembers what it was asked."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from urllib.parse import urlsplit

from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import History, ImageConfig
from knarr.oci.manifest import Descriptor, Manifest
from knarr.oci.platform import Platform
from support.faulty_registry import Answer, Asked
from support.registry_images import describe

AMD64 = Platform.parse("linux/amd64")


def layer_of(files: Mapping[str, bytes]) -> tuple[bytes, Digest]:
    """A gzipped layer with these files, and its diff_id."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0), Digest.of(out.getvalue())


class ImageRegistry:
    """One repository with one image under `latest`; the script of a FaultyRegistry."""

    def __init__(self, *layers: Mapping[str, bytes]) -> None:
        packed = [layer_of(files) for files in layers]
        self.diff_ids = [diff_id for _, diff_id in packed]
        self.layers = [describe(data, media_types.OCI_LAYER_GZIP) for data, _ in packed]
        config = ImageConfig.scratch(AMD64)
        for diff_id in self.diff_ids:
            config = config.with_layer(diff_id, History())
        data = config.to_bytes()
        self.manifest = Manifest(
            media_types.OCI_MANIFEST, describe(data, media_types.OCI_CONFIG), tuple(self.layers)
        )
        self.blobs = {str(Digest.of(each)): each for each in (data, *(blob for blob, _ in packed))}
        self.documents = {"latest": (media_types.OCI_MANIFEST, self.manifest.to_bytes())}
        self.documents[str(self.digest)] = self.documents["latest"]
        self.asked: list[str] = []

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.manifest.to_bytes())

    def pulled(self, descriptor: Descriptor) -> int:
        """How often a blob was asked for."""
        return self.asked.count(f"GET {descriptor.digest}")

    def forget(self) -> None:
        """Count anew."""
        self.asked.clear()

    def __call__(self, asked: Asked) -> Answer:
        path = urlsplit(asked.path).path
        name = path.rpartition("/")[2]
        self.asked.append(f"{asked.method} {name}")
        if "/manifests/" in path and name in self.documents:
            media_type, data = self.documents[name]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(data))}
            return Answer(200, b"" if asked.method == "HEAD" else data, headers)
        if name in self.blobs:
            return Answer(200, self.blobs[name])
        return Answer(404)
