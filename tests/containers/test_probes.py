"""What a RUN step that attacks its executor gets: each probe is a script that prints what it got.

`tests/data/probes` holds them; they run as root, once in namespaces, once in place in a stock container.
"""

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docker_engine import Engine
from support.flatten import FlatImage, flatten_layout
from support.knarr_cli import knarr
from support.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

PROBES = Path(__file__).parents[1] / "data/probes"
NAMES = sorted(path.stem for path in PROBES.glob("*.sh"))
DOCUMENT = Path(__file__).parents[2] / "docs/isolation.md"
OUTSIDE = Path("/var/tmp/knarr-outside")
CANARY = "CANARY-"
_SYS_ADD_KEY, _SYS_KEYCTL = 248, 250
_KEYCTL_UNLINK = 9
_USER_KEYRING = -4
DOCKERFILE = """\
FROM debian
COPY probes /probes
RUN --mount=type=secret,id=token grep -q CANARY /run/secrets/token && sh /probes/leave && sh /probes/plant
RUN mkdir /results && for probe in /probes/*.sh; do name=${probe##*/}; \
timeout 60 sh "$probe" > "/tmp/found" 2>/dev/null </dev/null; mv /tmp/found "/results/${name%.sh}"; done
RUN --mount=type=secret,id=token true
"""
_FILES = "it can read what lies there as files"
_CHANGES = "it can change knarr's files in `/knarr` and the work directory"
_ENDS = "it can kill knarr and every other process of the container, or lower their limits"
_VOLUMES = "it can write to volumes, and to `/etc/resolv.conf` and `/etc/hosts`"
_LEAVES = "what it leaves in `/dev/shm`, in System V memory and queues, later steps see"
NOT_PREVENTED_IN_PLACE = {
    "credentials-mounted": _FILES,
    "credentials-service-account": _FILES,
    "executor-limits": _ENDS,
    "executor-oom-score": _ENDS,
    "executor-program": _CHANGES,
    "executor-signals": _ENDS,
    "executor-work-directory": _CHANGES,
    "left-message-queue": _LEAVES,
    "left-shared-memory-file": _LEAVES,
    "left-system-v": _LEAVES,
    "name-files": _VOLUMES,
    "volumes": _VOLUMES,
}
OPEN_WITH_PRIVILEGES = (
    *("capabilities", "environment", "executor-cwd", "executor-descriptors", "executor-environ"),
    *("executor-exe", "executor-maps", "executor-memory", "executor-namespaces", "executor-ptrace"),
    *(
        "executor-root",
        "executor-vm-read",
        "kernel-settings",
        "mounts",
        "credentials-environment",
        "metadata",
    ),
)
CONTROL = """\
cp -r /given /probes; setsid sh -c '
for probe in /probes/*.sh; do
    [ -z "$(timeout 20 sh $probe 2>/dev/null </dev/null)" ] || basename $probe .sh
done'
"""


def _context(place: Path) -> Path:
    context = place / "context"
    shutil.copytree(PROBES, context / "probes")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "file").write_text("a file of the context\n")
    return context


def _secrets(place: Path) -> Path:
    """A directory of canaries: where pipelines keep the real ones."""
    place.mkdir()
    (place / "config.json").write_text(_config("elsewhere.example", f"{CANARY}config"))
    (place / "token").write_text(f"{CANARY}secret")
    return place


def _config(host: str, password: str) -> str:
    return json.dumps({"auths": {host: {"username": "u", "password": password}}})


ENVIRONMENT = {
    "KANIKO_ELSEWHERE_EXAMPLE_USER": "u",
    "KANIKO_ELSEWHERE_EXAMPLE_PASSWORD": f"{CANARY}variable",
    "DOCKER_AUTH_CONFIG": _config("other.example", f"{CANARY}auth"),
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}aws",
    "CI_JOB_TOKEN": f"{CANARY}ci",
}


@pytest.fixture(scope="module", autouse=True)
def outside() -> Iterator[None]:
    """A file that no root of a step has, a key in the user's keyring."""
    OUTSIDE.touch()
    libc = ctypes.CDLL(None, use_errno=True)
    key = libc.syscall(_SYS_ADD_KEY, b"user", b"knarr-user", b"CANARY-key", 10, _USER_KEYRING)
    assert key >= 0, os.strerror(ctypes.get_errno())
    yield
    libc.syscall(_SYS_KEYCTL, _KEYCTL_UNLINK, key, _USER_KEYRING)
    OUTSIDE.unlink()


@pytest.fixture(scope="module")
def in_namespaces(base_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> FlatImage:
    place = tmp_path_factory.mktemp("namespaces")
    secrets = _secrets(place / "secrets")
    arguments = [
        f"--context={_context(place)}",
        "--isolation=namespace",
        f"--destination={base_registry.host}/made/probes:namespace",
        f"--oci-layout-path={place}/layout",
        f"--registry-map=docker.io={base_registry.host}",
        f"--secret=id=token,src={secrets}/token",
    ]
    result = knarr(["build", *arguments], environment={**ENVIRONMENT, "DOCKER_CONFIG": str(secrets)})
    assert result.returncode == 0, result.stderr
    assert CANARY not in result.stderr
    return flatten_layout(place / "layout")


@pytest.fixture(scope="module")
def in_place(engine: Engine, base_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> FlatImage:
    place = tmp_path_factory.mktemp("place")
    secrets = _secrets(place / "secrets")
    (place / "results").mkdir()
    volumes = {
        _context(place): "/workspace",
        place / "results": "/kaniko/results",
        secrets / "config.json": "/kaniko/.docker/config.json:ro",
        secrets / "token": "/var/run/secrets/kubernetes.io/serviceaccount/token:ro",
    }
    # What the container's own files hold goes aside during the build: /root is one of them.
    script = (
        "mkdir -p /root/.docker && cp /kaniko/.docker/config.json /root/.docker/config.json\n"
        f"TOKEN=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token) exec /kaniko/executor "
        f"--isolation=inplace --destination={base_registry.host}/made/probes:inplace "
        "--oci-layout-path=/kaniko/results/layout "
        f"--registry-map=docker.io={base_registry.host} --secret=id=token,env=TOKEN\n"
    )
    engine.run(
        "knarr/executor:debug",
        ["-c", script],
        options=[
            "--entrypoint=sh",
            *(f"--env={name}={value}" for name, value in ENVIRONMENT.items()),
            *(f"--volume={source}:{target}" for source, target in volumes.items()),
        ],
    )
    return flatten_layout(place / "results/layout")


def _hits(image: FlatImage) -> dict[str, str]:
    results = {path.name: image.files[f"/results/{path.stem}"] for path in PROBES.glob("*.sh")}
    return {name.removesuffix(".sh"): facts.text for name, facts in results.items() if facts.size_bytes}


def test_nothing_is_got_in_namespaces(in_namespaces: FlatImage) -> None:
    assert len(NAMES) >= 40
    assert _hits(in_namespaces) == {}


def test_what_is_got_in_place_is_what_the_document_names(in_place: FlatImage) -> None:
    assert set(_hits(in_place)) == NOT_PREVENTED_IN_PLACE.keys()
    text = " ".join(DOCUMENT.read_text().split())
    for sentence in NOT_PREVENTED_IN_PLACE.values():
        assert sentence in text


@pytest.mark.parametrize("mode", ["in_namespaces", "in_place"])
def test_nothing_planted_is_run(mode: str, request: pytest.FixtureRequest) -> None:
    """Neither by later steps' setup nor by the push; the image has what was planted all the same."""
    image: FlatImage = request.getfixturevalue(mode)
    assert "/usr/local/bin/docker-credential-planted" in image.files
    assert "/planted-ran" not in image.files


def test_probes_find_what_is_open(engine: Engine) -> None:
    """The control: beside a process that does not hide, with all privileges, they do print."""
    options = [
        *(f"--cap-add={each}" for each in ("SYS_ADMIN", "SYS_PTRACE")),
        *(f"--security-opt={each}=unconfined" for each in ("seccomp", "apparmor", "systempaths")),
        f"--volume={PROBES}:/given:ro",
        "--env=AWS_SECRET_ACCESS_KEY=CANARY-x",
    ]
    found = engine.run("debian", ["sh", "-c", CONTROL], options=options).split()
    assert set(OPEN_WITH_PRIVILEGES) <= set(found)
