"""Installs the Debian packages that a make target needs.

    python3 scripts/debian_packages.py demo|test|test-all|bench...

Looks for each package's program first; where all are there, it does nothing and needs no privilege. As root
it installs what is missing with apt-get and keeps the packages' services from starting. As anybody else it
names the packages that are missing; exit status 1.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

# Package to the programs of it that are called; `_is_present` looks closer at two of the packages.
PROGRAMS = {
    "buildah": ("buildah",),
    "busybox-static": ("busybox",),
    "catatonit": ("catatonit",),
    "docker-registry": ("docker-registry",),
    "docker.io": ("dockerd", "docker"),
    "e2fsprogs": ("mkfs.ext4",),
    "git": ("git",),
    "libcap2-bin": ("setcap",),
    "mmdebstrap": ("mmdebstrap",),
    "mount": ("mount", "umount"),
    "openssh-client": ("ssh", "ssh-add", "ssh-agent", "ssh-keygen"),
    "openssh-server": ("sshd",),
    "openssl": ("openssl",),
    "podman": ("podman",),
    "python3-venv": (),
    "qemu-user-static": ("qemu-aarch64-static",),
    "rsync": ("rsync",),
    "runc": ("runc",),
    "skopeo": ("skopeo",),
    "strace": ("strace",),
    "uidmap": ("newuidmap", "newgidmap"),
    "umoci": ("umoci",),
    "xz-utils": ("xz",),
    "zstd": ("zstd",),
}
_DEMO = ("busybox-static", "python3-venv")
_TEST = (
    *_DEMO,
    "docker-registry",
    "git",
    "libcap2-bin",
    "mount",
    "openssh-client",
    "openssh-server",
    "openssl",
    "skopeo",
    "uidmap",
    "umoci",
    "zstd",
)
# Podman starts containers with runc and pods with catatonit; gitlab-ci-local copies with rsync; the Docker
# engine unpacks .txz with xz.
_TEST_ALL = (
    *_TEST,
    "buildah",
    "catatonit",
    "docker.io",
    "mmdebstrap",
    "podman",
    "qemu-user-static",
    "rsync",
    "runc",
    "strace",
    "xz-utils",
)
_BENCH = ("python3-venv", "buildah", "docker-registry", "e2fsprogs", "mmdebstrap", "mount", "skopeo")
_GROUPS = {
    "venv": ("python3-venv",),
    "demo": _DEMO,
    "test": _TEST,
    "test-all": _TEST_ALL,
    "bench": _BENCH,
}

_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/bin"])
# invoke-rc.d asks this script before a package starts its service (Debian Policy 9.3.3.1); 101 says no.
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by Knarr's scripts/debian_packages.py for one apt-get run.\nexit 101\n"


def main(groups: list[str]) -> int:
    """Make sure of the groups' packages; returns the exit status."""
    unknown = sorted(set(groups) - set(_GROUPS))
    if unknown or not groups:
        print(f"usage: debian_packages.py {'|'.join(_GROUPS)}...", file=sys.stderr)
        return 2
    missing = find_missing(groups)
    if not missing:
        return 0
    if os.geteuid() != 0:
        return _explain(missing, "installing them needs root")
    if shutil.which("apt-get", path=_SEARCH_PATH) is None:
        return _explain(missing, "there is no apt-get here")
    print(f"installing with apt-get: {' '.join(missing)}", file=sys.stderr)
    with _services_held():
        _install(missing)
    still_missing = find_missing(groups)
    return _explain(still_missing, "apt-get did not bring them") if still_missing else 0


def find_missing(groups: list[str]) -> list[str]:
    """The groups' packages that are not here, sorted."""
    return sorted({package for group in groups for package in _GROUPS[group] if not _is_present(package)})


def _is_present(package: str) -> bool:
    if package == "python3-venv":
        # Debian takes ensurepip out of the python3 package; without it `python3 -m venv` gives no pip.
        return find_spec("venv") is not None and find_spec("ensurepip") is not None
    programs = [shutil.which(name, path=_SEARCH_PATH) for name in PROGRAMS[package]]
    if package == "busybox-static" and programs[0] is not None:
        return _is_static(Path(programs[0]))
    return None not in programs


def _is_static(program: Path) -> bool:
    # A dynamic ELF program names its loader (ld-linux, ld-musl) in the first page, after the program headers.
    with program.open("rb") as file:
        return b"/ld-" not in file.read(4096)


def _explain(missing: list[str], reason: str) -> int:
    packages = " ".join(missing)
    print(f"missing: {packages}; {reason}\nhint: as root: apt-get install {packages}", file=sys.stderr)
    return 1


def _install(packages: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        # stdout is for make's own result; apt's progress goes to the log.
        finished = subprocess.run(
            ["apt-get", *command], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
        if finished.returncode != 0:
            print(f"apt-get {command[0]} failed with status {finished.returncode}", file=sys.stderr)


@contextmanager
def _services_held() -> Iterator[None]:
    """Keep new packages from starting daemons that would take ports or the container socket.

    A policy that somebody else put there stays as it is, then and afterwards.
    """
    ours = not _POLICY.exists() or _POLICY.read_text(errors="replace") == _POLICY_TEXT
    if not ours:
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, before)


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
