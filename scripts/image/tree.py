"""Lays out the images' files: the runtime below /knarr, the application, what a shell expects in `/`."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.image.architecture import Architecture
from scripts.image.bytecode import Compiler
from scripts.image.downloads import Downloads
from scripts.image.elf import is_elf, needed_libraries, search_paths, with_interpreter, without_sections
from scripts.image.path_patches import CA_BUNDLE, NSS_CONFIG, patch_paths
from scripts.image.selection import (
    KEPT_OF,
    OPENED_BY_NAME,
    PYTHON,
    STDLIB_LEFT_OUT,
    WHEEL_PARTS_LEFT_OUT,
)

PACKAGE = Path(__file__).parents[2] / "executor/knarr"
LICENSE = Path(__file__).parents[2] / "LICENSE"
LAUNCHER = Path(__file__).parents[2] / "images/knarr"

_LOADER = "/knarr/lib/ld.so"
_DIRECTORIES = {
    "cache": 0o755,
    "kaniko": 0o777,
    "kaniko/.docker": 0o755,
    "kaniko/ssl/certs": 0o755,
    "root": 0o755,  # any user's HOME
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "workspace": 0o755,
}
_LINKS = {
    # Two links, so that a whole shell is put back after a build in place with little work.
    "bin": "knarr/busybox",
    "busybox": "knarr/busybox",
    "kaniko/executor": "/knarr/bin/knarr",
    "kaniko/warmer": "/knarr/bin/knarr",
}
_TEXTS = {
    "etc/group": "root:x:0:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "knarr/image": "A build in place may replace all of / but this directory.\n",
    NSS_CONFIG: "passwd: files\ngroup: files\nhosts: files dns\n",
}


class TreeError(Exception):
    """The downloads do not hold what an image needs."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The two halves of the image, each the content of a layer; what changes rarely comes first."""

    runtime: Path
    application: Path


def lay_out(architecture: Architecture, downloads: Downloads, compiler: Compiler, directory: Path) -> Tree:
    """Fill a new directory; raises TreeError, ElfError, DoorError where the downloads are not as expected."""
    tree = Tree(directory / "runtime", directory / "application")
    _Runtime(architecture, downloads, tree.runtime).lay_out(_busybox_applets(compiler.downloads))
    _lay_out_application(downloads, tree.application / "knarr/app")
    compiler.compile(tree.runtime)
    compiler.compile(tree.application)
    _write(tree.application / "knarr/bin/knarr", LAUNCHER.read_bytes(), 0o755)
    # Of the runtime all that its native code needs must be there; the wheels' needs nothing else.
    _add_libraries(architecture, downloads, tree)
    for half in (tree.runtime, tree.application):
        _set_times(half)
    return tree


class _Runtime:
    """The interpreter with its library, certificates, busybox, licenses."""

    def __init__(self, architecture: Architecture, downloads: Downloads, root: Path) -> None:
        self._architecture = architecture
        self._debian = downloads.debian
        self._root = root

    def lay_out(self, applets: Iterable[str]) -> None:
        for name, mode in _DIRECTORIES.items():
            (self._root / name).mkdir(parents=True)
            (self._root / name).chmod(mode)
        self._add_interpreter()
        self._add_standard_library()
        self._add_certificates()
        self._add_busybox(applets)
        self._add_licenses()
        for name, text in _TEXTS.items():
            _write(self._root / name, text.encode())
        for name, target in _LINKS.items():
            (self._root / name).symlink_to(target)

    def _add_interpreter(self) -> None:
        data = (self._debian / "usr/bin" / PYTHON).read_bytes()
        _write(self._root / "knarr/bin" / PYTHON, with_interpreter(data, _LOADER), 0o755)
        loader = Path(f"{self._debian}{self._architecture.loader}")
        data = patch_paths(loader.name, loader.read_bytes(), self._architecture)
        _write(Path(f"{self._root}{_LOADER}"), data, 0o755)

    def _add_standard_library(self) -> None:
        source, target = self._debian / "usr/lib" / PYTHON, self._root / "knarr/lib" / PYTHON
        shutil.copytree(source, target, symlinks=True, ignore=_in(source, self._is_left_out))

    @staticmethod
    def _is_left_out(path: Path) -> bool:
        if path.name == "__pycache__":
            return True
        module = str(path.with_name(path.name.partition(".")[0]))
        kept = KEPT_OF.get(str(path.parent))
        if kept is not None and path.name not in kept and path.name.partition(".")[0] not in kept:
            return True
        return module in STDLIB_LEFT_OUT or path.name in STDLIB_LEFT_OUT

    def _add_certificates(self) -> None:
        files = sorted((self._debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))
        if not files:
            raise TreeError("ca-certificates holds no certificates")
        _write(self._root / CA_BUNDLE, b"".join(file.read_bytes() for file in files))

    def _add_busybox(self, applets: Iterable[str]) -> None:
        program = self._debian / "bin/busybox"
        _write(self._root / "knarr/bin/busybox", program.read_bytes(), 0o755)
        directory = self._root / "knarr/busybox"
        directory.mkdir(parents=True)
        for name in applets:
            (directory / name).symlink_to("../bin/busybox")

    def _add_licenses(self) -> None:
        for file in sorted((self._debian / "usr/share/doc").glob("*/copyright")):
            if not file.is_symlink():
                _write(self._root / "knarr/share/licenses" / file.parent.name, file.read_bytes())


def _lay_out_application(downloads: Downloads, target: Path) -> None:
    target.mkdir(parents=True)
    for source in sorted(downloads.wheels.iterdir()):
        if source.name.endswith(".dist-info"):
            _add_wheel_information(source, target)
        elif source.is_dir():
            left_out = WHEEL_PARTS_LEFT_OUT.get(source.name, ())
            shutil.copytree(source, target / source.name, ignore=_in(source, _starts_with(left_out)))
        elif source.suffix == ".py":
            shutil.copy(source, target / source.name)
    shutil.copytree(PACKAGE, target / "knarr", ignore=shutil.ignore_patterns("__pycache__"))
    _write(target.parent / "share/licenses/knarr", LICENSE.read_bytes())
    for path in _elf_files(target):
        data = without_sections(path.read_bytes())
        if search_paths(data):
            raise TreeError(f"{path.name} has its libraries searched for elsewhere: {search_paths(data)}")
        _write(path, data, 0o755)


def _add_wheel_information(information: Path, target: Path) -> None:
    """Add what packages ask for their own version, without the description, and the licenses."""
    head, _, _ = (information / "METADATA").read_bytes().partition(b"\n\n")
    _write(target / information.name / "METADATA", head + b"\n")
    for file in sorted(information.rglob("*")):
        if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")):
            name = f"{information.name.partition('-')[0]}.{file.name}"
            _write(target.parent / "share/licenses" / name, file.read_bytes())


def _add_libraries(architecture: Architecture, downloads: Downloads, tree: Tree) -> None:
    """Add the libraries that anything native needs, and those that these need."""
    loader = architecture.loader.rpartition("/")[2]
    there = {loader}
    waiting = list(OPENED_BY_NAME)
    for half in (tree.runtime, tree.application):
        for path in _elf_files(half):
            waiting += needed_libraries(path.read_bytes())
    while waiting:
        name = waiting.pop()
        if name in there:
            continue
        there.add(name)
        data = _find_library(name, downloads.debian, architecture).read_bytes()
        _write(tree.runtime / "knarr/lib" / name, patch_paths(name, data, architecture))
        waiting += needed_libraries(data)


def _find_library(name: str, debian: Path, architecture: Architecture) -> Path:
    for part in ("lib", "usr/lib"):
        path = debian / part / architecture.triplet / name
        if path.exists():
            return path
    raise TreeError(f"no package of selection.DEBIAN_PACKAGES has {name}")


def _busybox_applets(native: Downloads) -> Iterable[str]:
    """The names of this machine's busybox-static; Debian builds it alike for all architectures."""
    command = [str(native.debian / "bin/busybox"), "--list"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def _elf_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if is_elf(file.read(16)):
                    yield path


def _starts_with(beginnings: Iterable[str]) -> Callable[[Path], bool]:
    """Whether a path begins so, or is only read by developers."""
    parts = tuple(beginnings)
    return lambda path: str(path).startswith(parts) or path.suffix in (".pyi", ".typed", ".c", ".h")


def _in(top: Path, is_left_out: Callable[[Path], bool]) -> Callable[[str, list[str]], list[str]]:
    def ignored(directory: str, names: list[str]) -> list[str]:
        below = Path(directory).relative_to(top)
        return [name for name in names if is_left_out(below / name)]

    return ignored


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _set_times(directory: Path) -> None:
    """Give everything the time 0, so that the same content makes the same layer."""
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)
