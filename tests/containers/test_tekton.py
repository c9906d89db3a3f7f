"""The Tekton Tasks as a node runs them: their steps in containers, with the executor's image."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.docker_engine import RefusedError
from support.image_layout import MANIFEST_TYPE
from support.registry import Registry
from support.taskrun import TaskRunner, load_task
from support.tekton_variables import Value

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

TASKS = Path(__file__).parents[2] / "tasks/tekton"
BUILD, INDEX, CONTEXT, WARM = (
    load_task(TASKS / f"{name}/0.1/{name}.yaml")
    for name in ("knarr-build", "knarr-index", "knarr-context", "knarr-warm")
)
DOCKERFILE = """\
FROM busybox
ARG GREETING
RUN echo "$GREETING" > /greeting && chown 7:7 /greeting
COPY file /
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=("sailor", "secret"), tls=True)
    yield started
    started.stop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A workspace that any user may write to."""
    directory = tmp_path / "source"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture
def write(source: Path) -> Callable[[str], None]:
    def files(dockerfile: str) -> None:
        (source / "Dockerfile").write_text(dockerfile)
        (source / "file").write_text("from the context\n")

    return files


def _read(registry: Registry, name: str) -> dict[str, Any]:
    repository, _, selector = name.rpartition("@") if "@" in name else name.rpartition(":")
    document: dict[str, Any] = json.loads(
        registry.get(f"{repository}/manifests/{selector}", {"Accept": MANIFEST_TYPE})
    )
    return document


def _config(registry: Registry, name: str) -> dict[str, Any]:
    digest = _read(registry, name)["config"]["digest"]
    config: dict[str, Any] = json.loads(registry.get(f"{name.rpartition(':')[0]}/blobs/{digest}"))
    return config


def _tls(registry: Registry) -> str:
    """A name of a registry that is not loopback's, so that TLS counts."""
    return f"registry.test:{registry.host.rpartition(':')[2]}"


def _auths(host: str, user: str, password: str) -> str:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


def _files(directory: Path, files: Mapping[str, str]) -> Path:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def test_builds_with_everything(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None]
) -> None:
    write(DOCKERFILE)
    host = base_registry.host
    params: dict[str, Value] = {
        "IMAGE": f"{host}/tekton/all:1",
        "TAGS": ["latest", "2"],
        "BUILD_ARGS": ["GREETING=two words; $(id)", "OTHER=-x"],
        "LABELS": ["a=b c", "d=--end of it"],
        "ANNOTATIONS": ["org.example.a=b"],
        "REGISTRY_MAPS": [f"docker.io={host}"],
        "CACHE": "true",
        "REPRODUCIBLE": "true",
        "COMPRESSION": "zstd",
        "EXTRA_ARGS": ["--label=e=f", "--ignore-path=/unwanted"],
    }
    results = runner.run(BUILD, params, {"source": source})
    manifest = _read(base_registry, "tekton/all:1")
    digest = results["IMAGE_DIGEST"]
    assert results == {
        "IMAGE_URL": f"{host}/tekton/all:1",
        "IMAGE_DIGEST": digest,
        "IMAGE_REF": f"{host}/tekton/all@{digest}",
        "IMAGES": f"{host}/tekton/all@{digest}",
    }
    assert _read(base_registry, f"tekton/all@{digest}") == manifest
    assert sorted(json.loads(base_registry.get("tekton/all/tags/list"))["tags"]) == ["1", "2", "latest"]
    assert manifest["annotations"] == {"org.example.a": "b"}
    assert manifest["layers"][-1]["mediaType"].endswith("+zstd")
    assert _config(base_registry, "tekton/all:1")["config"]["Labels"] == {
        "a": "b c",
        "d": "--end of it",
        "e": "f",
    }
    assert json.loads(base_registry.get("tekton/all/cache/tags/list"))["tags"]
    assert sorted(path.name for path in source.iterdir()) == ["Dockerfile", "file"]


def test_the_parameters_of_kaniko_are_enough(
    runner: TaskRunner, base_registry: Registry, source: Path
) -> None:
    (source / "app").mkdir()
    (source / "app/file").write_text("text")
    (source / "app/Containerfile").write_text("FROM scratch\nCOPY file /\n")
    params: dict[str, Value] = {
        "IMAGE": f"{base_registry.host}/tekton/kaniko",
        "DOCKERFILE": "./Containerfile",
        "CONTEXT": "./app",
        "EXTRA_ARGS": ["--label=a=b", f"--destination={base_registry.host}/tekton/other:1"],
    }
    results = runner.run(BUILD, params, {"source": source})
    digest = results["IMAGE_DIGEST"]
    assert results["IMAGE_URL"] == f"{base_registry.host}/tekton/kaniko:latest"
    assert results["IMAGES"] == ",".join(
        f"{base_registry.host}/tekton/{name}@{digest}" for name in ("kaniko", "other")
    )


@pytest.mark.parametrize("parameter", ["NO_PUSH", "SKIP_PUSH"])
def test_all_results_are_there_without_a_push(
    runner: TaskRunner, source: Path, write: Callable[[str], None], parameter: str
) -> None:
    """A Pipeline that refers to one that is not there ends with CouldntGetPipelineResult."""
    write("FROM scratch\nCOPY file /\n")
    params = {"IMAGE": "registry.invalid/a:1", parameter: "true", "OCI_LAYOUT": "layout"}
    results = runner.run(BUILD, params, {"source": source})
    (entry,) = json.loads((source / "layout/index.json").read_text())["manifests"]
    assert results == {"IMAGE_URL": "", "IMAGE_DIGEST": entry["digest"], "IMAGE_REF": "", "IMAGES": ""}


def test_push_by_digest(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None]
) -> None:
    write("FROM scratch\nCOPY file /\n")
    name = f"{base_registry.host}/tekton/by-digest"
    built = runner.run(BUILD, {"IMAGE": name, "PUSH_BY_DIGEST": "true"}, {"source": source})
    assert (built["IMAGE_URL"], built["IMAGE_REF"]) == (name, f"{name}@{built['IMAGE_DIGEST']}")
    runner.run(INDEX, {"IMAGE": f"{name}:1", "IMAGES": [str(built["IMAGE_REF"])]}, {})
    assert json.loads(base_registry.get("tekton/by-digest/tags/list"))["tags"] == ["1"]


def test_many_destinations(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None]
) -> None:
    """The runner fails a step whose results are too much, as Tekton does."""
    write("FROM scratch\nCOPY file /\n")
    names = [f"--destination={base_registry.host}/tekton/many-{number}:1" for number in range(50)]
    params: dict[str, Value] = {"IMAGE": f"{base_registry.host}/tekton/many:1", "EXTRA_ARGS": names}
    results = runner.run(BUILD, params, {"source": source})
    told = str(results["IMAGES"]).split(",")
    assert told[0] == results["IMAGE_REF"]
    assert f"leaves out {51 - len(told)} repositories" in runner.logs[-1]
    assert json.loads(base_registry.get("tekton/many-49/tags/list"))["tags"] == ["1"]


def test_paths_and_the_directory_of_tekton(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None]
) -> None:
    """Kubebuilder's kind of Dockerfile, with absolute paths as kaniko's Task has them."""
    write(
        "FROM busybox AS builder\nWORKDIR /workspace\nCOPY file file\n"
        "RUN cat file > manager && ls -A > /list\n"
        "FROM busybox\nWORKDIR /\nCOPY --from=builder /workspace/manager /list /\n"
    )
    params: dict[str, Value] = {
        "IMAGE": f"{base_registry.host}/tekton/workspace:1",
        "DOCKERFILE": "/workspace/source/Dockerfile",
        "REGISTRY_MAPS": [f"docker.io={base_registry.host}"],
        "EXTRA_ARGS": ["--digest-file=/workspace/source/digest"],
    }
    results = runner.run(BUILD, params, {"source": source})
    assert (source / "digest").read_text() == results["IMAGE_DIGEST"]
    assert not [path for path in (runner.directory / "workspace").rglob("*") if path.is_file()]


@pytest.mark.parametrize("key", ["config.json", ".dockerconfigjson"])
def test_credentials_of_a_workspace(
    runner: TaskRunner, locked: Registry, source: Path, write: Callable[[str], None], tmp_path: Path, key: str
) -> None:
    write("FROM scratch\nCOPY file /\n")
    assert locked.ca_file is not None
    workspaces = {
        "source": source,
        "ssl-ca-directory": _files(tmp_path / "ca", {"our own": locked.ca_file.read_text()}),
        "dockerconfig": _files(tmp_path / "secret", {key: _auths(_tls(locked), "sailor", "secret")}),
    }
    params = {"IMAGE": f"{_tls(locked)}/tekton/locked:1"}
    built = runner.run(BUILD, params, workspaces)
    joined = runner.run(
        INDEX,
        {"IMAGE": f"{_tls(locked)}/tekton/locked:index", "IMAGES": [str(built["IMAGE_REF"])]},
        {name: workspaces[name] for name in ("ssl-ca-directory", "dockerconfig")},
    )
    assert joined["IMAGE_DIGEST"] != built["IMAGE_DIGEST"]


def test_credentials_of_the_service_account(
    runner: TaskRunner, locked: Registry, source: Path, write: Callable[[str], None], tmp_path: Path
) -> None:
    write("FROM scratch\nCOPY file /\n")
    assert locked.ca_file is not None
    certificates = _files(tmp_path / "ca", {"ca.pem": locked.ca_file.read_text()})
    workspaces = {"source": source, "ssl-ca-directory": certificates}
    params = {"IMAGE": f"{_tls(locked)}/tekton/account:1"}
    with pytest.raises(RefusedError, match="no credentials for"):
        runner.run(BUILD, params, workspaces)
    secret = _files(tmp_path / "home", {"config.json": _auths(_tls(locked), "sailor", "secret")})
    built = runner.run(BUILD, params, workspaces, home_files={".docker": secret})
    index = {"IMAGE": f"{_tls(locked)}/tekton/account:index", "IMAGES": [str(built["IMAGE_REF"])]}
    runner.run(INDEX, index, {"ssl-ca-directory": certificates}, home_files={".docker": secret})


def test_secrets_of_a_workspace(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None], tmp_path: Path
) -> None:
    write("FROM busybox\nRUN --mount=type=secret,id=npmrc sha256sum < /run/secrets/npmrc > /sum\n")
    params: dict[str, Value] = {
        "IMAGE": f"{base_registry.host}/tekton/secret:1",
        "REGISTRY_MAPS": [f"docker.io={base_registry.host}"],
        "SECRETS": ["id=npmrc,src=/kaniko/secrets/npmrc"],
    }
    secrets = _files(tmp_path / "secrets", {"npmrc": "token"})
    runner.run(BUILD, params, {"source": source, "build-secrets": secrets})


def test_a_proxy_reaches_the_steps_not_the_image(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None]
) -> None:
    write('FROM busybox\nRUN test "${HTTPS_PROXY##*:}" = 3128 && test -z "$HTTP_PROXY"\n')
    params: dict[str, Value] = {
        "IMAGE": f"{base_registry.host}/tekton/proxy:1",
        "REGISTRY_MAPS": [f"docker.io={base_registry.host}"],
        "HTTPS_PROXY": "http://proxy.invalid:3128",
        "NO_PROXY": "127.0.0.1",
    }
    runner.run(BUILD, params, {"source": source})
    assert "proxy.invalid" not in json.dumps(_config(base_registry, "tekton/proxy:1"))


def test_the_tests_of_the_catalog(runner: TaskRunner, base_registry: Registry, tmp_path: Path) -> None:
    """In their order: each needs the image of the first."""
    for name, task in (("knarr-build", BUILD), ("knarr-index", INDEX), ("knarr-warm", WARM)):
        text = (
            (TASKS / f"{name}/0.1/tests/run.yaml").read_text().replace("localhost:5000", base_registry.host)
        )
        *config_maps, run = yaml.safe_load_all(text)
        directories = {
            each["metadata"]["name"]: _files(tmp_path / each["metadata"]["name"], each["data"])
            for each in config_maps
        }
        (tmp_path / name).mkdir()
        workspaces = {
            each["name"]: directories[each["configMap"]["name"]] if "configMap" in each else tmp_path / name
            for each in run["spec"].get("workspaces", [])
        }
        params = {each["name"]: each["value"] for each in run["spec"]["params"]}
        results = runner.run(task, params, workspaces)
        assert set(results) == {each["name"] for each in task.get("results", [])}


def test_base_images_on_a_volume(
    runner: TaskRunner, base_registry: Registry, source: Path, write: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    base_name = f"{base_registry.host}/library/busybox"
    warm: dict[str, Value] = {"IMAGES": [base_name]}
    assert runner.run(WARM, warm, {"cache": tmp_path / "cache"}) == {}
    write(f"FROM {base_name}\nRUN cat /etc/passwd > /copy\n")
    params = {"IMAGE": f"{base_registry.host}/tekton/warm:1", "CACHE": "true", "VERBOSITY": "debug"}
    runner.run(BUILD, params, {"source": source, "cache": tmp_path / "cache"})
    layers = _read(base_registry, "library/busybox:latest")["layers"]
    assert [each["digest"] for each in layers] == [
        each["digest"] for each in _read(base_registry, "tekton/warm:1")["layers"][: len(layers)]
    ]
    assert any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
