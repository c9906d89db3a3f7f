"""Build contexts that are no directory yet: an archive in a file or on standard input."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from knarr.errors import ContextError
from knarr.layers.compression import open_decompressed
from knarr.layers.tar.read import TarReader
from knarr.linux.plain_directory import make_plain_directory
from knarr.rootfs.unpacking.unpack import OwnerPolicy, apply_layer


@dataclass(frozen=True, slots=True)
class ContextSource:
    """Where a build context comes from; `sub_path` is the part of it that counts."""

    path: Path | None
    """A directory, or an archive; None is an archive on standard input."""
    is_archive: bool = False
    sub_path: str = ""

    def open(self, work_dir: Path, stdin: BinaryIO) -> Path:
        """The context's directory; an archive (plain, gzip, zstd) is unpacked into `work_dir`.

        Nothing of an archive comes to lie outside. Raises ContextError, CorruptError for a bad archive.
        """
        base = self._unpack(work_dir / "unpacked-context", stdin) if self.is_archive else self.path
        assert base is not None, "only an archive comes by standard input"
        return _inside(base, self.sub_path) if self.sub_path else base

    def _unpack(self, target: Path, stdin: BinaryIO) -> Path:
        make_plain_directory(target)
        if self.path is None:
            _unpack_stream(stdin, target)
            if not any(target.iterdir()):
                raise ContextError(
                    "the build context on standard input is empty",
                    hint="tar://stdin reads an archive; did the program that writes it fail?",
                )
            return target
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise ContextError(f"can't read the build context {self.path}: {error.strerror}") from error
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ContextError(f"the build context {self.path} is not a regular file")
            _unpack_stream(file, target)
        return target


def _unpack_stream(stream: BinaryIO, target: Path) -> None:
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        members = TarReader(open_decompressed(stream), whiteouts=False)
        # Who owns files in a context doesn't matter: what is copied from it belongs to root.
        apply_layer(descriptor, members, owner_policy=OwnerPolicy.RECORD)
    finally:
        os.close(descriptor)


def _inside(base: Path, sub_path: str) -> Path:
    """A directory within the context; links that lead out of it are refused."""
    root = base.resolve()
    try:
        path = (root / sub_path.lstrip("/")).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ContextError(f"--context-sub-path {sub_path} can't be followed in {base}: {error}") from error
    if not path.is_relative_to(root):
        raise ContextError(f"--context-sub-path {sub_path} leads out of the build context {base}")
    if not path.is_dir():
        raise ContextError(
            f"--context-sub-path {sub_path} is not a directory of the build context {base}",
            hint="it is relative to the context's root",
        )
    return path
