"""Fetches Debian packages with the wheels of one architecture; needs no privilege, runs nothing of them."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.image.architecture import Architecture
from scripts.image.selection import DEBIAN_PACKAGES

REQUIREMENTS = Path(__file__).parents[2] / "images/requirements.txt"

_SUITES = (
    ("http://deb.debian.org/debian", "bookworm"),
    ("http://deb.debian.org/debian", "bookworm-updates"),
    ("http://deb.debian.org/debian-security", "bookworm-security"),
)
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The versions of glibc that wheels are built for, up to Debian 12's own.
_WHEEL_GLIBC = ("2_17", "2_24", "2_28", "2_34", "2_35")


@dataclass(frozen=True, slots=True)
class Downloads:
    """What was fetched, unpacked."""

    debian: Path
    """The packages' files, as they lie on a Debian system."""
    wheels: Path
    """The wheels' packages, side by side."""


def fetch(architecture: Architecture, directory: Path) -> Downloads:
    """Fetch what the directory does not hold yet; a directory that was filled once is taken as it is.

    Debian's packages are the newest of its suites, checked against the archive's signature; wheels are
    checked against images/requirements.txt. Raises CalledProcessError where a tool fails, having said why.
    """
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    result = Downloads(directory / "debian", directory / f"wheels-{pinned}")
    if not result.debian.exists():
        _fetch_debian(architecture, result.debian)
    if not result.wheels.exists():
        _fetch_wheels(architecture, result.wheels)
    return result


def _fetch_debian(architecture: Architecture, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        apt, packages, unpacked = (Path(directory, name) for name in ("apt", "packages", "unpacked"))
        for each in (apt / "lists/partial", apt / "cache/archives/partial", packages, unpacked):
            each.mkdir(parents=True)
        sources = "".join(f"deb [signed-by={_KEYRING}] {url} {suite} main\n" for url, suite in _SUITES)
        (apt / "sources.list").write_text(sources)
        (apt / "status").touch()
        options = _apt_options(apt, architecture)
        _run(["apt-get", *options, "-qq", "update"])
        _run(["apt-get", *options, "-qq", "download", *DEBIAN_PACKAGES], directory=packages)
        for package in sorted(packages.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(unpacked)])
        unpacked.rename(target)


def _apt_options(apt: Path, architecture: Architecture) -> list[str]:
    """Options that keep apt to lists of its own, whatever this machine's architecture, packages or user."""
    settings = {
        "APT::Architecture": architecture.debian,
        "APT::Architectures": architecture.debian,
        "APT::Sandbox::User": "",
        "APT::Update::Post-Invoke-Success": "",
        "Acquire::Languages": "none",
        "Dir::State": str(apt),
        "Dir::State::lists": str(apt / "lists"),
        "Dir::State::status": str(apt / "status"),
        "Dir::Cache": str(apt / "cache"),
        "Dir::Etc::sourcelist": str(apt / "sources.list"),
        "Dir::Etc::sourceparts": "-",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _fetch_wheels(architecture: Architecture, target: Path) -> None:
    platforms = [f"--platform=manylinux_{glibc}_{architecture.machine}" for glibc in _WHEEL_GLIBC]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    python = [
        "--only-binary=:all:",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
        "--abi=none",
    ]
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        archives, unpacked = Path(directory, "archives"), Path(directory, "unpacked")
        pinned = ["--require-hashes", f"--requirement={REQUIREMENTS}", f"--dest={archives}"]
        _run([*pip, *pinned, *python, *platforms])
        for archive in sorted(archives.glob("*.whl")):
            with zipfile.ZipFile(archive) as file:
                file.extractall(unpacked)
        unpacked.rename(target)


def _run(command: Sequence[str], *, directory: Path | None = None) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        command, check=True, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
