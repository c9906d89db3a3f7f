"""Base images of our own: made once, kept in a cache outside the repository, pushed to a test registry."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import base_contents, image_layout
from support.base_contents import Contents, small_bases
from support.image_layout import PlatformImage, layout_digest, write_layout, write_tar

SMALL = ("busybox", "layered", "onbuild", "fullconfig", "multiarch", "bare")
USUAL = (*SMALL, "debian")

_DEBIAN_PACKAGES: Mapping[str, Sequence[str]] = {
    "debian": (),
    "tools": ("ca-certificates", "git", "openssh-client", "rclone"),
    "large": ("python3", "nodejs", "npm", "gcc", "git"),
}
_NONROOT = "nonroot:x:65532:65532::/nonexistent:/bin/sh"
"""The user that `tools` has, as images do that are made to run without root; ssh runs for nobody else."""
_DEBIAN_EPOCH_S = 1_735_689_600  # 2025-01-01: no file of a base may look newer than a build's own files
_DEBIAN_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image on disk: an OCI layout whose only reference is `latest`."""

    name: str
    layout: Path

    @property
    def digest(self) -> str:
        """The digest of the manifest or index."""
        return layout_digest(self.layout)


def cache_directory() -> Path:
    """Give the directory kept between runs: $KNARR_TEST_CACHE, or else ~/.cache/knarr-tests."""
    named = os.environ.get("KNARR_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache/knarr-tests"


def base(name: str, cache: Path) -> Base:
    """Give a base image, making it when the cache lacks it: seconds for a small one, minutes for `large`."""
    make, key = _maker(name)
    layout = cache / "bases" / f"{name}-{key}"
    layout.parent.mkdir(parents=True, exist_ok=True)
    with made_once(layout):
        if not layout.exists():
            scratch = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=layout.parent))
            try:
                made = scratch / "layout"
                make(made, scratch)
                made.rename(layout)
            finally:
                shutil.rmtree(scratch)
    return Base(name, layout)


@contextmanager
def made_once(target: Path) -> Iterator[None]:
    """Keep others of this machine from making the same file or directory of the cache meanwhile."""
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def push(bases: Iterable[Base], registry_host: str) -> None:
    """Push each base as `library/NAME:latest`, so that the registry can stand in for docker.io."""
    for each in bases:
        destination = f"docker://{registry_host}/library/{each.name}:latest"
        command = ["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false"]
        subprocess.run(
            [*command, f"oci:{each.layout}:latest", destination], check=True, stdout=subprocess.DEVNULL
        )


def _maker(name: str) -> tuple[Callable[[Path, Path], None], str]:
    """Give what writes the layout, with a key that changes when the contents would."""
    if name in _DEBIAN_PACKAGES:
        command = _mmdebstrap_command(name)
        return lambda layout, scratch: _write_debian(layout, scratch, command), _key(
            " ".join(command).encode()
        )
    contents = small_bases()[name]
    sources = [Path(module.__file__ or "").read_bytes() for module in (base_contents, image_layout)]
    return lambda layout, scratch: _write_small(layout, scratch, contents), _key(*sources)


def _key(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _write_small(layout: Path, scratch: Path, contents: Sequence[Contents]) -> None:
    images = []
    for image in contents:
        tars = []
        for number, members in enumerate(image.layers):
            path = scratch / f"{image.architecture}-{number}.tar"
            with path.open("wb") as stream:
                write_tar(stream, members)
            tars.append(path)
        images.append(PlatformImage(tars, image.config, image.architecture))
    write_layout(layout, images)


def _mmdebstrap_command(name: str) -> list[str]:
    packages = _DEBIAN_PACKAGES[name]
    chosen = [f"--include={','.join(packages)}"] if packages else []
    hooks = [f"--customize-hook=echo {_NONROOT} >> $1/etc/passwd"] if name == "tools" else []
    return ["mmdebstrap", "--quiet", "--variant=minbase", *chosen, *hooks, "bookworm"]


def _write_debian(layout: Path, scratch: Path, command: Sequence[str]) -> None:
    root = scratch / "root.tar"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_DEBIAN_EPOCH_S)}
    subprocess.run([*command, root, "http://deb.debian.org/debian"], check=True, env=environment)
    write_layout(layout, [PlatformImage([root], {"Env": [_DEBIAN_ENV], "Cmd": ["bash"]})])
