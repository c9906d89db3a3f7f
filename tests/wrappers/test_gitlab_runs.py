"""Pipelines that include the GitLab template, run by gitlab-ci-local and by the executor's image."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import gitlab_template
from support.bases import base, cache_directory, push
from support.ci_tools import commit, run_gitlab
from support.docker_engine import Engine
from support.recorded_job import PREDEFINED
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKERFILE = "FROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY file /\n"
IMAGE = "knarr/executor:debug"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    shutil.copy(gitlab_template.TEMPLATE, directory / "knarr.yml")
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "file").write_text("of the project\n")
    return directory


def _write_pipeline(project: Path, *inputs: Mapping[str, Any], **jobs: Any) -> None:
    includes = [{"local": "knarr.yml", "inputs": dict(each)} for each in inputs]
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump({"include": includes, **jobs}))
    commit(project)


def _document(registry: Registry, name: str, tag: str, media_type: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(registry.get(f"{name}/manifests/{tag}", {"Accept": media_type}))
    return document


def _config(registry: Registry, name: str, tag: str) -> dict[str, Any]:
    digest = _document(registry, name, tag, MANIFEST)["config"]["digest"]
    config: dict[str, Any] = json.loads(registry.get(f"{name}/blobs/{digest}"))
    return config


def test_a_pipeline(project: Path, registry: Registry) -> None:
    """A build with its promotion and a job that deploys; beside it the legs of a matrix with their index."""
    host = registry.host
    flags = f"--insecure-registry={host}"
    _write_pipeline(
        project,
        {
            "tags": f"{host}/team/app:one\n{host}/team/app:two\n",
            "build-args": "WHO=$CI_COMMIT_BRANCH `id`",
            "labels": "text=a b",
            "registry-args": flags,
            "promote": True,
            "promote-tags": f"{host}/team/app:released",
            "promote-rules": [{"when": "on_success"}],
        },
        {
            "name": "legs",
            "multi-platform": True,
            "matrix": [
                {"PLATFORM": "linux/amd64", "RUNNER_TAG": "a"},
                {"PLATFORM": "linux/arm64", "RUNNER_TAG": "b"},
            ],
            "tags": f"{host}/team/legs:1",
            "registry-args": flags,
            "promote": True,
            "promote-tags": f"{host}/other/legs:released",
            "promote-rules": [{"when": "on_success"}],
        },
        deploy={"stage": "deploy", "needs": ["knarr-build"], "script": ['echo "deploys $IMAGE_REF"']},
    )
    done = run_gitlab(project)
    assert done.returncode == 0, done.stdout + done.stderr

    config = _config(registry, "team/app", "one")["config"]
    assert config["Labels"]["who"] == "main `id`"
    assert config["Labels"]["text"] == "a b"
    assert "org.opencontainers.image.revision" in config["Labels"]
    one, two, released = (
        registry.get(f"team/app/manifests/{tag}", {"Accept": MANIFEST}) for tag in ("one", "two", "released")
    )
    assert one == two == released
    assert f"deploys {host}/team/app@sha256:" in done.stdout

    index = _document(registry, "team/legs", "1", INDEX)
    assert index == _document(registry, "other/legs", "released", INDEX)
    platforms = [entry["platform"]["architecture"] for entry in index["manifests"]]
    assert platforms == ["amd64", "arm64"]
    for architecture in platforms:
        config = _config(registry, "team/legs", f"1-linux-{architecture}")
        assert config["architecture"] == architecture


def test_variables_whose_values_would_split_a_list(project: Path, registry: Registry) -> None:
    """They get to the build whole."""
    lines = "one\ntwo, \"three\" 'four'\n\n  *.pem $(id) `id`\n# five"
    (project / "Dockerfile").write_text("FROM scratch\nARG A\nARG B\nLABEL a=$A b=$B\nCOPY file /\n")
    _write_pipeline(
        project,
        {
            "tags": f"{registry.host}/team/lines:$NAME,{registry.host}/team/lines:other",
            "build-args": "A=$LINES\n# a comment\nB=$$LINES",
            "labels": 'plain=${LINES}\n"quoted=$NAME,\n""$NAME"""',
            "annotations": "note=$LINES",
            "registry-args": f"--insecure-registry={registry.host}",
        },
        variables={"LINES": lines, "NAME": "v1"},
    )
    done = run_gitlab(project)
    assert done.returncode == 0, done.stdout + done.stderr
    labels = _config(registry, "team/lines", "v1")["config"]["Labels"]
    assert {name: labels[name] for name in ("a", "b", "plain", "quoted")} == {
        "a": lines,
        "b": "$LINES",
        "plain": lines,
        "quoted": 'v1,\n"v1"',
    }
    assert _document(registry, "team/lines", "other", MANIFEST)["annotations"]["note"] == lines


@pytest.mark.root
def test_warming(project: Path, registry: Registry, tmp_path: Path) -> None:
    """A build takes its base's layers from there when the registry has them no more."""
    host = registry.host
    push([base("busybox", cache_directory())], host)
    (project / "Dockerfile").write_text("FROM busybox\nCOPY file /\nRUN cat /file >/copy\n")
    always = [{"when": "on_success"}]
    inputs = {
        "warm": True,
        "warm-rules": always,
        "rules": [{"when": "never"}],
        "cache": True,
        "cache-repo": f"{host}/team/warm/cache",
        "cache-dir": str(tmp_path / "bases"),
        "tags": f"{host}/team/warm:1",
        "registry-args": f"--registry-map=docker.io={host}\n--insecure-registry={host}",
    }
    _write_pipeline(project, inputs)
    done = run_gitlab(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name[:7] for path in (tmp_path / "bases").iterdir() if path.name[0] != "."] == ["sha256:"]
    layers = _document(registry, "library/busybox", "latest", MANIFEST)["layers"]
    for each in layers:
        registry.blob_path(each["digest"]).unlink()
    _write_pipeline(project, {**inputs, "warm": False, "rules": always})
    done = run_gitlab(project)
    assert done.returncode == 0, done.stdout + done.stderr
    built = _document(registry, "team/warm", "1", MANIFEST)["layers"]
    assert built[: len(layers)] == layers
    assert all(registry.blob_path(each["digest"]).exists() for each in built)
    assert len(json.loads(registry.get("team/warm/cache/tags/list"))["tags"]) == 1


@pytest.mark.docker
@pytest.mark.root
def test_a_job_in_the_executor_image(project: Path, engine: Engine, base_registry: Registry) -> None:
    """The shell lives on after RUN steps, and a second build in the same container is as good."""
    (project / "Dockerfile").write_text("FROM busybox\nRUN echo ran >/ran\nCOPY file /\n")
    host = base_registry.host
    inputs = {
        "tags": f"{host}/gitlab/run:1",
        "registry-args": f"--registry-map=docker.io={host}\n--insecure-registry={host}",
    }
    output = engine.run(IMAGE, ["-c", _script(inputs)], options=_job_options(project, inputs))
    assert output.startswith("sha256:")
    variables = dict(
        line.split("=", 1) for line in (project / "knarr-knarr/image.env").read_text().splitlines()
    )
    assert variables["IMAGE_REF"] == f"{host}/gitlab/run@{output.strip()}"


def _script(inputs: Mapping[str, Any]) -> str:
    return gitlab_template.script_of(gitlab_template.job("knarr-build", inputs))


def _job_options(project: Path, inputs: Mapping[str, Any]) -> list[str]:
    variables = {**PREDEFINED, **gitlab_template.environment_of(gitlab_template.job("knarr-build", inputs))}
    return [
        "--entrypoint=sh",
        f"--volume={project}:/builds/team/app",
        "--workdir=/builds/team/app",
        *(f"--env={name}={value}" for name, value in variables.items()),
    ]
