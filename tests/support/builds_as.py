"""Whole builds by different users of the machine, in a place of their own."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.exec_request import Identity, interpreter
from support.flatten import FlatImage, flatten_layout
from support.open_package import open_package

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Result:
    """How a build ended; what it printed goes for stderr."""

    returncode: int
    output: str
    layout: Path

    @property
    def image(self) -> FlatImage:
        """The image; the test fails with the build's output where there is none."""
        assert self.returncode == 0, self.output
        return flatten_layout(self.layout)

    def text(self, path: str) -> str:
        """The content of a small file of the image."""
        return self.image.files[path].text

    def blobs(self) -> bytes:
        """All that the layout holds, layers uncompressed by nobody."""
        return b"".join(path.read_bytes() for path in self.layout.rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds as one identity in `place`; its context is the directory `context` in there."""

    identity: Identity
    place: Path
    registry_host: str
    work: Path

    @property
    def context(self) -> Path:
        return self.place / "context"

    def write(self, files: Mapping[str, str]) -> None:
        """Put files into the context."""
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.own(self.context)

    def own(self, top: Path) -> None:
        """Give a tree to the builder."""
        for path in (top, *top.rglob("*")):
            os.chown(path, self.identity.uid, self.identity.gid, follow_symlinks=False)

    def build(self, dockerfile: str, *flags: str, env: Mapping[str, str] | None = None) -> Result:
        """Build a Dockerfile; its directory of work must be empty afterwards."""
        file = self.place / "Dockerfile"
        file.write_text(dockerfile)
        layout = self.place / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        process = self.start(
            [str(self.context), f"--dockerfile={file}", "--no-push", f"--oci-layout-path={layout}", *flags],
            env,
        )
        output, _ = process.communicate(timeout=120)
        assert list(self.work.iterdir()) == [], "something was left behind"
        return Result(process.returncode, output, layout)

    def start(self, arguments: list[str], env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """A build that runs on."""
        host = self.registry_host
        pull = [f"--registry-map=docker.io={host}", f"--insecure-registry={host}"]
        return subprocess.Popen(
            [interpreter(self.identity), "-B", "-m", "knarr", "build", *arguments, *pull],
            env={"PATH": PATH, "PYTHONPATH": str(open_package()), "KNARR_DIR": str(self.work), **(env or {})},
            cwd=self.place,
            user=self.identity.uid,
            group=self.identity.gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def tree_digest(top: Path) -> str:
    """The digest of a tree: names, content, modes, owners, times."""
    digest = hashlib.sha256()
    for path in sorted((top, *top.rglob("*"))):
        facts = path.lstat()
        line = (path.relative_to(top), facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns)
        digest.update(repr(line).encode())
        if path.is_symlink():
            digest.update(os.readlink(path).encode())
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
