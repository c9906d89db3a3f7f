"""Packs a small root file system around the machine's static busybox."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/bin"])
_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "sbin": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
}
_FILES = {
    "etc/group": "root:x:0:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
}


def make_base(target: Path) -> None:
    """Write the tar; the same busybox always gives the same bytes.

    Raises FileNotFoundError where there is no busybox.
    """
    busybox = shutil.which("busybox", path=_SEARCH_PATH)
    if busybox is None:
        raise FileNotFoundError("busybox")
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in _DIRECTORIES.items():
            archive.addfile(_entry(name, tarfile.DIRTYPE, mode))
        for name, text in _FILES.items():
            _add_file(archive, name, 0o644, text.encode())
        _add_file(archive, "bin/busybox", 0o755, Path(busybox).read_bytes())
        for applet in _applets(busybox):
            link = _entry(applet, tarfile.SYMTYPE, 0o777)
            link.linkname = "/bin/busybox"
            archive.addfile(link)


def _applets(busybox: str) -> list[str]:
    listing = subprocess.run([busybox, "--list-full"], check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listing.split() if name != "bin/busybox")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    return entry


def _add_file(archive: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
