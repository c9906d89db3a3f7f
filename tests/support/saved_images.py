"""Saved images in the forms of docker, kaniko and OCI, written with the standard library alone."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.image_layout import Member, PlatformImage, tar_bytes, write_layout

LAYERS = (
    tar_bytes([Member("a", content=b"first")]),
    tar_bytes([Member("b", content=b"second" * 1000)]),
)


def image_config(layers: Sequence[bytes] = LAYERS) -> bytes:
    """A config of these plain layers."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    document = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/a"]}}
    return json.dumps({**document, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def write_archive(path: Path, members: Mapping[str, bytes | str]) -> Path:
    """A tarball of files, a text being the target of a symbolic link."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def docker_members(layers: Sequence[bytes] = LAYERS, **entry: Any) -> dict[str, bytes | str]:
    """Files of an old `docker save`: a directory a layer, with an uncompressed layer.tar."""
    config = image_config(layers)
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": ["app:1"], "Layers": names, **entry}]
    files: dict[str, bytes | str] = {name: config, **dict(zip(names, layers, strict=True))}
    return {**files, "manifest.json": json.dumps(manifest).encode(), "repositories": b"{}"}


def kaniko_members(layers: Sequence[bytes] = LAYERS) -> dict[str, bytes | str]:
    """Files of kaniko's `--tar-path`."""
    config = image_config(layers)
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    names = [f"{hashlib.sha256(data).hexdigest()}.tar.gz" for data in packed]
    config_name = f"sha256:{hashlib.sha256(config).hexdigest()}"
    manifest = [{"Config": config_name, "RepoTags": ["app:1"], "Layers": names}]
    files: dict[str, bytes | str] = {config_name: config, **dict(zip(names, packed, strict=True))}
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def write_oci_layout(directory: Path, *architectures: str) -> Path:
    """An OCI layout with an image, or an index of several."""
    directory.mkdir()
    layers = []
    for number, layer in enumerate(LAYERS):
        plain = directory.parent / f"{directory.name}-{number}.tar"
        plain.write_bytes(layer)
        layers.append(plain)
    names = architectures or ("amd64",)
    write_layout(directory, [PlatformImage(layers, {"Cmd": ["/a"]}, name) for name in names])
    return directory
