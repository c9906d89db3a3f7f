"""The executor's image, as Docker and podman run it with their stock settings."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from knarr.version import __version__
from support.docker_engine import Engine, RefusedError
from support.name_server import ADDRESS, name_server
from support.podman import Podman
from support.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = f"knarr/executor:{__version__}"
MOST_BYTES = 15_000_000
KNARR = "--entrypoint=/knarr/bin/knarr"
FOREIGN_PATHS = (
    b"/etc/ld.so.preload",
    b"/etc/ld.so.cache",
    b"/etc/nsswitch.co",
    b"/usr/lib/",
    b"/usr/share/locale",
)
LATE_MODULES = """
import json, sys
sys.path.append("/knarr/app")
from knarr.builder.roots.inplace.preload import load_everything
from knarr.cli.main import run
run(["build", "--help"])
load_everything()
loaded = set(sys.modules)
status = run(sys.argv[1:])
print(json.dumps([status, sorted(set(sys.modules) - loaded)]))
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "file").write_text("from the context\n")
    return directory


def _manifest(registry: Registry, repository: str) -> dict[str, Any]:
    accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    found: dict[str, Any] = json.loads(registry.get(f"{repository}/manifests/1", accepted))
    return found


def _top_layer(registry: Registry, repository: str) -> tarfile.TarFile:
    digest = _manifest(registry, repository)["layers"][-1]["digest"]
    data = gzip.decompress(registry.get(f"{repository}/blobs/{digest}"))
    return tarfile.open(fileobj=io.BytesIO(data))


def _layers(archive: Path) -> list[bytes]:
    with tarfile.open(archive) as tar:
        names = json.loads(_read(tar, "manifest.json"))[0]["Layers"]
        return [_read(tar, name) for name in names]


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_version(engine: Engine) -> None:
    assert engine.run(IMAGE, ["--version"], options=[KNARR]) == f"knarr {__version__}\n"
    assert engine.run(IMAGE, ["version"]) == f"knarr {__version__}\n"
    assert engine.run("knarr/executor:debug", ["version"]) == f"knarr {__version__}\n"


def test_help_of_the_executor_is_that_of_build(engine: Engine) -> None:
    help_text = engine.run(IMAGE, ["--help"])
    assert "--destination" in help_text
    assert "--dockerfile" in help_text


def test_warmer_says_what_to_do(engine: Engine) -> None:
    with pytest.raises(RefusedError, match="you must select at least one image to cache"):
        engine.run(f"knarr/warmer:{__version__}", [])


@pytest.mark.parametrize("user", ["0:0", "1000:1000"])
def test_builds_and_pushes(engine: Engine, base_registry: Registry, context: Path, user: str) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nCOPY file /added\nENV GREETING=hello\n")
    repository = f"made/by-{user[:4].replace(':', '-')}"
    arguments = [
        f"--destination={base_registry.host}/{repository}:1",
        f"--registry-map=docker.io={base_registry.host}",
    ]
    output = engine.run(IMAGE, arguments, options=[f"--volume={context}:/workspace", f"--user={user}"])
    assert output.startswith("sha256:")
    with _top_layer(base_registry, repository) as layer:
        assert _read(layer, "added") == b"from the context\n"


def test_run_in_namespaces(engine: Engine, base_registry: Registry, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN cat /etc/os-release > /seen; test ! -e /knarr\n")
    destination = f"{base_registry.host}/made/run:1"
    arguments = [f"--destination={destination}", f"--registry-map=docker.io={base_registry.host}"]
    volumes = [f"--volume={context}:/workspace", "--tmpfs=/scratch:exec", "--env=KNARR_DIR=/scratch"]
    # Part of what --privileged gives, which an engine inside a container can't give.
    privileges = [
        "--cap-add=SYS_ADMIN",
        *(f"--security-opt={each}=unconfined" for each in ("seccomp", "apparmor")),
    ]
    engine.run(IMAGE, [*arguments, "--isolation=namespace"], options=[*volumes, *privileges])
    with _top_layer(base_registry, "made/run") as layer:
        assert "seen" in layer.getnames()


def test_pushes_over_tls_with_a_certificate_of_any_name(
    engine: Engine, tls_registry: Registry, context: Path, tmp_path: Path
) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    port = tls_registry.host.rpartition(":")[2]
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost registry.test\n")
    volumes = [f"--volume={context}:/workspace", f"--volume={hosts}:/etc/hosts:ro"]
    arguments = [f"--destination=registry.test:{port}/made/tls:1"]
    with pytest.raises(RefusedError, match="is not trusted"):
        engine.run(IMAGE, arguments, options=volumes)
    authority = f"--volume={tls_registry.ca_file}:/kaniko/ssl/certs/our own CA:ro"
    assert engine.run(IMAGE, arguments, options=[*volumes, authority]).startswith("sha256:")


def test_lives_without_the_root_it_was_started_in(
    engine: Engine, tls_registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")
    script = (Path(__file__).parent / "without_root.py").read_text()
    port = tls_registry.host.rpartition(":")[2]
    options = [
        "--entrypoint=/knarr/bin/python3.11",
        f"--volume={tmp_path}/resolv.conf:/etc/resolv.conf:ro",
        f"--volume={tls_registry.ca_file}:/ca.pem:ro",
    ]
    arguments = ["-ISBXutf8", "-c", script, "registry.test", port, "/ca.pem"]
    with name_server("127.0.0.1") as asked:
        seen = json.loads(engine.run(IMAGE, arguments, options=options))
    assert "registry.test" in asked
    assert seen["answer"].endswith("200 OK")
    assert seen["system_certificates"] > 100
    assert seen["sha256"] == hashlib.sha256(b"knarr").hexdigest()
    assert seen["left"] == ["ca.pem", "dev", "etc", "knarr", "proc", "sys"]
    assert seen["loaded_late"] == []
    assert [path for path in seen["mapped"] if not path.startswith("/knarr/")] == []


def test_a_build_loads_nothing_after_load_everything(
    engine: Engine, base_registry: Registry, context: Path
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nADD --chown=1:1 file /other\n")
    registry = base_registry.host
    succeeding = [
        f"--destination={registry}/made/loaded:1",
        "--oci-layout-path=/tmp/layout",
        "--tar-path=/tmp/tar",
    ]
    failing = ["--destination=localhost:1/made:1"]
    for arguments, status in ((succeeding, 0), (failing, 5)):
        command = [
            "-ISBXutf8",
            "-c",
            LATE_MODULES,
            "build",
            f"--registry-map=docker.io={registry}",
            *arguments,
        ]
        options = ["--entrypoint=/knarr/bin/python3.11", f"--volume={context}:/workspace"]
        output = engine.run(IMAGE, command, options=options)
        assert json.loads(output.splitlines()[-1]) == [status, []]


def test_what_is_planted_there_works_on_a_usual_system(engine: Engine, tmp_path: Path) -> None:
    """The control of the test before: Debian's own loader and libc do follow what it plants."""
    (tmp_path / "preload").write_text("/lib/x86_64-linux-gnu/libnss_foreign.so.2\n")
    (tmp_path / "nsswitch").write_text("hosts: foreign\n")
    copied = "cp /lib/x86_64-linux-gnu/libz.so.1 /lib/x86_64-linux-gnu/libnss_foreign.so.2"
    volumes = [f"--volume={tmp_path}/nsswitch:/etc/nsswitch.conf:ro"]
    preload = f"{copied} && cp /mnt/preload /etc/ld.so.preload && cat /proc/self/maps"
    maps = engine.run("debian", ["sh", "-c", preload], options=[*volumes, f"--volume={tmp_path}:/mnt:ro"])
    assert "libnss_foreign.so.2" in maps
    lookup = f"{copied}; LD_DEBUG=libs getent hosts somewhere.test 2>&1; true"
    assert "calling init: /lib/x86_64-linux-gnu/libnss_foreign" in engine.run(
        "debian", ["sh", "-c", lookup], options=volumes
    )


def test_a_shell_with_its_tools(engine: Engine, base_registry: Registry) -> None:
    tools = "cat ls cp mv rm mkdir env test sleep grep sed tar wget base64 echo"
    script = f"for tool in {tools}; do command -v $tool >/dev/null || echo $tool; done; pwd; id -un; "
    script += f"wget -qO- http://{base_registry.host}/v2/"
    for shell in ("sh", "/bin/sh", "/busybox/sh"):
        output = engine.run(IMAGE, ["-c", script], options=[f"--entrypoint={shell}"])
        assert output == "/workspace\nroot\n{}"


def test_directories_that_pipelines_mount_to(engine: Engine) -> None:
    script = (
        'stat -c "%n %a" "$HOME" "$DOCKER_CONFIG" "$SSL_CERT_DIR" /cache /workspace /kaniko /tmp /var/tmp'
    )
    assert engine.run(IMAGE, ["-c", script], options=["--entrypoint=sh"]).splitlines() == [
        "/root 755",
        "/kaniko/.docker 755",
        "/kaniko/ssl/certs 755",
        "/cache 755",
        "/workspace 755",
        "/kaniko 777",
        "/tmp 1777",
        "/var/tmp 1777",
    ]


@pytest.mark.podman
def test_podman_builds_and_pushes(podman: Podman, base_registry: Registry, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    arguments = [f"--destination={base_registry.host}/made/podman:1"]
    podman.run(IMAGE, arguments, options=[f"--volume={context}:/workspace"])
    assert len(_manifest(base_registry, "made/podman")["layers"]) == 1


def test_it_is_small(archives: Path) -> None:
    assert sum(map(len, _layers(archives / "executor.tar"))) <= MOST_BYTES


def test_no_file_names_a_foreign_path(archives: Path) -> None:
    """Of the loader and the libraries that run in the executor's process."""
    looked_at = []
    for layer in _layers(archives / "executor.tar"):
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
            for member in tar:
                if member.isfile() and member.name.startswith("knarr/lib/") and ".so" in member.name:
                    data = _read(tar, member.name)
                    assert [path for path in FOREIGN_PATHS if path in data] == [], member.name
                    looked_at.append(member.name)
    assert {"knarr/lib/ld.so", "knarr/lib/libc.so.6", "knarr/lib/libcrypto.so.3"} <= set(looked_at)
