"""Builds as a user starts them, from a Dockerfile as text to a work directory that ends up empty."""

import json
import os
import subprocess
import sys
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.knarr_cli import EXECUTOR, knarr, mind_signals
from support.registry import Registry

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class Result:
    """How a build ended: `explanation` is what follows the first `error:` on stderr."""

    status: int
    output: str
    log: str

    @property
    def explanation(self) -> str:
        """The message with its hint."""
        before, error, message = self.log.rpartition("\nerror: ")
        return message if error else before.removeprefix("error: ") or self.log.removeprefix("error: ")


class Builds:
    """Starts builds whose docker.io is a test registry; contexts and work directories lie in `place`."""

    def __init__(self, registry: Registry, place: Path) -> None:
        self.registry = registry
        self.place = place
        self.work = place / "work"
        self.work.mkdir()

    def context(self, dockerfile: str, files: Mapping[str, str | bytes] | None = None) -> Path:
        """A directory with a Dockerfile and other files; the one before is replaced."""
        context = self.place / "context"
        context.mkdir(exist_ok=True)
        for name, content in {**(files or {}), "Dockerfile": dockerfile}.items():
            path = context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return context

    def arguments(self, context: Path, *arguments: str) -> list[str]:
        """The command line behind `knarr`."""
        registry = self.registry.host
        where = ["--registry-map", f"docker.io={registry}", "--insecure-registry", registry]
        return ["build", str(context), *where, *arguments]

    def build(
        self,
        dockerfile: str,
        *arguments: str,
        files: Mapping[str, str | bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        status: int = 0,
    ) -> Result:
        """Build, check the exit status, check that nothing stays in the work directory."""
        return self.run(
            self.arguments(self.context(dockerfile, files), *arguments),
            environment=environment,
            status=status,
        )

    def run(
        self, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, status: int = 0
    ) -> Result:
        """The same for a whole command line."""
        done = knarr(arguments, environment={"KNARR_DIR": str(self.work), **(environment or {})})
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert list(self.work.iterdir()) == []
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, dockerfile: str, *arguments: str) -> "subprocess.Popen[str]":
        """A build that runs when this returns; its standard error is a pipe."""
        command = [sys.executable, "-m", "knarr", *self.arguments(self.context(dockerfile), *arguments)]
        environment = {**os.environ, "PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(self.work)}
        return subprocess.Popen(
            command,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=mind_signals,
        )

    def name(self, repository_and_tag: str) -> str:
        """The full name of an image in the registry."""
        return f"{self.registry.host}/{repository_and_tag}"

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, none where it doesn't exist."""
        try:
            return list(json.loads(self.registry.get(f"{repository}/tags/list"))["tags"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

    def manifest(self, repository: str, tag: str) -> dict[str, Any]:
        """The manifest behind a tag, which must be an OCI one."""
        text = self.registry.get(f"{repository}/manifests/{tag}", {"Accept": MANIFEST_TYPE})
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    def config(self, repository: str, tag: str) -> dict[str, Any]:
        """The image config behind a tag."""
        digest = self.manifest(repository, tag)["config"]["digest"]
        config: dict[str, Any] = json.loads(self.registry.get(f"{repository}/blobs/{digest}"))
        return config


def check_explained(result: Result, *words: str) -> None:
    """Check a failure's message: a few lines, one of them a hint, with these words."""
    lines = result.explanation.splitlines()
    assert len(lines) <= 6, result.log
    assert any(line.startswith("hint: ") for line in lines), result.log
    for word in words:
        assert word in result.explanation, result.log
