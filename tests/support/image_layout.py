"""Writes tar layers as well as OCI image layouts from lists of members, with the standard library alone."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

BASE_MTIME_S = 1_577_934_245  # 2020-01-02 03:04:05 UTC
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

_TAR_TYPES: Mapping[str, bytes] = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
}
_DEFAULT_MODES: Mapping[str, int] = {"dir": 0o755, "symlink": 0o777}


@dataclass(frozen=True, slots=True)
class Member:
    """One tar member: `path` without a leading slash, `target` for both kinds of link."""

    path: str
    kind: str = "file"
    content: bytes = b""
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    target: str = ""
    mtime_s: int = BASE_MTIME_S
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """An image of one platform: uncompressed tars from the lowest layer up, its run configuration."""

    layers: Sequence[Path]
    config: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"


def write_tar(stream: BinaryIO, members: Iterable[Member]) -> None:
    """Write the members in their order as one uncompressed archive."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(_header(member), io.BytesIO(member.content) if member.kind == "file" else None)


def tar_bytes(members: Iterable[Member]) -> bytes:
    """Give the archive that `write_tar` writes."""
    stream = io.BytesIO()
    write_tar(stream, members)
    return stream.getvalue()


def write_layout(directory: Path, images: Sequence[PlatformImage]) -> None:
    """Write an image layout with the reference name `latest`; several images become one index."""
    (directory / "blobs/sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    manifests = [_write_image(directory, image) for image in images]
    top = manifests[0]
    if len(manifests) > 1:
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
        top = _write_blob(directory, _json(index), INDEX_TYPE)
    top = {**top, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (directory / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [top]}))


def layout_digest(directory: Path) -> str:
    """Give the digest that the layout's only reference stands for."""
    index = json.loads((directory / "index.json").read_bytes())
    return str(index["manifests"][0]["digest"])


def _header(member: Member) -> tarfile.TarInfo:
    header = tarfile.TarInfo(member.path)
    header.type = _TAR_TYPES[member.kind]
    header.mode = _DEFAULT_MODES.get(member.kind, 0o644) if member.mode is None else member.mode
    header.uid, header.gid, header.mtime = member.uid, member.gid, member.mtime_s
    header.linkname = member.target
    header.size = len(member.content) if member.kind == "file" else 0
    header.devmajor, header.devminor = member.device
    header.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in member.xattrs.items()
    }
    return header


def _write_image(directory: Path, image: PlatformImage) -> dict[str, Any]:
    pairs = [_write_layer(directory, layer) for layer in image.layers]
    config = {
        "created": "2020-01-02T03:04:05Z",
        "architecture": image.architecture,
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in pairs]},
        "history": [
            {"created": "2020-01-02T03:04:05Z", "created_by": f"layer {number}"}
            for number in range(len(pairs))
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _write_blob(directory, _json(config), CONFIG_TYPE),
        "layers": [descriptor for descriptor, _ in pairs],
    }
    descriptor = _write_blob(directory, _json(manifest), MANIFEST_TYPE)
    return {**descriptor, "platform": {"os": "linux", "architecture": image.architecture}}


def _write_layer(directory: Path, layer: Path) -> tuple[dict[str, Any], str]:
    """Compress a layer into the layout; the result is its descriptor with its diff_id."""
    unnamed = directory / "layer.partial"
    with layer.open("rb") as source, unnamed.open("wb") as file:
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as compressed:
            shutil.copyfileobj(source, compressed, 1 << 20)
    digest, size_bytes = _digest(unnamed), unnamed.stat().st_size
    unnamed.rename(directory / "blobs/sha256" / digest.removeprefix("sha256:"))
    return {"mediaType": LAYER_TYPE, "digest": digest, "size": size_bytes}, _digest(layer)


def _write_blob(directory: Path, content: bytes, media_type: str) -> dict[str, Any]:
    hexadecimal = hashlib.sha256(content).hexdigest()
    (directory / "blobs/sha256" / hexadecimal).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": len(content)}


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
