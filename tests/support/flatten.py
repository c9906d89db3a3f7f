"""Reads an image independently of the product: all its layers flattened to one table of files."""

import contextlib
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any, Self, cast

import zstandard

_KINDS: Mapping[bytes, str] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
_XATTR = "SCHILY.xattr."
_TEXT_LIMIT_BYTES = 1000
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What an image says of one path; `hard_links` are all the names of a file that has several.

    `text` is the content of a file that is short and UTF-8: for readable differences.
    """

    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    size_bytes: int = 0
    sha256: str = ""
    text: str = ""
    target: str = ""
    device: str = ""
    xattrs: Mapping[str, str] = field(default_factory=dict)
    hard_links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlatImage:
    """An image with its layers applied; `layer_files` are each layer's own paths without directories."""

    files: Mapping[str, FileFacts]
    config: Mapping[str, Any]
    layer_files: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Give a value that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        files = {
            path: FileFacts(**{**facts, "hard_links": tuple(facts["hard_links"])})
            for path, facts in value["files"].items()
        }
        return cls(files, value["config"], tuple(tuple(layer) for layer in value["layer_files"]))


def flatten_layout(layout: Path) -> FlatImage:
    """Flatten the only image of an OCI image layout."""
    manifest = _only_manifest(layout, json.loads((layout / "index.json").read_bytes()))
    config = json.loads(_blob(layout, manifest["config"]).read_bytes())
    return _flatten(config, [_open_layer(_blob(layout, descriptor)) for descriptor in manifest["layers"]])


def flatten_docker_archive(path: Path) -> FlatImage:
    """Flatten the only image of an archive that `docker save` or a like program wrote."""
    with tarfile.open(path, "r:") as archive:
        (image,) = json.loads(_member(archive, "manifest.json").read())
        config = json.loads(_member(archive, image["Config"]).read())
        return _flatten(config, [_open_member(archive, name) for name in image["Layers"]])


@dataclass(slots=True, eq=False)
class _Inode:
    facts: FileFacts


_Tree = dict[str, _Inode]


def _flatten(config: Mapping[str, Any], layers: list[AbstractContextManager[IO[bytes]]]) -> FlatImage:
    tree: _Tree = {}
    layer_files = []
    for opened in layers:
        with opened as stream:
            entries = list(_entries(stream))
        _apply(tree, entries)
        layer_files.append(tuple(sorted(_own_files(entries))))
    return FlatImage(_with_hard_links(tree), config, tuple(layer_files))


def _entries(stream: IO[bytes]) -> Iterator[tuple[str, FileFacts]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for header in archive:
            content = archive.extractfile(header) if header.isreg() else None
            yield _path(header.name), _facts(header, content)


def _facts(header: tarfile.TarInfo, content: IO[bytes] | None) -> FileFacts:
    kind = _KINDS[header.type]
    device = f"{header.devmajor}:{header.devminor}" if kind in ("char", "block") else ""
    target = _path(header.linkname) if kind == "hardlink" else header.linkname if kind == "symlink" else ""
    xattrs = {
        name.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape").hex()
        for name, value in header.pax_headers.items()
        if name.startswith(_XATTR)
    }
    sha256, text = _content_facts(content)
    return FileFacts(
        kind=kind,
        mode=header.mode & 0o7777,
        uid=header.uid,
        gid=header.gid,
        mtime_s=int(header.mtime // 1),
        size_bytes=header.size if kind == "file" else 0,
        target=target,
        device=device,
        xattrs=xattrs,
        sha256=sha256,
        text=text,
    )


def _apply(tree: _Tree, entries: list[tuple[str, FileFacts]]) -> None:
    """Apply one layer; its whiteouts hide only what lower layers hold (image-spec layer.md, "Whiteouts")."""
    for path, _ in entries:
        parent, name = os.path.split(path)
        if name == _OPAQUE:
            _remove_below(tree, parent)
        elif name.startswith(_WHITEOUT):
            hidden = os.path.join(parent, name.removeprefix(_WHITEOUT))
            _remove_below(tree, hidden)
            tree.pop(hidden, None)
    for path, facts in entries:
        if not os.path.basename(path).startswith(_WHITEOUT):
            _put(tree, path, facts)


def _put(tree: _Tree, path: str, facts: FileFacts) -> None:
    _imply_parents(tree, path)
    old = tree.get(path)
    new = tree[facts.target] if facts.kind == "hardlink" else _Inode(facts)
    if old and old.facts.kind == "dir" and new.facts.kind != "dir":
        _remove_below(tree, path)
    tree[path] = new


def _imply_parents(tree: _Tree, path: str) -> None:
    parent = os.path.dirname(path)
    while parent != "/":
        found = tree.get(parent)
        if found is None or found.facts.kind != "dir":
            tree[parent] = _Inode(FileFacts("dir"))
        parent = os.path.dirname(parent)


def _remove_below(tree: _Tree, directory: str) -> None:
    prefix = directory.rstrip("/") + "/"
    for path in [path for path in tree if path.startswith(prefix) and path != "/"]:
        del tree[path]


def _with_hard_links(tree: _Tree) -> dict[str, FileFacts]:
    names: dict[_Inode, list[str]] = {}
    for path in sorted(tree):
        names.setdefault(tree[path], []).append(path)
    return {
        path: replace(inode.facts, hard_links=tuple(names[inode])) if len(names[inode]) > 1 else inode.facts
        for path, inode in sorted(tree.items())
    }


def _own_files(entries: list[tuple[str, FileFacts]]) -> Iterator[str]:
    for path, facts in entries:
        if facts.kind != "dir" and not os.path.basename(path).startswith(_WHITEOUT):
            yield path


def _path(name: str) -> str:
    return os.path.normpath(f"/{name.lstrip('/')}")


def _content_facts(stream: IO[bytes] | None) -> tuple[str, str]:
    """Give the digest, with the text of a short file."""
    if stream is None:
        return "", ""
    digest = hashlib.sha256()
    start = chunk = stream.read(1 << 20)
    while chunk:
        digest.update(chunk)
        chunk = stream.read(1 << 20)
    text = ""
    if len(start) <= _TEXT_LIMIT_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            text = start.decode()
    return digest.hexdigest(), text


def _only_manifest(layout: Path, index: Mapping[str, Any]) -> Mapping[str, Any]:
    (descriptor,) = index["manifests"]
    value = json.loads(_blob(layout, descriptor).read_bytes())
    return _only_manifest(layout, value) if "manifests" in value else cast(Mapping[str, Any], value)


def _blob(layout: Path, descriptor: Mapping[str, Any]) -> Path:
    return layout / "blobs" / str(descriptor["digest"]).replace(":", "/")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{archive.name!s}: {name} is not a file")
    return stream


@contextmanager
def _open_member(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    with _member(archive, name) as stream, _decompressed(stream) as plain:
        yield plain


@contextmanager
def _open_layer(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stream, _decompressed(stream) as plain:
        yield plain


@contextmanager
def _decompressed(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        with GzipFile(fileobj=stream) as plain:
            yield cast(IO[bytes], plain)
    elif magic == b"\x28\xb5\x2f\xfd":
        yield cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    else:
        yield stream
