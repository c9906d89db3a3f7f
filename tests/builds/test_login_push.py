"""`knarr login` and `knarr push`, as their users run them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.docker_engine import Engine
from support.knarr_cli import EXECUTOR, knarr
from support.registry import Registry
from support.saved_images import LAYERS, docker_members, kaniko_members, write_archive, write_oci_layout

pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("plain"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=("sailor", "correct horse"), tls=True)
    yield started
    started.stop()


def _login(
    arguments: Sequence[str], home: Path, stdin: bytes = b"", **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    environment = {name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"}
    return subprocess.run(
        [sys.executable, "-m", "knarr", "login", *arguments],
        env={**environment, "PYTHONPATH": str(EXECUTOR), "HOME": str(home), **variables},
        input=stdin,
        capture_output=True,
        timeout=60,
    )


def _manifest(registry: Registry, name: str) -> dict[str, Any]:
    accept = ", ".join(
        (
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
    )
    repository, _, tag = name.partition(":")
    document: dict[str, Any] = json.loads(registry.get(f"{repository}/manifests/{tag}", {"Accept": accept}))
    return document


def _tags(registry: Registry, repository: str) -> list[str]:
    listed = json.loads(registry.get("_catalog"))["repositories"]
    return json.loads(registry.get(f"{repository}/tags/list"))["tags"] or [] if repository in listed else []


@pytest.mark.parametrize("stdin", [b"correct horse", b"correct horse\n", b"correct horse\r\n"])
def test_login_is_what_push_needs(tmp_path: Path, locked: Registry, stdin: bytes) -> None:
    result = _login([locked.host, "-u", "sailor", "--password-stdin"], tmp_path, stdin)
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    config = tmp_path / ".docker/config.json"
    assert config.stat().st_mode & 0o777 == 0o600
    layout = write_oci_layout(tmp_path / "layout")
    arguments = [
        "push",
        str(layout),
        f"-d={locked.host}/a",
        f"--registry-certificate={locked.host}={locked.ca_file}",
    ]
    pushed = knarr(arguments, environment={"DOCKER_CONFIG": str(config.parent)})
    assert pushed.returncode == 0, pushed.stderr
    refused = knarr(arguments, environment={"DOCKER_CONFIG": str(tmp_path)})
    assert refused.returncode == 6
    assert "no credentials for" in refused.stderr


def test_login_to_docker_hub_in_docker_config(tmp_path: Path) -> None:
    result = _login(
        ["docker.io", "-u", "bob", "-p", "x"], tmp_path, DOCKER_CONFIG=str(tmp_path / "elsewhere")
    )
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "elsewhere/config.json").read_text())
    assert document == {"auths": {"https://index.docker.io/v1/": {"auth": "Ym9iOng="}}}
    assert not (tmp_path / ".docker").exists()


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["-u", "bob", "-p", "x"], b"", "login takes one argument"),
        (["a.io", "b.io", "-u", "bob", "-p", "x"], b"", "unexpected argument"),
        (["a.io", "-p", "x"], b"", "username required"),
        (["a.io", "-u", "bob"], b"", "a password must be supplied via --password or --password-stdin"),
        (["a.io", "-u", "bob", "-p", "x", "--password-stdin"], b"x", "only one of --password or"),
        (["a.io", "-u", "bob", "--password-stdin"], b"\n", "password is blank"),
        (["a.io", "-u", "bob", "--password-stdin"], b"\xff", "not UTF-8"),
        (["a.io/team", "-u", "bob", "-p", "x"], b"", "HOST[:PORT]"),
    ],
)
def test_login_refuses(tmp_path: Path, arguments: list[str], stdin: bytes, message: str) -> None:
    result = _login(arguments, tmp_path, stdin)
    assert result.returncode == 2
    assert message in result.stderr.decode()
    assert not (tmp_path / ".docker").exists()


def test_push_prints_names_and_digest(tmp_path: Path, registry: Registry) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    names = [f"{registry.host}/printed:1", f"{registry.host}/printed:2", f"{registry.host}/other"]
    result = knarr(["push", str(layout), *(f"--destination={name}" for name in names)])
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{digest}\n"
    for repository, times in (("printed", 2), ("other", 1)):
        assert result.stderr.count(f"Pushed {registry.host}/{repository}@{digest}\n") == times
    assert sorted(_tags(registry, "printed")) == ["1", "2"]


def test_push_of_an_old_docker_save(tmp_path: Path, registry: Registry) -> None:
    path = write_archive(tmp_path / "a.tar", docker_members())
    assert knarr(["push", str(path), f"-d={registry.host}/saved:1"]).returncode == 0
    manifest = _manifest(registry, "saved:1")
    types = [layer["mediaType"] for layer in manifest["layers"]]
    assert types == ["application/vnd.oci.image.layer.v1.tar"] * 2
    assert registry.get(f"saved/blobs/{manifest['layers'][1]['digest']}") == LAYERS[1]


def test_push_of_kanikos_tarball(tmp_path: Path, registry: Registry) -> None:
    path = write_archive(tmp_path / "a.tar", kaniko_members())
    assert knarr(["push", str(path), f"-d={registry.host}/kaniko:1"]).returncode == 0
    assert _manifest(registry, "kaniko:1")["mediaType"].endswith("distribution.manifest.v2+json")


def test_push_of_skopeos_archives_can_be_read_by_skopeo(tmp_path: Path, registry: Registry) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    for kind in ("docker-archive", "oci-archive"):
        copy = ["skopeo", "copy", "--quiet", f"oci:{layout}:latest", f"{kind}:{tmp_path}/{kind}:app:1"]
        subprocess.run(copy, check=True)
        result = knarr(["push", f"{tmp_path}/{kind}", f"-d={registry.host}/{kind}:1"])
        assert result.returncode == 0, result.stderr
        source = f"docker://{registry.host}/{kind}:1"
        back = [
            "skopeo",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            source,
            f"oci:{tmp_path}/{kind}-back:latest",
        ]
        subprocess.run(back, check=True)


@pytest.mark.docker
def test_push_of_a_docker_save_can_be_run(
    tmp_path: Path, docker_engine: Engine, base_registry: Registry
) -> None:
    docker_engine.pull("busybox")
    docker_engine.save("busybox", tmp_path / "saved.tar")
    pushed = knarr(["push", str(tmp_path / "saved.tar"), f"-d={base_registry.host}/library/pushed:1"])
    assert pushed.returncode == 0, pushed.stderr
    docker_engine.pull("pushed:1")
    assert docker_engine.run("pushed:1", ["echo", "ahoy"]) == "ahoy\n"


def test_push_of_our_own_tarball_keeps_the_digest(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /a\nCOPY Dockerfile /b\n")
    tarball = tmp_path / "image.tar"
    arguments = ["--isolation=none", f"--tar-path={tarball}", "--no-push"]
    built = knarr(["build", str(tmp_path), *arguments, "-d=x/y:1", "-d=x/y:2"])
    assert built.returncode == 0, built.stderr
    pushed = knarr(["push", str(tarball), f"-d={registry.host}/own:1"])
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == built.stdout


def test_damaged_image_gets_no_tag(tmp_path: Path, registry: Registry) -> None:
    layout = write_oci_layout(tmp_path / "layout")
    for blob in (layout / "blobs/sha256").iterdir():
        if blob.read_bytes().startswith(b"\x1f\x8b"):
            blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    result = knarr(["push", str(layout), f"-d={registry.host}/damaged:1"])
    assert result.returncode == 7
    assert "is damaged" in result.stderr
    assert _tags(registry, "damaged") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "push takes one argument"),
        (["x"], "at least one --destination is required"),
        (["x", "-d", f"a.io/b@sha256:{'0' * 64}"], "not a digest"),
        (["/nonexistent", "-d", "a.io/b"], "can't read /nonexistent"),
        (["x", "y", "-d", "a.io/b"], "unexpected argument"),
        (["x", "-d", "a.io/b", "--dockerfile=x"], "unknown flag: --dockerfile"),
    ],
)
def test_push_refuses(arguments: list[str], message: str) -> None:
    result = knarr(["push", *arguments])
    assert result.returncode == 2
    assert message in result.stderr
