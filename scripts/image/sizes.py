"""Measures what each part of an image weighs."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from scripts.image.tree import Tree

_PARTS: Mapping[str, tuple[str, ...]] = {
    "interpreter": ("knarr/bin/python3.11",),
    "C library, loader": (
        "knarr/lib/ld.so",
        "knarr/lib/libc.so",
        "knarr/lib/libm.so",
        "knarr/lib/libgcc_s.so",
    ),
    "OpenSSL": ("knarr/lib/libcrypto.so", "knarr/lib/libssl.so"),
    "other libraries": ("knarr/lib/lib",),
    "standard library": ("knarr/lib/python3.11/",),
    "certificates": ("knarr/ssl/",),
    "busybox": ("knarr/bin/busybox", "knarr/busybox/"),
    "zstandard": ("knarr/app/zstandard/",),
    "isal": ("knarr/app/isal/",),
    "httpx2, what it needs": tuple(
        f"knarr/app/{name}"
        for name in ("httpx2", "httpcore2", "h11", "anyio", "idna", "truststore", "typing_extensions")
    ),
    "typer, what it needs": ("knarr/app/typer", "knarr/app/annotated_doc", "knarr/app/shellingham"),
    "knarr": ("knarr/app/knarr/", "knarr/bin/knarr"),
    "licenses": ("knarr/share/",),
    "the rest": ("",),
}
"""Part to the beginnings of its paths; the first that fits counts."""
_LEVEL = 6


def write_size_table(tree: Tree, archive: Path, target: Path) -> None:
    """Write a Markdown table of the parts of a tree, with the size of the image in the archive below."""
    files: dict[str, list[Path]] = {part: [] for part in _PARTS}
    for half in (tree.runtime, tree.application):
        for path in sorted(half.rglob("*")):
            files[_part_of(str(path.relative_to(half)), is_directory=path.is_dir())].append(path)
    rows = [(part, *_weigh(paths)) for part, paths in files.items()]
    rows.sort(key=lambda row: -row[2])
    lines = [
        "# Size of the executor image",
        "",
        "Written by `make images` from the image it made. Each part is packed by itself, with gzip level 6;",
        "the image is packed by knarr, layer by layer.",
        "",
        "| part | bytes | compressed |",
        "|---|---:|---:|",
        *(f"| {part} | {size:,} | {packed:,} |" for part, size, packed in rows),
        f"| sum of the parts | {sum(row[1] for row in rows):,} | {sum(row[2] for row in rows):,} |",
        f"| **the image's layers** | | **{layer_bytes(archive):,}** |",
    ]
    target.write_text("\n".join(lines) + "\n")


def layer_bytes(archive: Path) -> int:
    """The compressed size of all layers of the image in an archive."""
    with tarfile.open(archive) as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        return sum(tar.getmember(name).size for name in json.load(listed)[0]["Layers"])


def _part_of(path: str, *, is_directory: bool) -> str:
    name = f"{path}/" if is_directory else path
    return next(part for part, beginnings in _PARTS.items() if name.startswith(beginnings))


def _weigh(paths: list[Path]) -> tuple[int, int]:
    """The bytes of the files, and of their compressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in paths:
            tar.add(path, arcname=str(path)[-90:], recursive=False)
    size = sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())
    return size, len(gzip.compress(buffer.getvalue(), _LEVEL, mtime=0))
