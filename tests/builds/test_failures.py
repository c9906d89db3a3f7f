"""Every way to fail: the right status, a short message with a hint, and nothing left behind."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.bases import Base, push
from support.builds import Builds, Result, check_explained
from support.registry import Registry
from support.registry_put import put_image

pytestmark = [pytest.mark.root, pytest.mark.registry]

USAGE, DOCKERFILE, CONTEXT, REGISTRY, AUTH, CORRUPT, ISOLATION, OUTPUT = range(2, 10)
_RUN = "FROM busybox\nRUN true\n"
_DEAD = "127.0.0.1:1"


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


@pytest.fixture(scope="module")
def spoilt_registry(bases: list[Base], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of its own, whose data may be damaged."""
    registry = Registry.start(tmp_path_factory.mktemp("spoilt"))
    try:
        push([each for each in bases if each.name in ("busybox", "layered")], registry.host)
        yield registry
    finally:
        registry.stop()


def _repository(builds: Builds) -> str:
    """A repository of the test alone, as its directory is."""
    return "failures/" + re.sub(r"[^a-z0-9]+", "-", builds.place.name.lower())


def _destination(builds: Builds) -> tuple[str, str]:
    return "-d", builds.name(f"{_repository(builds)}:1")


def _fail(builds: Builds, dockerfile: str, status: int, *arguments: str) -> Result:
    """Build what must fail, pushing and writing everything; then none of it may be there."""
    out = builds.place / "out"
    out.mkdir(exist_ok=True)
    files = {"kept": "kept", "hidden": "hidden", ".dockerignore": "hidden\n"}
    outputs = [
        "--tar-path",
        out / "tar",
        "--oci-layout-path",
        out / "layout",
        "--digest-file",
        out / "digest",
    ]
    result = builds.build(
        dockerfile, *_destination(builds), *map(str, outputs), *arguments, files=files, status=status
    )
    assert result.output == ""
    assert list(out.iterdir()) == []
    assert builds.tags(_repository(builds)) == []
    return result


@dataclass(frozen=True)
class Failure:
    """A Dockerfile, with flags, that can't be built; `words` must be in the explanation."""

    dockerfile: str
    status: int
    words: Sequence[str]
    arguments: Sequence[str] = ()


FAILURES = {
    "empty": Failure("", DOCKERFILE, ["Dockerfile", "no instructions"]),
    "comments": Failure("# nothing\n\n", DOCKERFILE, ["Dockerfile", "no instructions"]),
    "instruction": Failure("FROM busybox\nRUM x\n", DOCKERFILE, ["Dockerfile:2", "RUM", "did you mean RUN?"]),
    "no-from": Failure("RUN x\n", DOCKERFILE, ["Dockerfile:1", "first FROM"]),
    "run": Failure("FROM busybox\nRUN exit 7\n", 7, ["Dockerfile:2", "RUN exit 7", "status 7"]),
    "run-killed": Failure("FROM busybox\nRUN kill -9 $$\n", 137, ["Dockerfile:2", "SIGKILL", "memory"]),
    "run-terminated": Failure("FROM busybox\nRUN kill $$\n", 143, ["Dockerfile:2", "SIGTERM"]),
    "run-second": Failure("FROM busybox\nRUN echo > /x\nRUN false\n", 1, ["Dockerfile:3", "RUN false"]),
    "command": Failure("FROM busybox\nRUN nosuch\n", 127, ["Dockerfile:2", "RUN nosuch", "127"]),
    "program": Failure('FROM busybox\nRUN ["/no/such"]\n', 127, ["Dockerfile:2", "/no/such", "not found"]),
    "shell": Failure("FROM scratch\nRUN true\n", 127, ["Dockerfile:2", "/bin/sh", "exec form"]),
    "directory": Failure('FROM busybox\nRUN ["/etc"]\n', 126, ["Dockerfile:2", "/etc"]),
    "pull": Failure(f"FROM {_DEAD}/x\n", REGISTRY, ["Dockerfile:1", _DEAD, "is the registry running?"]),
    "push": Failure(_RUN, REGISTRY, [f"{_DEAD}/x", "push"], ["-d", f"{_DEAD}/x:1"]),
    "source": Failure("FROM busybox\nCOPY nosuch /\n", CONTEXT, ["Dockerfile:2", "nosuch", "build context"]),
    "hidden": Failure("FROM busybox\nCOPY hidden /\n", CONTEXT, ["Dockerfile:2", "hidden", ".dockerignore"]),
    "copy-from": Failure(
        "FROM busybox\nCOPY --from=busybox /nosuch /\n", CONTEXT, ["Dockerfile:2", "/nosuch", "--from"]
    ),
    "deletion": Failure(
        "FROM busybox\nRUN rm /etc/passwd && touch /.wh.etc\n",
        CONTEXT,
        ["Dockerfile:2", "/.wh.etc", "deletion"],
    ),
    "deletion-below": Failure(
        "FROM busybox\nRUN mkdir /.wh... && touch /.wh.../x\n",
        CONTEXT,
        ["Dockerfile:2", "/.wh...", "deletion"],
    ),
    "user": Failure("FROM busybox\nUSER nosuch\nRUN true\n", CONTEXT, ["Dockerfile:3", "nosuch"]),
    "target": Failure(
        "FROM busybox AS build\nFROM busybox AS final\n", DOCKERFILE, ["finl", "final"], ["--target=finl"]
    ),
    "platform": Failure(
        "FROM --platform=linux/s390x multiarch\n", REGISTRY, ["Dockerfile:1", "s390x", "linux/arm64"]
    ),
    "flag": Failure(_RUN, USAGE, ["--destnation", "--destination"], ["--destnation=x"]),
    "isolation": Failure(_RUN, ISOLATION, ["Dockerfile:2", "RUN true", "--isolation"], ["--isolation=none"]),
    "isolation-word": Failure(_RUN, USAGE, ["nane", "namespace"], ["--isolation=nane"]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_explained_and_leaves_nothing(builds: Builds, name: str) -> None:
    case = FAILURES[name]
    check_explained(_fail(builds, case.dockerfile, case.status, *case.arguments), *case.words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bucket=name"], ["--bucket", "knarr has no"]),
        (["--build-arg", "=x"], ["--build-arg", "'=x'"]),
        (["--label", "word"], ["--label", "'word'"]),
        (["--target"], ["--target"]),
        (["--no-push=perhaps"], ["perhaps"]),
        (["--verbosity", "loud"], ["loud"]),
        (["-d", "not a name"], ["not a name"]),
        (["-d", "example.com/app@sha256:" + "0" * 64], ["--destination", "digest"]),
        (["second"], ["second"]),
    ],
)
def test_wrong_command_line(builds: Builds, arguments: list[str], words: list[str]) -> None:
    result = _fail(builds, _RUN, USAGE, *arguments)
    assert len(result.log.splitlines()) <= 2, result.log
    assert all(word in result.log for word in words), result.log


def test_nowhere_to_go(builds: Builds) -> None:
    check_explained(builds.build(_RUN, status=USAGE), "--destination", "--no-push")


def test_no_dockerfile(builds: Builds) -> None:
    context = builds.place / "empty"
    context.mkdir()
    result = builds.run(builds.arguments(context, "--no-push"), status=CONTEXT)
    check_explained(result, str(context / "Dockerfile"), "--dockerfile")


def test_no_context(builds: Builds) -> None:
    check_explained(builds.run(builds.arguments(Path("/no/such"), "--no-push"), status=CONTEXT), "/no/such")


def test_no_such_image(builds: Builds) -> None:
    result = _fail(builds, f"FROM {builds.name('no/such:1')}\n", REGISTRY)
    for word in ("Dockerfile:1", "no/such", "404", "MANIFEST_UNKNOWN"):
        assert word in result.explanation


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("locked"), auth=("user", "right"))
    try:
        yield registry
    finally:
        registry.stop()


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (None, ["401", "no credentials"]),
        ("user:wrong", ["401", "user", "config.json"]),
    ],
    ids=["none", "wrong"],
)
def test_registry_with_a_lock(
    builds: Builds, locked: Registry, credentials: str | None, words: list[str]
) -> None:
    directory = builds.place / "docker"
    directory.mkdir()
    if credentials is not None:
        auth = base64.b64encode(credentials.encode()).decode()
        (directory / "config.json").write_text(json.dumps({"auths": {locked.host: {"auth": auth}}}))
    environment = {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}
    insecure = ["--insecure-registry", locked.host]
    pushed = builds.build(_RUN, "-d", f"{locked.host}/x:1", *insecure, environment=environment, status=AUTH)
    check_explained(pushed, locked.host, *words)
    pulled = builds.build(
        f"FROM {locked.host}/x:1\n", "--no-push", *insecure, environment=environment, status=AUTH
    )
    check_explained(pulled, "Dockerfile:1", locked.host, *words)
    for result in (pushed, pulled):
        assert "wrong" not in result.log


@contextmanager
def _damaged(registry: Registry, digest: str, data: bytes) -> Iterator[None]:
    path = registry.blob_path(digest)
    good = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(good)


def _base_layer(builds: Builds) -> tuple[str, bytes]:
    digest: str = builds.manifest("library/busybox", "latest")["layers"][0]["digest"]
    return digest, builds.registry.blob_path(digest).read_bytes()


@pytest.mark.parametrize(
    "dockerfile", [_RUN, "FROM busybox\nCOPY kept /new/\n"], ids=["extracted", "indexed"]
)
@pytest.mark.parametrize("offset", [12, 5000, -4], ids=["start", "middle", "trailer"])
def test_damaged_layer(spoilt_registry: Registry, tmp_path: Path, dockerfile: str, offset: int) -> None:
    builds = Builds(spoilt_registry, tmp_path)
    digest, good = _base_layer(builds)
    bad = bytearray(good)
    bad[offset] ^= 0xFF
    from_here = dockerfile.replace("busybox", builds.name("library/busybox"))
    with _damaged(spoilt_registry, digest, bytes(bad)):
        result = _fail(builds, from_here, CORRUPT)
    check_explained(result, "Dockerfile:2", digest, builds.name("library/busybox"))


def test_damaged_layer_that_no_step_reads_is_not_written(spoilt_registry: Registry, tmp_path: Path) -> None:
    builds = Builds(spoilt_registry, tmp_path)
    digest, good = _base_layer(builds)
    with _damaged(spoilt_registry, digest, good[:5000] + bytes(10) + good[5010:]):
        result = _fail(builds, f"FROM {builds.name('library/busybox')}\n", CORRUPT)
    check_explained(result, digest)


def test_truncated_layer(spoilt_registry: Registry, tmp_path: Path) -> None:
    builds = Builds(spoilt_registry, tmp_path)
    digest, good = _base_layer(builds)
    from_here = _RUN.replace("busybox", builds.name("library/busybox"))
    with _damaged(spoilt_registry, digest, good[:-100]):
        result = _fail(builds, from_here, REGISTRY)
    check_explained(result, "Dockerfile:2", digest, "100 bytes are missing")


@pytest.mark.parametrize(
    "dockerfile", [_RUN, "FROM busybox\nCOPY kept /new/\n"], ids=["extracted", "indexed"]
)
def test_layer_that_its_config_does_not_know(builds: Builds, dockerfile: str) -> None:
    base = "failures/diff-id"
    builds.build("FROM busybox\n", "-d", builds.name(f"{base}:1"))
    config, layers = builds.config(base, "1"), builds.manifest(base, "1")["layers"]
    config["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    put_image(builds.registry.host, base, "bad", config, layers)
    result = _fail(builds, dockerfile.replace("busybox", builds.name(f"{base}:bad")), CORRUPT)
    check_explained(result, "Dockerfile:2", layers[0]["digest"], "1" * 64)


@pytest.mark.parametrize("flag", ["--tar-path", "--oci-layout-path", "--digest-file"])
def test_output_below_a_file(builds: Builds, flag: str) -> None:
    (builds.place / "file").write_text("a file")
    target = str(builds.place / "file/output")
    result = builds.build(_RUN, *_destination(builds), flag, target, status=OUTPUT)
    check_explained(result, flag, str(builds.place / "file"))
    assert "RUN true" not in result.log, "it is found out before the work"
    assert builds.tags(_repository(builds)) == []


@pytest.mark.parametrize("flag", ["--tar-path", "--digest-file"])
def test_output_is_a_directory(builds: Builds, flag: str) -> None:
    target = builds.place / "directory"
    target.mkdir()
    result = builds.build(_RUN, *_destination(builds), flag, str(target), status=OUTPUT)
    check_explained(result, flag, str(target))
    assert list(target.iterdir()) == []


def test_layout_is_a_file(builds: Builds) -> None:
    target = builds.place / "file"
    target.write_text("a file")
    result = builds.build(_RUN, "--no-push", "--oci-layout-path", str(target), status=OUTPUT)
    check_explained(result, str(target))
    assert target.read_text() == "a file"


def test_work_directory_that_does_not_exist(builds: Builds) -> None:
    result = builds.build(_RUN, "--no-push", environment={"KNARR_DIR": "/no/such"}, status=OUTPUT)
    check_explained(result, "/no/such", "KNARR_DIR")


@contextmanager
def _tiny_disk(place: Path, size_bytes: int) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM scratch\nCOPY large /\n", ["No space left on device", "KNARR_DIR"]),
        ("FROM busybox\nCOPY large /\nRUN true\n", ["No space left on device"]),
        pytest.param(
            "FROM debian\nRUN true\n",
            ["Dockerfile:2", "No space left on device"],
            marks=pytest.mark.debian,
        ),
    ],
    ids=["copied", "copied-into-directory", "extracted"],
)
def test_full_disk(builds: Builds, dockerfile: str, words: list[str]) -> None:
    with _tiny_disk(builds.place / "tiny", 4_000_000) as disk:
        result = builds.build(
            dockerfile,
            *_destination(builds),
            files={"large": os.urandom(5_000_000)},
            environment={"KNARR_DIR": str(disk)},
            status=OUTPUT,
        )
        assert list(disk.iterdir()) == []
    check_explained(result, *words)
    assert builds.tags(_repository(builds)) == []


def test_step_on_a_full_disk(builds: Builds) -> None:
    dockerfile = "FROM busybox\nRUN dd if=/dev/zero of=/zeros bs=1000000 count=8\n"
    with _tiny_disk(builds.place / "tiny", 8_000_000) as disk:
        result = builds.build(dockerfile, "--no-push", environment={"KNARR_DIR": str(disk)}, status=1)
        assert list(disk.iterdir()) == []
    assert "dd: " in result.log
    check_explained(result, "Dockerfile:2")


@pytest.mark.parametrize("flag", ["--tar-path", "--oci-layout-path"])
def test_full_disk_for_an_output(builds: Builds, flag: str) -> None:
    with _tiny_disk(builds.place / "tiny", 500_000) as disk:
        target = str(disk / "output")
        result = builds.build(_RUN, *_destination(builds), flag, target, status=OUTPUT)
        assert list(disk.iterdir()) == []
    check_explained(result, target, "No space left on device")
    assert builds.tags(_repository(builds)) == []
