"""Images as other programs see them: pulled, loaded, unpacked, run."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.base_contents import small_bases
from support.builds import MANIFEST_TYPE, Builds
from support.docker_engine import Engine
from support.podman import Podman
from support.registry import Registry
from support.registry_put import put_image

pytestmark = [pytest.mark.root, pytest.mark.registry]

_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKERFILE = """\
FROM busybox
ENV GREETING=hello
COPY word /word
RUN echo "$GREETING $(cat /word)" > /said
WORKDIR /here
CMD ["sh", "-c", "cat /said; pwd"]
"""
_FILES = {"word": "world\n"}
_SAID = "hello world\n/here\n"


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    podman = Podman.make()
    try:
        yield podman
    finally:
        podman.close()


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of this test alone."""
    return "outputs/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.mark.podman
def test_podman_runs_a_pushed_image(builds: Builds, repository: str, podman: Podman) -> None:
    name = builds.name(f"{repository}:1")
    builds.build(_DOCKERFILE, "--destination", name, files=_FILES)
    assert podman.run(name) == _SAID


@pytest.mark.docker
def test_docker_runs_a_pushed_image(builds: Builds, repository: str, docker_engine: Engine) -> None:
    name = builds.name(f"{repository}:1")
    builds.build(_DOCKERFILE, "--destination", name, files=_FILES)
    docker_engine.pull(name)
    assert docker_engine.run(name) == _SAID


@pytest.mark.docker
def test_docker_runs_a_loaded_tarball(builds: Builds, repository: str, docker_engine: Engine) -> None:
    name, archive = builds.name(f"{repository}:1"), builds.place / "image.tar"
    builds.build(_DOCKERFILE, "--no-push", "--destination", name, "--tar-path", str(archive), files=_FILES)
    docker_engine.load(archive)
    assert docker_engine.run(name) == _SAID
    assert builds.tags(repository) == []


@pytest.mark.podman
def test_podman_runs_a_tarball_and_a_layout(builds: Builds, podman: Podman) -> None:
    archive, layout = builds.place / "image.tar", builds.place / "layout"
    builds.build(_DOCKERFILE, "--tar-path", str(archive), "--oci-layout-path", str(layout), files=_FILES)
    for transport, path in (("docker-archive", archive), ("oci-archive", archive), ("oci", layout)):
        assert podman.run(f"{transport}:{path}") == _SAID


def test_skopeo_reads_the_layout(builds: Builds) -> None:
    layout = builds.place / "layout"
    result = builds.build(
        _DOCKERFILE, "--no-push", "-d", "example.com/app:1.2", "--oci-layout-path", str(layout), files=_FILES
    )
    seen = json.loads(_output("skopeo", "inspect", f"oci:{layout}:1.2"))
    assert seen["Digest"] == result.output.strip()
    assert len(seen["Layers"]) == 4
    assert "GREETING=hello" in seen["Env"]


def test_umoci_unpacks_the_layout(builds: Builds) -> None:
    layout, bundle = builds.place / "layout", builds.place / "bundle"
    builds.build(
        _DOCKERFILE, "--no-push", "-d", "example.com/app:1.2", "--oci-layout-path", str(layout), files=_FILES
    )
    _output("umoci", "unpack", "--image", f"{layout}:1.2", str(bundle))
    assert (bundle / "rootfs/said").read_text() == "hello world\n"
    assert json.loads((bundle / "config.json").read_bytes())["process"]["cwd"] == "/here"
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_digest_file_holds_the_digest_alone(builds: Builds, repository: str) -> None:
    digest_file = builds.place / "deep/down/digest"
    result = builds.build(
        "FROM busybox\n", "-d", builds.name(f"{repository}:1"), "--digest-file", str(digest_file)
    )
    digest = digest_file.read_text()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert result.output == f"{digest}\n"
    assert builds.registry.get(f"{repository}/manifests/{digest}", {"Accept": MANIFEST_TYPE})


def test_digest_file_of_before_survives_a_failure(builds: Builds) -> None:
    digest_file = builds.place / "digest"
    digest_file.write_text("of the build before")
    builds.build("FROM busybox\nRUN exit 3\n", "--no-push", "--digest-file", str(digest_file), status=3)
    assert digest_file.read_text() == "of the build before"


def test_two_destinations_get_the_same_image(builds: Builds, repository: str) -> None:
    one, two, three = f"{repository}:1", f"{repository}:2", f"{repository}/other:3"
    flags = [word for name in (one, two, three) for word in ("-d", builds.name(name))]
    builds.build("FROM busybox\nRUN echo x > /x\n", *flags)
    assert sorted(builds.tags(repository)) == ["1", "2"]
    assert builds.tags(f"{repository}/other") == ["3"]
    first = builds.manifest(repository, "1")
    assert first == builds.manifest(repository, "2") == builds.manifest(f"{repository}/other", "3")


def test_no_push_pushes_nothing(builds: Builds, repository: str) -> None:
    result = builds.build(
        "FROM busybox\nRUN echo x > /x\n", "--no-push", "-d", builds.name(f"{repository}:1")
    )
    assert builds.tags(repository) == []
    assert result.output.startswith("sha256:")


def test_layout_into_a_layout_replaces_the_index(builds: Builds) -> None:
    layout = builds.place / "layout"
    flags = ("--no-push", "--oci-layout-path", str(layout), "-d")
    first = builds.build("FROM busybox\nCOPY a /\n", *flags, "example.com/app:1", files={"a": "1"})
    second = builds.build("FROM busybox\nCOPY a /\n", *flags, "example.com/app:2", files={"a": "2"})
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == second.output.strip()
    assert (layout / "blobs" / first.output.strip().replace(":", "/")).is_file()
    assert json.loads(_output("skopeo", "inspect", f"oci:{layout}:2"))["Digest"] == entry["digest"]


def test_layout_that_a_killed_build_left_is_healed(builds: Builds) -> None:
    layout = builds.place / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "ingest").mkdir()
    (layout / "ingest/tmpk1ll3d").write_bytes(b"a part of a blob")
    result = builds.build("FROM busybox\n", "--no-push", "--oci-layout-path", str(layout))
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert json.loads(_output("skopeo", "inspect", f"oci:{layout}:latest"))["Digest"] == result.output.strip()


def test_directory_of_other_things_is_refused(builds: Builds) -> None:
    directory = builds.place / "precious"
    directory.mkdir()
    (directory / "file").write_text("precious")
    result = builds.build("FROM busybox\n", "--no-push", "--oci-layout-path", str(directory), status=9)
    assert "is a directory with other files" in result.explanation
    assert [path.name for path in directory.iterdir()] == ["file"]


def test_layers_of_copies_are_the_same_each_time(builds: Builds, repository: str) -> None:
    dockerfile = "FROM busybox AS from\nFROM scratch\nCOPY a b /\nCOPY --from=from /etc /etc\n"
    context = builds.context(dockerfile, {"a": "1", "b": "2"})
    for tag in ("1", "2"):
        builds.run(builds.arguments(context, "-d", builds.name(f"{repository}:{tag}")))
    one, two = (builds.manifest(repository, tag)["layers"] for tag in ("1", "2"))
    assert one == two
    assert len(one) == 2


def test_history_has_an_entry_for_each_instruction(builds: Builds, repository: str) -> None:
    builds.build(_DOCKERFILE, "-d", builds.name(f"{repository}:1"), files=_FILES)
    config, manifest = builds.config(repository, "1"), builds.manifest(repository, "1")
    entries = config["history"]
    assert [entry.get("empty_layer", False) for entry in entries] == [False, True, False, False, False, True]
    words = ["layer 0", "ENV GREETING=hello", "COPY word /word", "RUN", "WORKDIR /here", "CMD"]
    for entry, word in zip(entries, words, strict=True):
        assert entry["created_by"].startswith(word)
    layers = [entry for entry in entries if not entry.get("empty_layer")]
    assert len(layers) == len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 4


def test_media_types_are_those_of_oci(builds: Builds, repository: str) -> None:
    builds.build(_DOCKERFILE, "-d", builds.name(f"{repository}:1"), files=_FILES)
    manifest = builds.manifest(repository, "1")
    assert manifest["mediaType"] == MANIFEST_TYPE
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert {layer["mediaType"] for layer in manifest["layers"]} == {_LAYER_TYPE}


def test_base_of_docker_types_becomes_oci_with_the_same_blobs(builds: Builds, repository: str) -> None:
    docker = f"docker://{builds.name(f'{repository}/docker:1')}"
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    source = f"docker://{builds.name('library/layered:latest')}"
    _output("skopeo", "copy", "--quiet", "--format", "v2s2", *tls, source, docker)
    theirs = _docker_manifest(builds, f"{repository}/docker")
    assert theirs["layers"][0]["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    builds.build(
        f"FROM {builds.name(f'{repository}/docker:1')}\nCOPY word /\n",
        "-d",
        builds.name(f"{repository}:1"),
        files=_FILES,
    )
    layers = builds.manifest(repository, "1")["layers"]
    assert {layer["mediaType"] for layer in layers} == {_LAYER_TYPE}
    assert [layer["digest"] for layer in layers[:-1]] == [layer["digest"] for layer in theirs["layers"]]


def test_base_is_mounted_in_the_destination_not_sent(builds: Builds, repository: str) -> None:
    result = builds.build(
        "FROM layered\nCOPY word /\n", "-d", builds.name(f"{repository}:1"), "-vdebug", files=_FILES
    )
    *base, ours = builds.manifest(repository, "1")["layers"]
    assert len(base) == len(small_bases()["layered"][0].layers)
    for layer in base:
        assert f"mounted {layer['digest'][:19]}" in result.log
        assert f"pushed {layer['digest'][:19]}" not in result.log
    assert f"pushed {ours['digest'][:19]}" in result.log
    log = (builds.registry.root / "log").read_text()
    sent = [line for line in log.splitlines() if f"/{repository}/blobs/uploads/" in line and '"PUT ' in line]
    assert not [line for line in sent for layer in base if layer["digest"] in line]


def test_base_without_history_still_gives_a_complete_one(builds: Builds, repository: str) -> None:
    base = f"{repository}/base"
    builds.build("FROM layered\n", "-d", builds.name(f"{base}:1"))
    config = builds.config(base, "1")
    del config["history"]
    put_image(builds.registry.host, base, "bald", config, builds.manifest(base, "1")["layers"])
    dockerfile = f"FROM {builds.name(f'{base}:bald')}\nCOPY word /\nENV A=1\n"
    builds.build(dockerfile, "-d", builds.name(f"{repository}:1"), files=_FILES)
    entries = builds.config(repository, "1")["history"]
    assert [entry.get("empty_layer", False) for entry in entries] == [False] * 4 + [True]


def test_stage_that_lends_a_file_leaves_nothing_else(builds: Builds, repository: str) -> None:
    dockerfile = "FROM busybox AS build\nRUN echo secret > /secret && echo tool > /tool\nFROM scratch\n"
    builds.build(f"{dockerfile}COPY --from=build /tool /\n", "-d", builds.name(f"{repository}:1"))
    bundle = builds.place / "copy"
    source = f"docker://{builds.name(f'{repository}:1')}"
    _output("skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{bundle}:1")
    _output("umoci", "unpack", "--image", f"{bundle}:1", str(builds.place / "bundle"))
    assert sorted(path.name for path in (builds.place / "bundle/rootfs").iterdir()) == ["tool"]


def _docker_manifest(builds: Builds, repository: str) -> dict[str, Any]:
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest: dict[str, Any] = json.loads(builds.registry.get(f"{repository}/manifests/1", accept))
    return manifest


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
