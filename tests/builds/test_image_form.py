"""Media types, compression, annotations, platforms of what is built."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.base_contents import small_bases
from support.builds import Builds
from support.registry import Registry

pytestmark = pytest.mark.registry

USAGE_ERROR = 2
OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
DOCKERFILE = "FROM busybox\nCOPY a /a\n"
FILES = {"a": "text"}


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of this test alone."""
    return "form/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


def build(builds: Builds, repository: str, *arguments: str, dockerfile: str = DOCKERFILE) -> dict[str, Any]:
    """Build and push; the result is the manifest as the registry has it."""
    name = builds.name(f"{repository}:1")
    builds.build(dockerfile, "--isolation=none", f"--destination={name}", *arguments, files=FILES)
    accepted = f"{OCI}.manifest.v1+json, {DOCKER}.distribution.manifest.v2+json"
    manifest: dict[str, Any] = json.loads(
        builds.registry.get(f"{repository}/manifests/1", {"Accept": accepted})
    )
    return manifest


def layers_on(base: str) -> int:
    return len(small_bases()[base][0].layers)


def test_docker_format(builds: Builds, repository: str) -> None:
    manifest = build(builds, repository, "--image-format=docker")
    assert manifest["mediaType"] == f"{DOCKER}.distribution.manifest.v2+json"
    assert manifest["config"]["mediaType"] == f"{DOCKER}.container.image.v1+json"
    types = [layer["mediaType"] for layer in manifest["layers"]]
    assert types == [f"{DOCKER}.image.rootfs.diff.tar.gzip"] * (layers_on("busybox") + 1)
    on_it = build(builds, repository, dockerfile=f"FROM {builds.name(repository)}:1\nCOPY a /b\n")
    assert on_it["mediaType"] == f"{OCI}.manifest.v1+json"
    assert {layer["mediaType"] for layer in on_it["layers"]} == {f"{OCI}.layer.v1.tar+gzip"}
    digests = [layer["digest"] for layer in on_it["layers"]]
    assert digests[:-1] == [layer["digest"] for layer in manifest["layers"]]


def test_zstd_is_for_own_layers(builds: Builds, repository: str) -> None:
    manifest = build(builds, repository, "--compression=zstd", "--compression-level=19")
    types = [layer["mediaType"] for layer in manifest["layers"]]
    assert types == [f"{OCI}.layer.v1.tar+gzip"] * layers_on("busybox") + [f"{OCI}.layer.v1.tar+zstd"]
    blob = builds.registry.get(f"{repository}/blobs/{manifest['layers'][-1]['digest']}")
    tar = subprocess.run(["zstd", "-dc"], input=blob, check=True, capture_output=True).stdout
    assert tar.startswith(b"a\0")
    result = builds.build(
        f"FROM {builds.name(repository)}:1\nCOPY a /b\n",
        *("--isolation=none", "--no-push", "--image-format=docker"),
        files=FILES,
        status=USAGE_ERROR,
    )
    assert "tar+zstd, which is not Docker's" in result.explanation


def test_level_makes_layers_smaller(builds: Builds, repository: str) -> None:
    files = {"a": "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))}

    def size(level: str) -> int:
        name = builds.name(f"{repository}:1")
        arguments = ["--reproducible", f"--destination={name}", f"--compression-level={level}"]
        builds.build("FROM scratch\nCOPY a /a\n", *arguments, files=files)
        layer: int = builds.manifest(repository, "1")["layers"][0]["size"]
        return layer

    assert size("9") < size("1") == size("-1") == size("")


def test_annotations(builds: Builds, repository: str) -> None:
    more = ["--annotations", "c=d e", "--end", "--annotation=a=later"]
    manifest = build(builds, repository, "--annotation", "a=b=c", *more)
    assert manifest["annotations"] == {"a": "later", "c": "d e"}


def test_custom_platform(builds: Builds, repository: str) -> None:
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM multiarch AS tools\n"
        "FROM multiarch\nARG TARGETARCH BUILDARCH\n"
        "ENV ON=$BUILDARCH FOR=$TARGETARCH\nCOPY --from=tools / /t/\n"
    )
    manifest = build(builds, repository, "--customPlatform=linux/arm64", dockerfile=dockerfile)
    config = json.loads(builds.registry.get(f"{repository}/blobs/{manifest['config']['digest']}"))
    assert config["architecture"] == "arm64"
    assert {"ON=amd64", "FOR=arm64"} <= set(config["config"]["Env"])


def test_old_names_and_flags_without_effect_are_told(builds: Builds) -> None:
    result = builds.build(
        DOCKERFILE,
        "--isolation=none",
        *("--no-push", "--customPlatform=linux/amd64", "--compressed-caching=false"),
        f"--tarPath={builds.place}/image.tar",
        files=FILES,
    )
    assert "warning: --customPlatform is the old name of --custom-platform" in result.log
    assert "warning: --tarPath is the old name of --tar-path" in result.log
    assert "--compressed-caching changes nothing" in result.log
    assert (builds.place / "image.tar").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--compression=zstd", "--image-format=docker"],
        ["--compression=zstd", "--tar-path=/x"],
        ["--compression=bzip2"],
        ["--image-format=v2"],
        ["--compression-level=10"],
        ["--compression-level=high"],
        ["--annotation=a"],
        ["--custom-platform=linux/a/b/c"],
    ],
)
def test_refused(builds: Builds, arguments: list[str]) -> None:
    builds.build(DOCKERFILE, "--no-push", *arguments, status=USAGE_ERROR)


def test_empty_values_are_unset(builds: Builds) -> None:
    flags = "compression compression-level image-format custom-platform target isolation verbosity".split()
    empty = [f"--{flag}=" for flag in (*flags, "annotation", "github-output", "reproducible", "tar-path")]
    result = builds.build("FROM scratch\nCOPY a /\n", "--no-push=true", *empty, files=FILES)
    assert result.output.startswith("sha256:")
