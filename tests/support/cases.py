"""Whole-build cases as directories: a Dockerfile, its context, `case.json` for what git cannot hold."""

import base64
import bz2
import gzip
import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from support.image_layout import BASE_MTIME_S, Member, tar_bytes

_DESCRIPTION = "case.json"
_NOT_CONTEXT = frozenset({_DESCRIPTION, "expected.json"})
_COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `fails` means that both builders must refuse it.

    `known_differences` maps patterns of difference lines to the reason why they are right.
    """

    name: str
    directory: Path
    dockerfile: str = "Dockerfile"
    target: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()
    known_differences: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False

    @classmethod
    def read(cls, directory: Path) -> "Case":
        """Read a case; an unknown key in its description raises TypeError."""
        description = directory / _DESCRIPTION
        values: dict[str, Any] = json.loads(description.read_text()) if description.exists() else {}
        return cls(name=directory.name, directory=directory, **values)

    def digest(self) -> str:
        """Give the digest of all that a build of the case depends on but its base images."""
        described = [self.dockerfile, self.target, self.build_args, self.labels, self.files]
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for path in sorted(self.directory.rglob("*")):
            if path.is_file() and path.name not in _NOT_CONTEXT:
                digest.update(f"{path.relative_to(self.directory)} {path.stat().st_mode & 0o100}\n".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def write_context(self, destination: Path) -> Path:
        """Write the context directory as it must be on disk: modes and times fixed, special files made."""
        shutil.copytree(self.directory, destination, symlinks=True)
        for name in _NOT_CONTEXT:
            (destination / name).unlink(missing_ok=True)
        _normalise(destination)
        for description in self.files:
            _make(destination, description)
        directories = [Path(directory) for directory, _, _ in os.walk(destination)]
        for directory in directories:
            _set_mtime(directory, BASE_MTIME_S)
        return destination


def read_cases(directory: Path) -> list[Case]:
    """Read all cases below a directory in the order of their names."""
    return [Case.read(each) for each in sorted(directory.iterdir()) if each.is_dir()]


def _normalise(root: Path) -> None:
    """Undo what a checkout's umask did: git itself holds no more of a mode than the executable bit."""
    for directory, _, names in os.walk(root):
        os.chmod(directory, 0o755)
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            _set_mtime(path, BASE_MTIME_S)


def _make(root: Path, description: Mapping[str, Any]) -> None:
    """Make one file of a description, whose only keys are those read here."""
    values = dict(description)
    path = root / values.pop("path")
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = values.pop("kind", "file")
    mode, owner = values.pop("mode", None), values.pop("owner", None)
    mtime_s = values.pop("mtime_s", BASE_MTIME_S)
    _MAKERS[kind](root, path, values)
    if values:
        raise ValueError(f"{path}: unknown keys {sorted(values)}")
    if kind == "hardlink":
        return
    if owner is not None:
        os.chown(path, *owner, follow_symlinks=False)
    if kind != "symlink":
        path.chmod(int(mode or ("755" if kind == "dir" else "644"), 8))
    _set_mtime(path, mtime_s)


def _make_file(_root: Path, path: Path, values: dict[str, Any]) -> None:
    if "base64" in values:
        path.write_bytes(base64.b64decode(values.pop("base64")))
    else:
        path.write_text(values.pop("content", "" if not path.exists() else path.read_text()))
    for name, value in values.pop("xattrs", {}).items():
        os.setxattr(path, name, value.encode())


def _make_directory(_root: Path, path: Path, _values: dict[str, Any]) -> None:
    path.mkdir(exist_ok=True)


def _make_symlink(_root: Path, path: Path, values: dict[str, Any]) -> None:
    path.symlink_to(values.pop("target"))


def _make_hard_link(root: Path, path: Path, values: dict[str, Any]) -> None:
    path.hardlink_to(root / values.pop("target"))


def _make_fifo(_root: Path, path: Path, _values: dict[str, Any]) -> None:
    os.mkfifo(path)


def _make_archive(_root: Path, path: Path, values: dict[str, Any]) -> None:
    members = [_member(each) for each in values.pop("members")]
    path.write_bytes(_COMPRESSIONS[values.pop("compression", "none")](tar_bytes(members)))


def _make_compressed(_root: Path, path: Path, values: dict[str, Any]) -> None:
    path.write_bytes(_COMPRESSIONS[values.pop("compression")](values.pop("content").encode()))


_MAKERS: Mapping[str, Callable[[Path, Path, dict[str, Any]], None]] = {
    "file": _make_file,
    "dir": _make_directory,
    "symlink": _make_symlink,
    "hardlink": _make_hard_link,
    "fifo": _make_fifo,
    "archive": _make_archive,
    "compressed": _make_compressed,
}


def _member(description: Mapping[str, Any]) -> Member:
    values = dict(description)
    if "mode" in values:
        values["mode"] = int(values["mode"], 8)
    values["content"] = values.get("content", "").encode()
    values["xattrs"] = {name: value.encode() for name, value in values.get("xattrs", {}).items()}
    return Member(**values)


def _set_mtime(path: Path, mtime_s: int) -> None:
    os.utime(path, (mtime_s, mtime_s), follow_symlinks=False)
